"""Whether the numbers of a value are known, or JAX is tracing it."""

import jax
import numpy as np


def concrete(value: object) -> np.ndarray | None:
    """The value as a NumPy array, or None while JAX is tracing it or a part of it.

    Args:
        value: a number, an array, or a nested list of either.

    Returns:
        The array; None inside ``jit``, ``vmap`` or ``grad`` for what they trace.

    Example:
        >>> concrete([1.0, 2.0]).tolist()
        [1.0, 2.0]
        >>> bool(jax.jit(lambda x: concrete(x) is None)(1.0))
        True
    """
    try:
        return np.asarray(value)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return None
