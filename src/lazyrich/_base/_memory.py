"""How much memory is free for this process."""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from numbers import Integral
from pathlib import Path

from ._display import shown
from ._errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def memory_size(memory: object) -> int:
    """Bytes from what a person gives as ``memory``.

    Args:
        memory: a number of bytes or text such as "2GiB" or "500MB".

    Returns:
        Whole bytes, one or more.

    Raises:
        InputError: if it is neither, or below one byte.

    Example:
        >>> memory_size("2GiB") == 2 * 2**30
        True
    """
    if not isinstance(memory, str | bool) and isinstance(memory, Integral):
        size = int(memory)
        if 0 < size < 2**63:
            return size
    text = memory if isinstance(memory, str) else ""
    found = re.fullmatch(r"\s*([0-9]{0,20}\.?[0-9]{1,20})\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS:
        raise InputError(
            f"memory is {shown(memory)}; it must be a number of bytes or text such as '2GiB' or "
            "'500MB'."
        )
    size = int(float(found[1]) * _UNITS[found[2].upper()])
    if size < 1:
        raise InputError(f"memory is {shown(memory)}; it must be one byte or more.")
    return size


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process can take before the machine, its container or a limit ends it.

    The least of: what the kernel calls available, what is left below the memory limit of
    every control group that the process is in (versions 1 and 2; a file cache that can be
    dropped counts as free), and what is left of the limit on its address space.

    Args:
        root: where ``proc`` and ``sys`` lie.

    Returns:
        The number, at least 0; None where the system does not say.

    Example:
        >>> free = free_memory()
        >>> free is None or free > 0
        True
    """
    limits = [*_available(root), *_group_headroom(root), *_address_headroom(root)]
    if not limits:
        with suppress(AttributeError, ValueError, OSError):
            limits.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(limits)) if limits else None


def _available(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in _text(root, "proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _group_headroom(root: Path) -> Iterator[int]:
    try:
        lines = _text(root, "proc/self/cgroup").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            top = os.path.join(root, "sys/fs/cgroup")
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = os.path.join(root, "sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may lie outside of what is mounted: its own is the top.
        parts = filter(None, path.split("/"))
        for folder in itertools.accumulate(parts, os.path.join, initial=top):
            yield from _headroom_in(folder, *names)


def _headroom_in(folder: str, limit: str, used: str, droppable: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max" is not a number
        most = int(_text(folder, limit))
        taken = int(_text(folder, used))
        with suppress(OSError, ValueError, IndexError):
            for line in _text(folder, "memory.stat").splitlines():
                if line.startswith(f"{droppable} "):
                    taken -= int(line.split()[1])
        yield most - max(0, taken)


def _address_headroom(root: Path) -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int(_text(root, "proc/self/statm").split()[0])
            yield most - pages * os.sysconf("SC_PAGE_SIZE")


def _text(*path: str | Path) -> str:
    with open(os.path.join(*path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
