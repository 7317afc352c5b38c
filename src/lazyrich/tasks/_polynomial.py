"""Polynomial regression on Gaussian inputs (§5, §15.1)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lazyrich._ground import require_positive


class RegressionData(NamedTuple):
    """One draw of a regression task.

    Attributes:
        x: training inputs, entries of variance 1/D.
        y: training labels, label units.
        x_test: fresh inputs from the same distribution.
        y_test: their labels.
        directions: β_k, one row each, entries of variance 1 (so ‖β‖² ≈ D).
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    x_test: Float[Array, "m d"]
    y_test: Float[Array, " m"]
    directions: Float[Array, "k d"]


def polynomial_regression(
    key: PRNGKeyArray, *, dim: int, n_train: int, n_test: int, n_directions: int = 1
) -> RegressionData:
    """Labels y = ½ Σ_k (β_k·x)² of inputs x ~ N(0, I/D), with β_k ~ N(0, I).

    Targets, training and test inputs have keys of their own, so growing the training
    set changes neither the target nor the test set.

    Args:
        key: random key of the task.
        dim: D, number of inputs.
        n_train: P, number of training points.
        n_test: number of test points.
        n_directions: number of directions in the target.

    Returns:
        The data. Facts: ⟨y⟩ = Σ‖β_k‖²/(2D); for one direction
        Var y = ‖β‖⁴/(2D²). A kernel with linear functions alone explains none of y.

    Raises:
        InputError: if a size is zero or below.

    Example:
        >>> data = polynomial_regression(jax.random.key(0), dim=10, n_train=20, n_test=5)
        >>> data.x.shape, data.y_test.shape, bool((data.y >= 0).all())
        ((20, 10), (5,), True)

    References:
        Kumar et al. (2024), Eq. 3 and §15.1.
    """
    require_positive(dim=dim, n_train=n_train, n_test=n_test, n_directions=n_directions)
    target_key, train_key, test_key = jax.random.split(key, 3)
    directions = jax.random.normal(target_key, (n_directions, dim))

    def draw(key, n):
        x = jax.random.normal(key, (n, dim)) / jnp.sqrt(dim)
        return x, 0.5 * jnp.square(x @ directions.T).sum(-1)

    return RegressionData(*draw(train_key, n_train), *draw(test_key, n_test), directions)
