"""Whether numbers follow an order: rank correlation, neighbours, spread."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lazyrich._base import InputError, host_array, require_finite, require_positive


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's ρ, with infinite values ordered last and tied among themselves.

    So a censored delay counts as longer than any finite one.

    Args:
        x: values of a setting, such as α.
        y: what was measured at each.

    Returns:
        ρ in [−1, 1]; NaN if a value is NaN, if there are fewer than two, or if all
        values of one side are equal.

    Raises:
        InputError: if the lengths disagree, or an entry is no real number.

    Example:
        >>> rank_correlation([1, 2, 3], [5.0, 7.0, float("inf")])
        1.0
    """
    a, b = host_array("x", x), host_array("y", y)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"x has shape {a.shape} and y {b.shape}; give two lists of one length.")
    if len(a) < 2 or np.isnan(a).any() or np.isnan(b).any():
        return float("nan")
    ranks = [_ranks(values) - (len(a) + 1) / 2 for values in (a, b)]
    size = np.sqrt(np.prod([np.square(rank).sum() for rank in ranks]))
    return float(round(ranks[0] @ ranks[1] / size, 12)) if size > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places from 1 on; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]


def ordered_share(values: ArrayLike, axis: int, *, trend: Literal["rising", "falling"]) -> float:
    """Share of neighbouring cells along an axis whose values follow a trend.

    Args:
        values: a map; infinite cells (censored) order last.
        axis: along which cells are neighbours.
        trend: "rising" or "falling" with the index.

    Returns:
        A share in [0, 1]. Pairs with a NaN, and pairs of two infinite cells, of which the
        order is unknown, do not count; equal finite neighbours do not follow the trend.
        NaN if no pair counts.

    Raises:
        InputError: if a cell is no real number, there is no such axis, or the trend is
            neither of the two.

    Example:
        >>> ordered_share([[1.0, 2.0, float("inf"), float("inf")]], 1, trend="rising")
        1.0
    """
    array = host_array("values", values)
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"axis is {axis} and values has {array.ndim} axes; give one of them.")
    if trend not in ("rising", "falling"):
        raise InputError(f"trend is {trend!r}; give 'rising' or 'falling'.")
    cells = np.moveaxis(array, axis, 0)
    before, after = (cells[:-1], cells[1:]) if trend == "rising" else (cells[1:], cells[:-1])
    counts = ~(np.isnan(before) | np.isnan(after) | (np.isinf(before) & np.isinf(after)))
    if not counts.any():
        return float("nan")
    return float((before < after)[counts].mean())


def relative_spread(values: ArrayLike) -> float:
    """max/min − 1 of positive values: zero where all are equal.

    Args:
        values: any number of them, above zero.

    Returns:
        The spread, dimensionless; inf if one value is infinite, NaN if one is NaN or all
        are infinite.

    Raises:
        InputError: if there is no value, or one is zero, negative or no real number.

    Example:
        >>> relative_spread([2.0, 3.0])
        0.5
    """
    array = host_array("values", values)
    if array.size == 0 or (array <= 0).any():
        raise InputError(
            f"values is {array.tolist()}; a relative spread needs one value or more, all above "
            "zero."
        )
    largest, least = float(array.max()), float(array.min())
    return float("nan") if np.isinf(least) else largest / least - 1


def count_peaks(curve: ArrayLike, *, prominence: float) -> int:
    """Number of local maxima that stand out from both sides by a share of the curve's start.

    Args:
        curve: records in their order; those that are not finite are left out.
        prominence: share of the first record by which a maximum must stand out, above
            zero.

    Returns:
        The number; zero for a curve that only falls, or only rises.

    Raises:
        InputError: if the curve has more than one axis, its first finite record is
            missing or not above zero, or the prominence is not above zero.

    Example:
        >>> count_peaks([1.0, 1.5, 1.0, 1.2, 0.5], prominence=0.1)
        2
    """
    from scipy.signal import find_peaks  # half of the package's import time

    array = host_array("curve", curve)
    records = array[np.isfinite(array)]
    if array.ndim != 1 or not records.size or records[0] <= 0:
        raise InputError(
            f"The curve has shape {array.shape} and begins with {records[:1].tolist()}; give "
            "records of one axis of which the first is above zero."
        )
    require_finite(prominence=prominence)
    require_positive(prominence=prominence)
    return len(find_peaks(records, prominence=prominence * records[0])[0])
