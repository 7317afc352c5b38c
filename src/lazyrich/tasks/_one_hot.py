"""Classes as rows with a single one."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def one_hot(classes: Int[np.ndarray, " n"], n_classes: int) -> Float[Array, "n c"]:
    """Rows of the identity matrix, in the precision that JAX works in.

    In NumPy, so that no new number of rows is compiled for.

    Example:
        >>> one_hot(np.array([2, 0]), 3).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return jnp.asarray(np.eye(n_classes, dtype=jnp.result_type(float))[classes])
