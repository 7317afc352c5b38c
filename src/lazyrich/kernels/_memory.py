"""Whether a matrix fits into memory, checked before anything is computed."""

from typing import Any

from lazyrich._base import InputError, free_memory

_ADVICE = (
    "that is the result itself, whatever the block_size: compute it in parts (fewer rows of x and "
    "x2 at a time), sum it over outputs (trace_outputs), or use ntk_operator, which never holds it"
)


def require_room(wanted: int, what: str, device: object, advice: str = _ADVICE) -> None:
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
            f"{what} takes {spelled(wanted)} and {spelled(max(free, 0))} are free; {advice}."
        )


def free_bytes(device: Any) -> int | None:
    """Bytes that can be had on a device, or None if it does not say."""
    if device.platform == "cpu":
        return free_memory()
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def spelled(size: int) -> str:
    """A number of bytes for a sentence."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= scale / 2:
            return f"{size / scale:.1f} {unit}" if unit == "GiB" else f"{size / scale:.0f} {unit}"
    return f"{size / 2**10:.1f} KiB"
