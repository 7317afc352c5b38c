"""How much memory may be used."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lazyrich._base import InputError, free_memory

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def budget(memory: str | int | None, parameters: Mapping[str, Tensor]) -> float:
    """Bytes that may be used on the device of the parameters.

    Args:
        memory: a number of bytes or text such as ``"2GiB"``; None is half of what is free.
        parameters: where they are is where memory is asked for.

    Raises:
        InputError: if it is neither, or not above zero.

    Example:
        >>> budget("2GiB", {}) == 2 * 2**30
        True
    """
    if memory is None:
        return _free({p.device for p in parameters.values()}) / 2
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", str(memory))
    if isinstance(memory, bool) or not found or found[2].upper() not in _UNITS:
        raise InputError(
            f"memory is {memory!r}; it must be a number of bytes or text such as '2GiB' or '500MB'."
        )
    size = float(found[1]) * _UNITS[found[2].upper()]
    if size <= 0:
        raise InputError(f"memory is {memory!r}; it must be above zero.")
    return size


def _free(devices: set[torch.device]) -> float:
    for device in devices:
        if device.type == "cuda":
            return float(torch.cuda.mem_get_info(device)[0])
    free = free_memory()
    return float(2**30 if free is None else free)
