"""Inputs and labels that several tasks share: Gaussian rows, and classes as one-hot rows."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lazyrich._base import draw


def gaussian_inputs(key: PRNGKeyArray, n: int, *, dim: int) -> Float[Array, "n d"]:
    """Inputs x ~ N(0, I/D), one a row, so that ‖x‖² ≈ 1."""

    def sample(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
        return jax.random.normal(key, shape) / jnp.sqrt(dim)

    return draw(sample, key, (n, dim))


def one_hot(classes: Int[np.ndarray, " n"], n_classes: int) -> Float[Array, "n c"]:
    """Rows of the identity matrix, in the precision that JAX works in.

    In NumPy, so that no new number of rows is compiled for.

    Example:
        >>> one_hot(np.array([2, 0]), 3).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return jnp.asarray(np.eye(n_classes, dtype=jnp.result_type(float))[classes])
