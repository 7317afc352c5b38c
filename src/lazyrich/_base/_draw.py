"""Random arrays of many shapes from few compiled programs."""

import math
from collections.abc import Callable

import jax
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from ._concrete import concrete

_FEWEST, _MOST = 64, 2**22


def draw(
    sample: Callable[[PRNGKeyArray, tuple[int, ...]], Array],
    key: PRNGKeyArray,
    shape: tuple[int, ...],
) -> Array:
    """``sample(key, shape)``, to the last bit, without a compilation for every shape.

    JAX's default generator makes each entry from the key and the entry's place alone, so an
    array is the beginning of a longer one: drawn are 64, 128, 256, … entries. Other
    generators, traced keys and arrays of more than 4 million entries are drawn as they are.

    Args:
        sample: makes each entry from random bits of its own, such as ``jax.random.normal``;
            it may go on to compute with it, entry by entry.
        key: random key.
        shape: of the array.

    Returns:
        The array.

    Example:
        >>> key = jax.random.key(0)
        >>> found = draw(jax.random.normal, key, (3, 5))
        >>> bool((found == jax.random.normal(key, (3, 5))).all())
        True
    """
    n = math.prod(shape)
    if not 0 < n <= _MOST or isinstance(key, Tracer) or not _is_by_place(key):
        return sample(key, shape)
    flat = sample(key, (max(_FEWEST, 1 << (n - 1).bit_length()),))
    values = concrete(flat)
    return flat[:n].reshape(shape) if values is None else jax.device_put(values[:n].reshape(shape))


def _is_by_place(key: PRNGKeyArray) -> bool:
    """Whether an entry depends only on the key and its place, and not on the shape."""
    return bool(jax.threefry_partitionable.value) and "threefry2x32" in str(
        jax.random.key_impl(key)
    )
