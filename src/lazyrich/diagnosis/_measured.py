"""Results of the race of methods for the changes that the advice names."""

import json
from functools import cache
from pathlib import Path

from lazyrich._base import read_file

NOT_MEASURED = "not measured yet"
_FILE = Path(__file__).parent / "measured.json"
_MOST_BYTES = 1_000_000


def measured_effect(cause: str) -> str:
    """How well what is advised for a cause did against tuned AdamW at equal tuning budget.

    The file is written from the published results; a cause that is not in it was not
    measured.

    Args:
        cause: its short name.

    Returns:
        A sentence without its period, with 95 % intervals, or "not measured yet".

    Example:
        >>> measured_effect("too little data")
        'not measured yet'
    """
    return _effects().get(cause, NOT_MEASURED)


@cache
def _effects() -> dict[str, str]:
    return json.loads(read_file(_FILE, _MOST_BYTES))["effects"]
