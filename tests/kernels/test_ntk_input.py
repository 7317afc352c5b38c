"""Oracle: the texts of the errors, and that nothing wrong comes out silently."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.kernels import explain_ntk, ntk

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
W = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)))


def line(w, x):
    return x @ w


def test_batch_statistics_are_refused():
    def normalised(w, x):
        z = x @ w
        return (z - z.mean(0)) / (z.std(0) + 1.0)

    with pytest.raises(InputError, match="mixes the rows of a batch"):
        ntk(normalised, W, X)


def test_cancellation_is_not_taken_for_mixing():
    """A centred net at its start is all rounding error; its rows are independent still."""
    w0 = jnp.asarray(W, jnp.float32)
    moved = w0 + jnp.float32(1e-6)

    def centred(w, x):
        return 1e3 * (jnp.tanh(x @ w) - jnp.tanh(x @ w0))

    kernel = ntk(centred, moved, jnp.asarray(X, jnp.float32))
    assert np.isfinite(kernel).all()
    assert kernel[0, 0, 0, 0] > 0


def test_dropout_is_refused_even_under_jit():
    def dropped(w, x):
        keep = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
        return (x * keep) @ w

    for call in (partial(ntk, dropped), jax.jit(lambda w, x: ntk(dropped, w, x))):
        with pytest.raises(InputError, match="draws random numbers for each row"):
            call(W, X)


def test_random_features_that_are_the_same_for_all_rows_are_allowed():
    def features(w, x):
        fixed = jax.random.normal(jax.random.key(0), (3, 3))
        return (x @ fixed) @ w

    fixed = jax.random.normal(jax.random.key(0), (3, 3))
    expected = (X @ fixed) @ (X @ fixed).T
    kernel = ntk(features, W, X, trace_outputs=True)
    np.testing.assert_allclose(kernel, 2 * expected, rtol=1e-12)


@pytest.mark.parametrize("block_size", [0, -3])
def test_blocks_of_no_rows(block_size):
    with pytest.raises(InputError, match=f"block_size is {block_size}"):
        ntk(line, W, X, block_size=block_size)


def test_second_inputs_must_be_like_the_first():
    with pytest.raises(InputError, match=r"x2 has shape \(4, 2\)"):
        ntk(line, W, X, X[:, :2])
    with pytest.raises(InputError, match=r"x2 has shape \(0, 3\)"):
        ntk(line, W, X, X[:0])


def test_a_kernel_that_is_not_finite_names_its_first_row():
    with pytest.raises(InputError, match="in 1 of 4 rows of x, the first of them row 2"):
        ntk(line, W, X.at[2].set(jnp.inf), jnp.ones((2, 3)))


def test_a_batch_of_fixed_length_is_refused():
    # A batch program that no other test has: one known to be right is not tried on one row.
    with pytest.raises(InputError, match="treat batches of any length alike"):
        ntk(lambda w, x: jnp.cos(x @ w - 1) if len(x) > 1 else (x @ w)[:, :1], W, X)


def test_no_outputs():
    with pytest.raises(InputError, match="no outputs"):
        ntk(lambda w, x: (x @ w)[:, :0], W, X)


def test_squeezed_outputs_of_one_row_are_understood():
    weights = W[:, :1]
    kernel = ntk(lambda w, x: (x @ w).squeeze(), weights, X)
    np.testing.assert_allclose(kernel, X @ X.T, rtol=1e-12)


def test_a_parameter_that_reaches_no_output_gives_zero():
    kernel = ntk(lambda w, x: x @ jax.lax.stop_gradient(w), W, X)
    np.testing.assert_array_equal(kernel, np.zeros((4, 4, 2, 2)))
    assert explain_ntk(lambda w, x: x @ jax.lax.stop_gradient(w), W, X)["params"].kind == "unused"


def test_one_row_and_one_output():
    kernel = ntk(lambda w, x: x @ w, W[:, :1], X[:1])
    assert kernel.shape == (1, 1, 1, 1)
    np.testing.assert_allclose(kernel[0, 0, 0, 0], (X[0] ** 2).sum(), rtol=1e-12)
