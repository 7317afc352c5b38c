"""A claim's seeds on a line, beside the threshold they are held against."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple


class Strip(NamedTuple):
    """Places along a line, from 0 at its left end to 100.

    Attributes:
        values: of the seeds; those of infinite ones are at an end.
        start: where the range of values that meet the claim begins.
        width: of that range.
    """

    values: tuple[float, ...]
    start: float
    width: float


def strip_of(values: Sequence[float], threshold: str) -> Strip | None:
    """Where values and threshold lie, on a log axis where all are positive.

    Args:
        values: the statistic of each seed.
        threshold: "≥ 1.5", "≤ 0.5" or "0.5 to 2".

    Returns:
        The places, or None where there is nothing to show: a value that was not
        measured, or no values.

    Example:
        >>> strip_of([1.0, 100.0], "≥ 10")
        Strip(values=(10.0, 90.0), start=50.0, width=50.0)
    """
    if not values or any(map(math.isnan, values)):
        return None
    low, high = _limits(threshold)
    finite = [v for v in (*values, low, high) if math.isfinite(v)]
    is_log = min(finite) > 0
    scale = math.log if is_log else float
    first, last = scale(min(finite)), scale(max(finite))
    room = last - first or 1.0

    def place(value: float) -> float:
        if math.isinf(value):
            return 0.0 if value < 0 else 100.0
        return round(10 + 80 * (scale(value) - first) / room, 1)

    start, end = place(low), place(high)
    return Strip(tuple(map(place, values)), start, round(end - start, 1))


def _limits(threshold: str) -> tuple[float, float]:
    numbers = [float(text) for text in re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", threshold)]
    if threshold.startswith("≥"):
        return numbers[0], math.inf
    if threshold.startswith("≤"):
        return -math.inf, numbers[0]
    return numbers[0], numbers[1]
