"""How far the tangent kernel has moved, from exact kernels or from their sketches.

All kernels are centred over rows: an uncentred kernel is dominated by its constant mode,
which hardly moves while everything else does.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ._estimate import UNDEFINED, Estimate, jackknife
from ._evidence import Snapshot
from ._sketched import (
    product,
    sketched_cosine,
    sketched_distance,
    sketched_growth,
    sketched_rank,
)


class KernelChange(NamedTuple):
    """Two kernels compared.

    Attributes:
        cosine: ⟨K, K₀⟩/(‖K‖‖K₀‖): 1 for kernels that are equal up to scale.
        unrelated_cosine: tr K tr K₀/(N‖K‖‖K₀‖), the mean cosine if one of them is turned
            at random.
        growth: tr K/tr K₀.
        distance: ‖K − K₀‖/‖K₀‖.
        effective_rank: (tr K)²/‖K‖².
        effective_rank0: the same of K₀.
        is_exact: whether kernels were exact; then intervals are over rows, otherwise
            over random directions.

    Example:
        >>> KernelChange._fields[:3]
        ('cosine', 'unrelated_cosine', 'growth')
    """

    cosine: Estimate
    unrelated_cosine: float
    growth: Estimate
    distance: Estimate
    effective_rank: Estimate
    effective_rank0: Estimate
    is_exact: bool


def centered_kernel(kernel: np.ndarray) -> np.ndarray:
    """A kernel (n, n, c, c) without its mean over rows, on both sides."""
    columns_done = kernel - kernel.mean(0, keepdims=True)
    return columns_done - columns_done.mean(1, keepdims=True)


def kernel_change(start: Snapshot, now: Snapshot) -> KernelChange:
    """Compare the kernels of two snapshots, exactly if both are there.

    Args:
        start: the network at the start.
        now: the same network later, on the same rows.

    Returns:
        The comparison, with intervals.

    Example:
        >>> from lazyrich.diagnosis import Snapshot
        >>> kernel = np.eye(5)[:, :, None, None]
        >>> same = Snapshot(np.zeros((5, 1)), kernel=kernel)
        >>> round(kernel_change(same, same).cosine.value, 6)
        1.0
    """
    n, c = now.outputs.shape
    if start.kernel is not None and now.kernel is not None:
        return _exact_change(centered_kernel(start.kernel), centered_kernel(now.kernel))
    both = (total(start.products), total(now.products))
    return _sketched_change(*both, n_entries=(n - 1) * c)


def total(products: Mapping[str, np.ndarray]) -> np.ndarray:
    """Products summed over parameter groups."""
    return np.sum(list(products.values()), axis=0)


def group_cosine(start: Snapshot, now: Snapshot, group: str) -> Estimate:
    """The cosine of one group's part of the kernel; undefined if the part is zero."""
    s, t = start.products[group], now.products[group]
    if not np.diagonal(s).any() or not np.diagonal(t).any():
        return UNDEFINED
    return sketched_cosine(s, t)


def _sketched_change(s: np.ndarray, t: np.ndarray, *, n_entries: int) -> KernelChange:
    with np.errstate(all="ignore"):
        norms = np.sqrt(product(s, s) * product(t, t))
        unrelated = float(np.diagonal(s).mean() * np.diagonal(t).mean() / (n_entries * norms))
    return KernelChange(
        cosine=sketched_cosine(s, t),
        unrelated_cosine=min(1.0, unrelated),
        growth=sketched_growth(s, t),
        distance=sketched_distance(s, t),
        effective_rank=sketched_rank(t),
        effective_rank0=sketched_rank(s),
        is_exact=False,
    )


def _exact_change(kernel0: np.ndarray, kernel: np.ndarray) -> KernelChange:
    unit = float(np.abs(kernel0).max()) or 1.0  # squares must stay in range
    kernel0, kernel = kernel0 / unit, kernel / unit
    power0, power, overlap, moved = (
        _with_each_row_left_out(products.sum((2, 3)))
        for products in (kernel0**2, kernel**2, kernel0 * kernel, (kernel - kernel0) ** 2)
    )
    trace0, trace = (
        _sum_with_each_left_out(np.einsum("iiaa->i", one)) for one in (kernel0, kernel)
    )
    n, c = kernel.shape[0], kernel.shape[2]
    with np.errstate(all="ignore"):
        norms = np.sqrt(power0 * power)
        return KernelChange(
            cosine=_estimate(overlap / norms, lower=-1.0, upper=1.0),
            unrelated_cosine=float(min(1.0, trace0[0] * trace[0] / ((n - 1) * c * norms[0]))),
            growth=_estimate(trace / trace0, lower=0.0),
            distance=_estimate(np.sqrt(moved / power0), lower=0.0),
            effective_rank=_estimate(trace**2 / power, lower=1.0),
            effective_rank0=_estimate(trace0**2 / power0, lower=1.0),
            is_exact=True,
        )


def _estimate(values: np.ndarray, *, lower: float, upper: float = np.inf) -> Estimate:
    return jackknife(float(values[0]), values[1:], lower=lower, upper=upper)


def _with_each_row_left_out(entries: np.ndarray) -> np.ndarray:
    """(1 + n,): the sum over an (n, n) table, and without each row and its column."""
    whole = entries.sum()
    without = whole - entries.sum(0) - entries.sum(1) + np.diagonal(entries)
    return np.concatenate([[whole], np.maximum(without, 0) if (entries >= 0).all() else without])


def _sum_with_each_left_out(entries: np.ndarray) -> np.ndarray:
    return np.concatenate([[entries.sum()], entries.sum() - entries])
