"""How much memory may be used."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lazyrich._base import free_memory, memory_size

# The largest block whose release makes the C library keep as much free memory, and a little less.
_MOST_KEPT = (1 << 25) - (1 << 16)


def budget(memory: str | int | None, parameters: Mapping[str, Tensor]) -> float:
    """Bytes that may be used on the device of the parameters.

    Args:
        memory: a number of bytes or text such as ``"2GiB"``; None is half of what is free.
        parameters: where they are is where memory is asked for.

    Raises:
        InputError: if it is neither, or below one byte.

    Example:
        >>> budget("2GiB", {}) == 2 * 2**30
        True
    """
    if memory is None:
        return _free({p.device for p in parameters.values()}) / 2
    return float(memory_size(memory))


def _free(devices: set[torch.device]) -> float:
    for device in devices:
        if device.type == "cuda":
            return float(torch.cuda.mem_get_info(device)[0])
    free = free_memory()
    return float(2**30 if free is None else free)


def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MiB that are freed for the next tensors.

    Otherwise it returns them to the system, which hands them out again page by page: half of
    the time of a backward pass. It keeps twice the largest block that was freed so far.
    """
    torch.empty(_MOST_KEPT, dtype=torch.uint8, device="cpu")
