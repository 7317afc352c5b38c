"""How much memory may be used."""

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor

from lazyrich._base import free_memory, memory_size

# Freed memory, in bytes, that the process keeps for the next tensors, and the numbers of the C
# library's options that say so, ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD``.
_MOST_KEPT = 1 << 28
_OPTIONS = {"TRIM": -1, "MMAP": -3}


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
    """Let the GNU C library keep up to 256 MiB that are freed for the next tensors.

    Otherwise it returns them to the system, which hands them out again page by page: a third of
    the time of a kernel that is computed again. Whoever has set these options, in the
    environment, keeps them; other C libraries have none.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "_threshold" in tunables or any(f"MALLOC_{k}_THRESHOLD_" in os.environ for k in _OPTIONS):
        return
    with suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        for option in _OPTIONS.values():
            set_option(option, _MOST_KEPT)
