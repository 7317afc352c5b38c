"""Lazy, rich or in between, from two numbers and their intervals."""

from enum import StrEnum
from typing import NamedTuple

from ._estimate import Estimate
from ._thresholds import threshold


class Regime(StrEnum):
    """What a network is, measured against a reference.

    Example:
        >>> Regime("in between").name, str(Regime.LAZY)
        ('IN_BETWEEN', 'lazy')
    """

    LAZY = "lazy"
    RICH = "rich"
    IN_BETWEEN = "in between"
    UNDECIDED = "undecided"


class Verdict(NamedTuple):
    """A regime and why.

    Attributes:
        regime: the regime.
        reason: a sentence with what decided it, or what would.

    Example:
        >>> Verdict(Regime.LAZY, "The kernel has not changed.").regime.value
        'lazy'
    """

    regime: Regime
    reason: str


def decide(gap: Estimate, cosine: Estimate) -> Verdict:
    """The verdict from the linearization gap and the kernel cosine.

    Every pair of ends of the two intervals must give the same regime; otherwise it is
    undecided.

    Args:
        gap: ‖f − f₀ − J₀Δ‖/‖f − f₀‖.
        cosine: of the centred tangent kernels now and at the reference.

    Returns:
        The verdict.

    Example:
        >>> decide(Estimate(0.01, 0.0, 0.02), Estimate(0.999, 0.998, 1.0)).regime
        <Regime.LAZY: 'lazy'>
        >>> decide(Estimate(0.15, 0.0, 0.9), Estimate(0.999, 0.998, 1.0)).regime
        <Regime.UNDECIDED: 'undecided'>
    """
    if not gap.is_defined or not cosine.is_defined:
        which = "linearization gap" if not gap.is_defined else "kernel cosine"
        return Verdict(Regime.UNDECIDED, f"The {which} is not defined here.")
    found = {
        _regime(one, other) for one in (gap.low, gap.high) for other in (cosine.low, cosine.high)
    }
    if len(found) > 1:
        names = " or ".join(sorted(found))
        return Verdict(
            Regime.UNDECIDED,
            f"The intervals leave it open whether it is {names}; more probe rows or more random "
            "directions would decide.",
        )
    [regime] = found
    return Verdict(regime, _REASONS[regime].format(gap=gap, cosine=cosine))


def _regime(gap: float, cosine: float) -> Regime:
    if gap <= threshold("lazy_gap") and cosine >= threshold("lazy_cosine"):
        return Regime.LAZY
    if gap >= threshold("rich_gap") and cosine <= threshold("rich_cosine"):
        return Regime.RICH
    return Regime.IN_BETWEEN


_REASONS = {
    Regime.LAZY: (
        "The linearized network explains the change of the outputs up to {gap.value:.2g} of its "
        "size, and the tangent kernel kept a cosine of {cosine.value:.3g} with the one at the "
        "start."
    ),
    Regime.RICH: (
        "The linearized network misses {gap.value:.2g} of the size of the outputs' change, and "
        "the tangent kernel turned to a cosine of {cosine.value:.3g} with the one at the start."
    ),
    Regime.IN_BETWEEN: (
        "The linearization gap of {gap.value:.2g} and the kernel cosine of {cosine.value:.3g} "
        "are neither both small changes nor both large ones."
    ),
}
