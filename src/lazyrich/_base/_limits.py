"""How many experiments there may be at a time."""

from ._display import grouped, memory_text
from ._errors import InputError
from ._memory import free_memory

MOST_EXPERIMENTS = 1_000_000
"""How many experiments there may be at a time, unless another limit is given."""

_BYTES_EACH = 8192


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
        lazyrich._base._errors.InputError: There are 1 000 000 000 experiments, more than
        --limit (1 000 000); give fewer, or a higher limit.
    """
    if n > limit:
        raise InputError(
            f"There are {grouped(n)} experiments, more than --limit ({grouped(limit)}); give "
            "fewer, or a higher limit."
        )
    free = free_memory()
    if free is not None and n * _BYTES_EACH > free:
        raise InputError(
            f"{grouped(n)} experiments need about {memory_text(n * _BYTES_EACH)} before one of "
            f"them is computed, and {memory_text(free)} are free; give fewer at a time."
        )
