"""Oracle: the sampler itself, called with the shape that is wanted; to the last bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import draw

UNIFORM = partial(jax.random.uniform, minval=-0.3, maxval=0.3)


@pytest.mark.parametrize("sample", [jax.random.normal, UNIFORM], ids=["normal", "uniform"])
@pytest.mark.parametrize(
    ("shape", "is_double"), [((), True), ((5, 7), False), ((3, 0), True), ((2, 3, 33), True)]
)
def test_a_draw_is_that_of_the_sampler(sample, shape, is_double):
    with jax.enable_x64(is_double):
        key = jax.random.key(7)
        found, wanted = draw(sample, key, shape), sample(key, shape)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("is_partitionable", [True, False])
def test_other_generators_and_traced_keys_draw_what_they_drew(impl, is_partitionable):
    key, shape = jax.random.key(3, impl=impl), (5, 7)
    with jax.threefry_partitionable(is_partitionable):
        wanted = jax.random.normal(key, shape)
        np.testing.assert_array_equal(draw(jax.random.normal, key, shape), wanted)
        traced = jax.jit(lambda key: draw(jax.random.normal, key, shape))(key)
        within = jax.jit(lambda: draw(jax.random.normal, key, shape))()
    np.testing.assert_allclose(traced, wanted, rtol=1e-6)
    np.testing.assert_allclose(within, wanted, rtol=1e-6)


def test_many_shapes_take_few_programs():
    lengths = []

    def sample(key, shape):
        lengths.append(shape)
        return jnp.zeros(shape)

    for n in range(1, 300):
        assert draw(sample, jax.random.key(0), (n, 3)).shape == (n, 3)
    assert len(set(lengths)) <= 5
