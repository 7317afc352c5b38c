"""How much of the outputs' change the expansion around the start misses."""

from typing import NamedTuple

import numpy as np

from ._estimate import UNDEFINED, Estimate, jackknife
from ._evidence import LinearPart


class LinearizationGap(NamedTuple):
    """‖f − f₀ − J₀Δ‖/‖f − f₀‖ for each way in which J₀Δ was computed.

    Attributes:
        gap: of the first way, its interval over rows and widened by the rounding error.
        others: by way, the values.
        rounding: how much of it rounding can be.

    Example:
        >>> LinearizationGap._fields
        ('gap', 'others', 'rounding')
    """

    gap: Estimate
    others: dict[str, float]
    rounding: float


def linearization_gap(linear: LinearPart) -> LinearizationGap:
    """The gap: 0 for a lazy network, about 1 or above once the expansion says nothing.

    Undefined if the outputs have not changed.

    Args:
        linear: outputs at the start and now, and the linear part of their difference.

    Returns:
        The gap with its interval.

    Example:
        >>> f0, f = np.zeros((4, 1)), np.ones((4, 1))
        >>> linearization_gap(LinearPart(f0, f, {"jvp": 0.5 * f}, 1e-16)).gap.value
        0.5
    """
    change = ((linear.now - linear.start) ** 2).sum(1)
    size = np.sqrt(change.sum())
    if not size:
        return LinearizationGap(UNDEFINED, {}, 0.0)
    # Eight roundings for each output: what is between the layers of a usual network.
    scale = np.linalg.norm(linear.now) + np.linalg.norm(linear.start)
    rounding = float(8 * linear.epsilon * scale / size)
    gaps = {name: _gap(linear, slope, change) for name, slope in linear.slopes.items()}
    first, *_ = gaps.values()
    if first.is_defined:
        low, high = max(0.0, first.low - rounding), first.high + rounding
        first = Estimate(first.value, low, high)
    return LinearizationGap(first, {name: gap.value for name, gap in gaps.items()}, rounding)


def _gap(linear: LinearPart, slope: np.ndarray, change: np.ndarray) -> Estimate:
    missed = ((linear.now - linear.start - slope) ** 2).sum(1)
    with np.errstate(all="ignore"):
        left_out = np.sqrt(
            np.maximum(missed.sum() - missed, 0) / np.maximum(change.sum() - change, 0)
        )
        value = float(np.sqrt(missed.sum() / change.sum()))
    return jackknife(value, left_out, lower=0.0)
