"""How much memory this process can still take, and how many experiments that lists."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ._errors import InputError
from ._values import shown

MOST_EXPERIMENTS = 1_000_000
"""How many experiments there may be at a time, unless another limit is given."""

_BYTES_EACH = 8192


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
    found = [*_available(root), *_group_room(root), *_address_room(root)]
    if not found:
        with suppress(AttributeError, ValueError, OSError):
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) if found else None


def require_countable(n: int, *, limit: int = MOST_EXPERIMENTS) -> None:
    """Refuse more experiments than a limit, or than the free memory can list.

    Args:
        n: how many there would be.
        limit: how many there may be.

    Raises:
        InputError: with both numbers.

    Example:
        >>> require_countable(10**9)
        Traceback (most recent call last):
        ...
        lazyrich._ground._errors.InputError: 1 000 000 000 experiments; more than --limit
        (1 000 000).
    """
    if n > limit:
        raise InputError(f"{grouped(n)} experiments; more than --limit ({grouped(limit)}).")
    free = free_memory()
    if free is not None and n * _BYTES_EACH > free:
        raise InputError(
            f"{grouped(n)} experiments need about {memory_text(n * _BYTES_EACH)} before one of "
            f"them is computed, and {memory_text(free)} are free; give fewer at a time."
        )


def grouped(n: int) -> str:
    """A whole number in groups of three digits.

    Example:
        >>> grouped(1000000)
        '1 000 000'
    """
    return f"{n:,}".replace(",", " ") if n < 10**30 else shown(n)


def memory_text(n_bytes: float | int) -> str:
    """A number of bytes for a sentence.

    Example:
        >>> memory_text(1_234_000_000), memory_text(5e15)
        ('1.2 GB', '5,000,000 GB')
    """
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:,.3g} MB"
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes < 1e11 else f"{n_bytes / 1e9:,.0f} GB"


def _available(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _group_room(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.strip("/")
        # In a container the path may lie outside of what is mounted: its own is the top.
        for folder in dict.fromkeys((group, *group.parents, top)):
            if folder == top or top in folder.parents:
                yield from _room_in(folder, *names)


def _room_in(folder: Path, limit: str, used: str, droppable: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max" is no number
        most = int((folder / limit).read_text())
        taken = int((folder / used).read_text())
        with suppress(OSError, ValueError, IndexError):
            for line in (folder / "memory.stat").read_text().splitlines():
                if line.startswith(f"{droppable} "):
                    taken -= int(line.split()[1])
        yield most - max(0, taken)


def _address_room(root: Path) -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text().split()[0])
            yield most - pages * os.sysconf("SC_PAGE_SIZE")
