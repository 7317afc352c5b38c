"""Polynomial regression on Gaussian inputs (§5, §15.1)."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray
from pydantic import PositiveInt

from lazyrich._base import draw, require_key, require_positive

from ._sampling import gaussian_inputs
from ._task import LABEL_SCALE, JointKernel, TaskData, VectorTask


def polynomial_regression(
    key: PRNGKeyArray, *, dim: int, n_train: int, n_test: int, n_directions: int = 1
) -> TaskData:
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
        The data; ``target`` holds the β_k as rows (k, d), entries of variance 1 (so
        ‖β‖² ≈ D). Facts: ⟨y⟩ = Σ‖β_k‖²/(2D); for one direction
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
    require_key(key)
    target_key, train_key, test_key = jax.random.split(key, 3)
    directions = draw(jax.random.normal, target_key, (n_directions, dim))

    def sample(key: PRNGKeyArray, n: int) -> tuple[Array, Array]:
        x = gaussian_inputs(key, n, dim=dim)
        return x, 0.5 * jnp.square(x @ directions.T).sum(-1)

    return TaskData(*sample(train_key, n_train), *sample(test_key, n_test), directions)


class PolynomialTask(VectorTask):
    """Labels y = ½ Σ_k (β_k·x)² of inputs x ~ N(0, I/D), with β_k ~ N(0, I).

    One direction is the paper's single-index target, more are its multi-index target
    (a sum of squares; a square of a sum would again have one index).

    Attributes:
        dim: D, number of inputs.
        n_train: P, number of training points.
        n_test: number of test points, sampled anew.
        n_directions: number of directions in the target.

    Example:
        >>> task = PolynomialTask(dim=10, n_train=20, n_test=5)
        >>> task.sample(0).target.shape
        (1, 10)

    References:
        Kumar et al. (2024), Eq. 3 and §15.1.
    """

    renamed = LABEL_SCALE

    kind: Literal["polynomial"] = "polynomial"
    dim: PositiveInt
    n_train: PositiveInt
    n_test: PositiveInt
    n_directions: PositiveInt = 1

    def sample(self, seed: int, *, kernel: JointKernel | None = None) -> TaskData:
        """Sample the data; ``target`` holds the β_k as rows (k, d)."""
        return polynomial_regression(
            self.keys(seed)[0],
            dim=self.dim,
            n_train=self.n_train,
            n_test=self.n_test,
            n_directions=self.n_directions,
        )
