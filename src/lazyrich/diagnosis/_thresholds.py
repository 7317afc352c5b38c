"""The one table of thresholds, ``thresholds.toml``."""

import tomllib
from pathlib import Path
from typing import NamedTuple

_TABLE = tomllib.loads((Path(__file__).parent / "thresholds.toml").read_text(encoding="utf-8"))


class Threshold(NamedTuple):
    """A number that decides.

    Attributes:
        value: the number.
        sentence: what it decides.

    Example:
        >>> Threshold(0.1, "a gap below this is lazy").value
        0.1
    """

    value: float
    sentence: str


THRESHOLDS = {name: Threshold(**entry) for name, entry in _TABLE.items() if isinstance(entry, dict)}
"""By name."""

THRESHOLD_HISTORY = tuple((one["date"], one["change"], one["reason"]) for one in _TABLE["history"])
"""What was changed when, and why."""


def threshold(name: str) -> float:
    """The value of a threshold."""
    return THRESHOLDS[name].value
