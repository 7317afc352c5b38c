"""How much memory may be used."""

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

from lazyrich._base import free_memory, memory_size

# How the C library treats freed memory, each option with its number and a value in bytes: from
# how much on it returns memory to the system, how much it keeps then, and from which size on a
# block is returned by itself.
_OPTIONS = {
    "MALLOC_TRIM_THRESHOLD_": (-1, 1 << 28),
    "MALLOC_TOP_PAD_": (-2, 3 << 26),
    "MALLOC_MMAP_THRESHOLD_": (-3, 1 << 28),
}


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


@cache
def keep_freed_memory() -> None:
    """Let the GNU C library keep up to 256 MiB that are freed for the next tensors.

    Otherwise it returns them to the system, which hands them out again page by page: a third of
    the time of a kernel that is computed again. Whoever has set these options, in the
    environment, keeps them; other C libraries have none.
    """
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or not _OPTIONS.keys().isdisjoint(
        os.environ
    ):
        return
    with suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        for option, value in _OPTIONS.values():
            set_option(option, value)
