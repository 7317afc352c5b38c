"""How a run ended, as a value: under ``vmap`` one diverged run must not affect the others."""

from enum import IntEnum


class Status(IntEnum):
    """How a run ended.

    Example:
        >>> Status(1).name
        'diverged'
    """

    ok = 0
    diverged = 1
    out_of_steps = 2
