"""From a statistic over seeds to a verdict: holds, does not hold, undecided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, PlainSerializer
from scipy.special import betaincinv, comb

from ._value import NO_PRINTED_RUN, NO_RUN, is_left_out, reason_of


def _from_json(value: object) -> object:
    return float(value) if isinstance(value, str) and value in ("inf", "-inf", "nan") else value


Number = Annotated[
    float,
    BeforeValidator(_from_json),
    PlainSerializer(lambda v: v if math.isfinite(v) else str(v), when_used="json"),
]
"""A float; JSON has no infinities and no NaN: there they are text."""

Outcome = Literal[
    "holds", "does not hold", "undecided", "met", "not met", "not computed", "no printed run"
]

LEFT_OUT = ("not computed", "no printed run")
"""Outcomes of claims that nothing was run or recorded for."""

# Below three seeds nothing is decided; below six the interval is the range.
_LEAST_SEEDS = 3
_COVERAGE = 0.95
_NOT_MEASURED = "could not be measured"


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, and the number that decides it.

    Attributes:
        figure: such as "fig1".
        name: short, unique within the figure.
        sentence: what the paper says, in its words where it has them.
        where: section or figure of the paper.
        statistic: how the number is defined, per seed.
        low: a seed meets the claim at or above this; None if there is no lower threshold.
        high: a seed meets the claim at or below this; None if there is no upper threshold.
        share: of a claim on an outcome that seeds either reach or do not, the share of
            seeds that must meet it; None judges the median over seeds.

    Example:
        >>> Claim("fig1", "late", "it is late", "§1", "t_te/t_tr", low=1.5).threshold
        '≥ 1.5'
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    figure: str
    name: str
    sentence: str
    where: str
    statistic: str
    low: float | None = None
    high: float | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        """A claim has a threshold that can be met."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        has_one = self.low is not None or self.high is not None
        if not (has_one and low <= high) or not 0 < (self.share or 0.5) <= 1:
            raise ValueError(
                f"the claim {self.name!r} has low {self.low}, high {self.high} and share "
                f"{self.share}; give low, high or both, in order, and a share of at most 1"
            )

    @property
    def threshold(self) -> str:
        """The threshold as text: "≥ 1.5", "≤ 0.5" or "0.5 to 2"."""
        if self.low is not None and self.high is not None:
            text = f"{self.low:g} to {self.high:g}"
        else:
            text = f"≥ {self.low:g}" if self.low is not None else f"≤ {self.high:g}"
        return text if self.share is None else f"{text} in {100 * self.share:g} % of seeds"

    def is_met(self, value: float) -> bool:
        """Whether one value is on the right side; never (infinite) is not, nor is NaN."""
        is_high_enough = self.low is None or value >= self.low
        return math.isfinite(value) and is_high_enough and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, and what follows.

    Attributes:
        claim: the claim.
        values: the statistic of each seed; inf where it is never reached, NaN where it
            could not be measured.
        reasons: for each seed why it could not be measured, or what was left out; "" if
            there is nothing to say.
        median: over the seeds that were measured.
        interval: of the median: the range of up to five seeds, from six on the order
            statistics whose coverage is at least 95 %. An end that is infinite is a seed
            that never got there, which counts as the worst.
        coverage: the probability with which such an interval holds the median.
        n_met: how many seeds meet the claim.
        share_interval: 95 % interval of Clopper and Pearson for the share of seeds that meet it.
        outcome: holds, does not hold or undecided; of a single draw met, not met or
            undecided. Not computed, or no printed run, where nothing was run or recorded
            that could be judged.

    Example:
        >>> claim = Claim("fig1", "late", "it is late", "§1", "t_te/t_tr", low=1.5)
        >>> verdict = judge(claim, [2.0, 1.9, 3.0])
        >>> verdict.outcome, verdict.n_met, verdict.median
        ('holds', 3, 2.0)
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    claim: Claim
    values: tuple[Number, ...]
    reasons: tuple[str, ...]
    median: Number
    interval: tuple[Number, Number]
    coverage: Number
    n_met: int
    share_interval: tuple[Number, Number]
    outcome: Outcome

    @property
    def n_measured(self) -> int:
        """How many seeds were measured, those that never got there included."""
        return sum(not math.isnan(value) for value in self.values)

    @property
    def n_never(self) -> int:
        """How many seeds never got there."""
        return sum(math.isinf(value) for value in self.values)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why seeds could not be measured, one reason for each that was not."""
        pairs = zip(self.values, self.reasons, strict=True)
        return tuple(reason for value, reason in pairs if math.isnan(value))


def judge(claim: Claim, values: Sequence[float], *, is_one_draw: bool = False) -> Verdict:
    """The verdict on a claim from its statistic over seeds.

    A claim *holds* if the whole interval of the median is on the right side of the
    threshold, *does not hold* if all of it is on the wrong side, and is *undecided*
    otherwise. A claim with a ``share`` is judged by the interval of the share of seeds
    that meet it instead. A seed that never gets there does not meet the claim. A seed
    that could not be measured may lie on either side: the verdict is what it would be
    wherever such seeds lie, and undecided if that depends on them. Fewer than three
    seeds decide nothing. Where no seed was run or recorded for it, it is not computed.

    Args:
        claim: the claim.
        values: the statistic, one for each seed: inf where never reached, NaN (a
            ``Value`` says why) where it could not be measured.
        is_one_draw: there is one draw to be judged alone: met or not met.

    Returns:
        The verdict.

    Example:
        >>> claim = Claim("fig1", "ratio", "late", "abstract", "t_te/t_tr", low=1.5)
        >>> judge(claim, [2.0, 1.9, 3.1]).outcome
        'holds'
        >>> judge(claim, [2.0, 1.2, 3.1]).outcome
        'undecided'
        >>> judge(claim, [float("inf")] * 3).outcome
        'does not hold'
    """
    numbers = tuple(map(float, values))
    measured = [v for v in numbers if not math.isnan(v)]
    reasons = tuple(
        reason_of(value) or (_NOT_MEASURED if math.isnan(value) else "") for value in values
    )
    by_values = _of_one_draw if is_one_draw else _of_seeds
    ranked = sorted(measured, key=lambda value: _rank(claim, value))
    n, n_met = len(measured), sum(map(claim.is_met, measured))
    nan = math.nan
    first = _first_order(n)
    return Verdict(
        claim,
        numbers,
        reasons,
        ranked[(n - 1) // 2] if n else nan,
        (ranked[first - 1], ranked[n - first]) if n else (nan, nan),
        _coverage(n, first) if n else nan,
        n_met,
        clopper_pearson(n_met, n),
        _left_out(reasons, is_one_draw=is_one_draw) or by_values(claim, numbers),
    )


def clopper_pearson(n_met: int, n: int, *, coverage: float = _COVERAGE) -> tuple[float, float]:
    """Exact interval of a share, from how many of n have met it.

    Example:
        >>> [round(end, 3) for end in clopper_pearson(9, 24)]
        [0.188, 0.594]
    """
    tail = (1 - coverage) / 2
    low = float(betaincinv(n_met, n - n_met + 1, tail)) if n_met else 0.0
    return low, float(betaincinv(n_met + 1, n - n_met, 1 - tail)) if n_met < n else 1.0


def _left_out(reasons: Sequence[str], *, is_one_draw: bool) -> Outcome | None:
    """The outcome where nothing was run or recorded for any seed; else None."""
    if not (reasons and all(map(is_left_out, reasons))):
        return None
    has_run = not {NO_PRINTED_RUN, NO_RUN}.issuperset(reasons)
    return "no printed run" if is_one_draw and not has_run else "not computed"


def _of_one_draw(claim: Claim, values: Sequence[float]) -> Outcome:
    if len(values) != 1 or math.isnan(values[0]):
        return "undecided"
    return "met" if claim.is_met(values[0]) else "not met"


def _of_seeds(claim: Claim, values: Sequence[float]) -> Outcome:
    if len(values) < _LEAST_SEEDS:
        return "undecided"
    return _by_median(claim, values) if claim.share is None else _by_share(claim, values)


def _by_median(claim: Claim, values: Sequence[float]) -> Outcome:
    ranks = sorted(_rank(claim, value) for value in values if not math.isnan(value))
    n, unknown = len(values), len(values) - len(ranks)
    first = _first_order(n)
    # Those that could not be measured lie below all others for one end, above for the other.
    low = ([-math.inf] * unknown + ranks)[first - 1]
    high = (ranks + [math.inf] * unknown)[n - first]
    if claim.is_met(low) and claim.is_met(high):
        return "holds"
    is_all_above = claim.high is not None and low > claim.high
    is_all_below = claim.low is not None and high < claim.low
    return "does not hold" if is_all_above or is_all_below else "undecided"


def _by_share(claim: Claim, values: Sequence[float]) -> Outcome:
    n, n_met = len(values), sum(map(claim.is_met, values))
    unknown = sum(map(math.isnan, values))
    wanted = claim.share or 0.0
    if clopper_pearson(n_met, n)[0] >= wanted:
        return "holds"
    return "does not hold" if clopper_pearson(n_met + unknown, n)[1] < wanted else "undecided"


def _rank(claim: Claim, value: float) -> float:
    """A value for ordering: never is the worst, below all others where more is better."""
    if math.isinf(value):
        return -math.inf if claim.high is None else math.inf
    return value


def _first_order(n: int) -> int:
    """The largest k for which the k-th smallest and k-th largest of n cover the median."""
    first = 1
    while _coverage(n, first + 1) >= _COVERAGE:
        first += 1
    return first


def _coverage(n: int, first: int) -> float:
    """Probability that the median lies between the k-th smallest and the k-th largest of n.

    The number of values below the median is binomial with n trials of one half.
    """
    return 1 - 2 * float(sum(comb(n, i, exact=True) for i in range(first))) / 2**n
