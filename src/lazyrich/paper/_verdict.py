"""From a statistic over seeds to a verdict: holds, does not hold, undecided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Outcome = Literal["holds", "does not hold", "undecided"]

# Below three values there is no range to speak of; from four on a bootstrap is made.
_LEAST_SEEDS = 3
_N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, and the number that decides it.

    Attributes:
        figure: such as "fig1".
        name: short, unique within the figure.
        sentence: what the paper says, in its words where it has them.
        where: section or figure of the paper.
        statistic: how the number is defined, per seed.
        low: the claim holds at or above this; None if there is no lower threshold.
        high: the claim holds at or below this; None if there is no upper threshold.
    """

    figure: str
    name: str
    sentence: str
    where: str
    statistic: str
    low: float | None = None
    high: float | None = None

    @property
    def threshold(self) -> str:
        """The threshold as text: "≥ 1.5", "≤ 0.5" or "0.5 to 2"."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"≥ {self.low:g}" if self.low is not None else f"≤ {self.high:g}"

    def is_met(self, value: float) -> bool:
        """Whether one value is on the right side of the threshold."""
        is_high_enough = self.low is None or value >= self.low
        return is_high_enough and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, and what follows.

    Attributes:
        claim: the claim.
        values: the statistic of each seed; NaN where it could not be measured.
        median: over seeds.
        interval: 95 % bootstrap interval of the median, or the range of three values.
        outcome: holds, does not hold or undecided.
    """

    claim: Claim
    values: tuple[float, ...]
    median: float
    interval: tuple[float, float]
    outcome: Outcome


def judge(claim: Claim, values: Sequence[float]) -> Verdict:
    """The verdict on a claim from its statistic over seeds.

    The interval is the range of three values, or the 95 % bootstrap interval of the
    median of more. The claim holds if the whole interval is on the right side of the
    threshold, does not hold if the whole interval is on the wrong side, and is
    undecided if it straddles, if there are fewer than three seeds, or if a seed's
    statistic could not be measured (NaN).

    Args:
        claim: the claim.
        values: the statistic, one value for each seed; infinite ones order last.

    Returns:
        The verdict.

    Example:
        >>> claim = Claim("fig1", "ratio", "late", "abstract", "t_te/t_tr", low=1.5)
        >>> judge(claim, [2.0, 1.9, 3.1]).outcome
        'holds'
        >>> judge(claim, [2.0, 1.2, 3.1]).outcome
        'undecided'
    """
    array = np.asarray(values, dtype=float)
    if array.size == 0 or np.isnan(array).any():
        median, interval = float("nan"), (float("nan"), float("nan"))
    else:
        # A midpoint of two infinite values would be NaN: take values that occurred.
        median = float(np.quantile(array, 0.5, method="inverted_cdf"))
        interval = _interval(array)
    return Verdict(claim, tuple(array.tolist()), median, interval, _outcome(claim, array, interval))


def _interval(values: np.ndarray) -> tuple[float, float]:
    if values.size <= _LEAST_SEEDS:
        return float(values.min()), float(values.max())
    rng = np.random.default_rng(0)  # the same data, the same interval
    resampled = rng.choice(values, (_N_RESAMPLES, values.size))
    medians = np.quantile(resampled, 0.5, axis=1, method="inverted_cdf")
    low, high = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)


def _outcome(claim: Claim, values: np.ndarray, interval: tuple[float, float]) -> Outcome:
    if values.size < _LEAST_SEEDS or np.isnan(interval).any():
        return "undecided"
    low, high = interval
    if claim.is_met(low) and claim.is_met(high):
        return "holds"
    is_all_above = claim.high is not None and low > claim.high
    is_all_below = claim.low is not None and high < claim.low
    return "does not hold" if is_all_above or is_all_below else "undecided"
