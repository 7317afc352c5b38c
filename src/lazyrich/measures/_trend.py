"""Whether numbers follow an order: rank correlation, neighbours, spread."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lazyrich._ground import InputError


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's ρ, with infinite values ordered last and tied among themselves.

    So a delay that was censored is longer than any that was seen.

    Args:
        x: values, such as a dial's.
        y: what was measured at each.

    Returns:
        ρ in [−1, 1]; NaN if a value is NaN, if there are fewer than two, or if all
        values of one side are equal.

    Raises:
        InputError: if the lengths disagree.

    Example:
        >>> rank_correlation([1, 2, 3], [5.0, 7.0, float("inf")])
        1.0
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
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

    Example:
        >>> ordered_share([[1.0, 2.0, float("inf"), float("inf")]], 1, trend="rising")
        1.0
    """
    cells = np.moveaxis(np.asarray(values, float), axis, 0)
    before, after = (cells[:-1], cells[1:]) if trend == "rising" else (cells[1:], cells[:-1])
    counts = ~(np.isnan(before) | np.isnan(after) | (np.isinf(before) & np.isinf(after)))
    if not counts.any():
        return float("nan")
    return float((before < after)[counts].mean())


def relative_spread(values: ArrayLike) -> float:
    """max/min − 1 of positive values: zero where all are equal.

    Example:
        >>> relative_spread([2.0, 3.0])
        0.5
    """
    array = np.asarray(values, float)
    return float(array.max() / array.min() - 1)


def count_peaks(curve: ArrayLike, *, prominence: float) -> int:
    """Number of local maxima that stand out from both sides by a share of the curve's start.

    Args:
        curve: records in their order, the first above zero.
        prominence: share of the first record by which a maximum must stand out.

    Example:
        >>> count_peaks([1.0, 1.5, 1.0, 1.2, 0.5], prominence=0.1)
        2
    """
    from scipy.signal import find_peaks  # here: it takes half as long to import as all else

    array = np.asarray(curve, float)
    kept = array[np.isfinite(array)]
    return len(find_peaks(kept, prominence=prominence * kept[0])[0])
