"""Oracle: moments of Gaussian inputs in closed form, with standard errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.tasks import PolynomialTask, polynomial_regression
from lazyrich.theory import polynomial_target


def sample(seed, **sizes):
    return polynomial_regression(
        jax.random.key(seed), **({"dim": 8, "n_train": 30, "n_test": 200_000} | sizes)
    )


@pytest.mark.parametrize("n_directions", [1, 3])
def test_labels_are_the_target_of_their_inputs(n_directions):
    data = sample(0, n_directions=n_directions)
    np.testing.assert_allclose(data.y, polynomial_target(data.target, data.x), rtol=1e-12)
    np.testing.assert_allclose(data.y_test, polynomial_target(data.target, data.x_test), rtol=1e-12)


def test_moments_of_inputs_and_labels():
    data = sample(1)
    n, dim = data.x_test.shape
    square = float(jnp.square(data.target).sum())
    for draws, exact in [
        (data.x_test[:, 0] ** 2, 1 / dim),
        (data.x_test[:, 0] * data.x_test[:, 1], 0.0),
        (data.y_test, square / (2 * dim)),
        (data.y_test**2, 3 * square**2 / (4 * dim**2)),
    ]:
        assert abs(float(draws.mean()) - exact) < 5 * float(draws.std()) / n**0.5


def test_growing_the_training_set_changes_neither_target_nor_test_set():
    small, large = sample(2), sample(2, n_train=60)
    np.testing.assert_array_equal(small.x_test, large.x_test)
    np.testing.assert_array_equal(small.target, large.target)


def test_train_and_test_inputs_share_no_value():
    data = sample(3, n_test=30)
    assert not np.intersect1d(data.x, data.x_test).size


@pytest.mark.parametrize("size", ["dim", "n_train", "n_test", "n_directions"])
def test_sizes_below_one_get_one_sentence(size):
    with pytest.raises(InputError, match=f"{size} is 0; it must be above zero"):
        sample(0, **{size: 0})


@pytest.mark.parametrize("n_directions", [1, 3])
def test_moments_averaged_over_targets(n_directions):
    dim, n_targets = 5, 4000
    sizes = {"dim": dim, "n_train": 1, "n_test": 20, "n_directions": n_directions}
    variance = n_directions * (n_directions + dim + 1) / (2 * dim)
    # For one target ⟨y⟩ = Σ‖β‖²/(2D), and Σ‖β‖² is chi-squared with KD degrees.
    square = variance + n_directions**2 / 4 + n_directions / (2 * dim)
    keys = jax.random.split(jax.random.key(4), n_targets)
    y = np.asarray(jax.vmap(lambda key: polynomial_regression(key, **sizes).y_test)(keys))
    for draws, exact in [
        (y.mean(-1), n_directions / 2),
        (y.var(-1, ddof=1), variance),
        ((y**2).mean(-1), square),
    ]:
        assert abs(draws.mean() - exact) < 4 * draws.std() / n_targets**0.5, exact


def test_the_task_draws_what_the_function_does():
    sizes = {"dim": 6, "n_train": 12, "n_test": 7, "n_directions": 2}
    task = PolynomialTask(**sizes)
    data, wanted = task.sample(3), polynomial_regression(task.keys(3)[0], **sizes)
    for name in data._fields:
        np.testing.assert_array_equal(getattr(data, name), getattr(wanted, name))


def test_a_label_scale_of_the_task_is_refused_with_its_present_name():
    sizes: dict[str, Any] = {"dim": 6, "n_train": 12, "n_test": 7}
    with pytest.raises(InputError, match=r"label_scale is now called scaling\.label_scale"):
        PolynomialTask(**sizes | {"label_scale": 2.0})
    assert PolynomialTask(**sizes | {"label_scale": 1.0}).n_train == 12
