"""A strip plot of a claim's statistic over seeds, with its threshold."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Strip(NamedTuple):
    """Places along a line, from 0 at its left end to 100.

    Attributes:
        values: of the seeds that were measured; one that never got there is at an end,
            outside of the range that meets the claim.
        start: where the range of values that meet the claim begins.
        width: of that range.
    """

    values: tuple[float, ...]
    start: float
    width: float


def strip_of(values: Sequence[float], low: float | None, high: float | None) -> Strip | None:
    """Where values and threshold lie, on a log axis where all are positive.

    Args:
        values: the statistic of each seed.
        low: the lower threshold, if there is one.
        high: the upper threshold, if there is one.

    Returns:
        The places, or None where no value was measured.

    Example:
        >>> strip_of([1.0, 100.0], 10.0, None)
        Strip(values=(10.0, 90.0), start=50.0, width=50.0)
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    limits = [limit for limit in (low, high) if limit is not None]
    finite = [value for value in known if math.isfinite(value)] + limits
    is_log = min(finite) > 0
    scale = math.log if is_log else float
    first, last = scale(min(finite)), scale(max(finite))
    room = last - first or 1.0
    never = 100.0 if high is not None else 0.0

    def place(value: float) -> float:
        if math.isinf(value):
            return never
        return round(10 + 80 * (scale(value) - first) / room, 1)

    start = 0.0 if low is None else place(low)
    end = 100.0 if high is None else place(high)
    if high is not None and any(map(math.isinf, known)):
        end = min(end, 95.0)
    return Strip(tuple(map(place, known)), start, round(end - start, 1))
