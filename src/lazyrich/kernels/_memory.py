"""Is there room for a matrix? Asked before anything is computed."""

import os
from pathlib import Path
from typing import Any

from lazyrich._ground import InputError

_ADVICE = (
    "that is the result itself, whatever the block_size: compute it in parts (fewer rows of x and "
    "x2 at a time), sum it over outputs (trace_outputs), or use ntk_operator, which never holds it"
)


def require_room(wanted: int, what: str, device: Any, advice: str = _ADVICE) -> None:
    """Refuse to compute what does not fit the memory that is free.

    Args:
        wanted: bytes.
        what: what takes them, as the subject of the sentence.
        device: where it is to be held.
        advice: what to do instead.

    Raises:
        InputError: with the size, what is free, and the advice.
    """
    # Little matrices are not worth the look.
    if wanted < 2**26:
        return
    free = free_bytes(device)
    if free is not None and wanted > free:
        raise InputError(
            f"{what} takes {_spelled(wanted)} and {_spelled(max(free, 0))} are free; {advice}."
        )


def free_bytes(device: Any) -> int | None:
    """Bytes that can be had on a device, or None if it does not say."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return None
    found = [free for free in (_machine(), *_control_groups()) if free is not None]
    return min(found, default=None)


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _control_groups() -> list[int | None]:
    """What the limits of this process's containers leave, from its own group upwards."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root, files = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup/memory")
            names = ("limit_in_bytes", "usage_in_bytes")
            files = (*(f"memory.{name}" for name in names), "total_inactive_file")
        else:
            continue
        folder = root / name.lstrip("/")
        for group in (folder, *folder.parents):
            if group == root.parent:
                break
            left.append(_left(group, *files))
    return left


def _left(group: Path, limit_file: str, usage_file: str, reclaimable: str) -> int | None:
    try:
        limit = (group / limit_file).read_text().strip()
        usage = int((group / usage_file).read_text())
        if limit == "max":
            return None
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    # Pages of files that were read are given back when memory is asked for.
    cached = sum(int(line.split()[1]) for line in lines if line.split()[0] == reclaimable)
    return int(limit) - usage + cached


def _spelled(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.0f} MiB"
