"""The devices of a kernel, and its rows shared among them."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from .._predictor_call import Arrays, is_concrete


def device_of(arrays: Arrays) -> jax.Device:
    """Where the kernel is to be."""
    for value in arrays.each():
        if is_concrete(value) and isinstance(value, jax.Array):
            return next(iter(value.devices()))
    return jax.local_devices()[0]


def shared_kernel(
    compute: Callable[..., Array],
    devices: tuple[jax.Device, ...],
    leaves: Sequence[Array],
    x: Array,
    x2: Array,
) -> Array:
    """The kernel with its rows shared among devices; all of them hold all of ``x2``."""
    rows, whole = PartitionSpec("rows"), PartitionSpec()
    share = -(-len(x) // len(devices))
    padding = jnp.repeat(x[-1:], share * len(devices) - len(x), axis=0)
    spread = jax.shard_map(
        compute,
        mesh=Mesh(np.asarray(devices), ("rows",)),
        in_specs=(whole, rows, whole),
        out_specs=rows,
        # Nothing is summed over devices, so there is nothing for this check to guard.
        check_vma=False,
    )
    return spread(list(leaves), jnp.concatenate([x, padding]), x2)[: len(x)]


def free_devices(arrays: Arrays) -> tuple[jax.Device, ...]:
    """The devices to share the rows among.

    Those of this process, if the caller put nothing on a device of their own choice, and
    set no mesh, and there is a row for each. Rows of several arrays stay together.
    """
    local = tuple(jax.local_devices())
    is_free = len(arrays.rows) == 1 and jax.sharding.get_abstract_mesh().empty
    is_free = is_free and all(
        is_concrete(a) and not getattr(a, "committed", False) for a in arrays.each()
    )
    return local if is_free and len(arrays.rows[0]) >= len(local) else local[:1]
