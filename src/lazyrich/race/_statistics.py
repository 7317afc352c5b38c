"""Statistics of times to a target that may be censored at one limit."""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import CensoredData, ecdf, norm

from lazyrich._base import InputError

Times = Float[np.ndarray, "..."]
"""Steps to the target; inf where it was not reached at or before the limit."""


class Interval(NamedTuple):
    """A number with an interval around it.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.

    Example:
        >>> Interval(0.5, 0.4, 0.6).high
        0.6
    """

    value: float
    low: float
    high: float


class Survival(NamedTuple):
    """The share of runs that have not reached the target, a step function.

    Attributes:
        steps: where it falls, increasing.
        shares: from each of these steps on.

    Example:
        >>> Survival(np.array([10.0]), np.array([0.5])).shares.tolist()
        [0.5]
    """

    steps: Float[np.ndarray, " k"]
    shares: Float[np.ndarray, " k"]


def kaplan_meier(times: Float[np.ndarray, " n"], is_reached: Bool[np.ndarray, " n"]) -> Survival:
    """The product-limit estimate of the share of runs still without the target.

    Args:
        times: step of the target, or of censoring.
        is_reached: whether the target was reached then.

    Returns:
        The survival function, one entry for each different time.

    Raises:
        InputError: if there are no times.

    Example:
        >>> found = kaplan_meier(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
        >>> found.shares.round(3).tolist()
        [0.667, 0.667, 0.0]

    References:
        Kaplan and Meier (1958).
    """
    if len(times) == 0:
        raise InputError("There are no times to estimate survival from; give at least one.")
    data = CensoredData(uncensored=times[is_reached], right=times[~is_reached])
    function = ecdf(data).sf
    return Survival(np.asarray(function.quantiles, float), np.asarray(function.probabilities))


def restricted_mean(times: Times, limit: float) -> float:
    """The area under the Kaplan–Meier curve up to a limit: mean time, misses at the limit.

    Where all misses are censored at the limit this is the mean of min(t, limit). A miss
    counts as the limit, which is less than its time: means of arms that miss are too small.

    Args:
        times: steps to the target; inf where it was missed.
        limit: T_max.

    Returns:
        Steps, between 0 and the limit.

    Example:
        >>> restricted_mean(np.array([10.0, np.inf]), 100.0)
        55.0

    References:
        Royston and Parmar (2013).
    """
    flat = np.ravel(times)
    curve = kaplan_meier(np.minimum(flat, limit), flat <= limit)
    edges = np.concatenate([[0.0], curve.steps[curve.steps < limit], [limit]])
    heights = np.concatenate([[1.0], curve.shares[curve.steps < limit]])
    return float(np.sum(np.diff(edges) * heights))


def restricted_mean_interval(
    times: Float[np.ndarray, "studies seeds"],
    limit: float,
    *,
    seed: int = 0,
    n_resamples: int = 2000,
) -> Interval:
    """The restricted mean with a 95 % bootstrap interval over studies and seeds.

    Args:
        times: steps to the target, inf where it was missed.
        limit: T_max.
        seed: of the resampling.
        n_resamples: number of bootstrap samples.

    Returns:
        The mean and the 2.5 and 97.5 percentiles.

    Example:
        >>> found = restricted_mean_interval(np.full((3, 10), 50.0), 100.0)
        >>> tuple(map(float, found))
        (50.0, 50.0, 50.0)
    """
    capped = np.minimum(times, limit)
    rng = np.random.default_rng(seed)
    studies, seeds = _resamples(rng, capped.shape, n_resamples)
    means = capped[studies[:, :, None], seeds[:, None, :]].mean((1, 2))
    return Interval(restricted_mean(times, limit), *_percentiles(means))


def speed_up(
    baseline: Float[np.ndarray, "studies seeds"],
    arm: Float[np.ndarray, "others others_seeds"],
    limit: float,
    *,
    seed: int = 0,
    n_resamples: int = 2000,
) -> Interval:
    """Restricted mean of the baseline over that of the arm, with a paired 95 % interval.

    Seeds are resampled for both at once, the studies of each on their own: data and
    initial weights are shared, the luck of a search is not.

    Args:
        baseline: steps to the target, inf where it was missed.
        arm: likewise, of the same seeds.
        limit: T_max.
        seed: of the resampling.
        n_resamples: number of bootstrap samples.

    Returns:
        The ratio, above 1 where the arm is faster.

    Raises:
        InputError: if the seeds are not the same number.

    Example:
        >>> found = speed_up(np.full((3, 10), 50.0), np.full((3, 10), 25.0), 100.0)
        >>> float(found.value)
        2.0
    """
    if baseline.shape[1] != arm.shape[1]:
        raise InputError(
            f"The baseline has {baseline.shape[1]} seeds and the arm {arm.shape[1]}; pairs need "
            "the same seeds."
        )
    base, other = np.minimum(baseline, limit), np.minimum(arm, limit)
    rng = np.random.default_rng(seed)
    studies, seeds = _resamples(rng, base.shape, n_resamples)
    others, _ = _resamples(rng, other.shape, n_resamples)
    ratios = base[studies[:, :, None], seeds[:, None, :]].mean((1, 2)) / np.maximum(
        other[others[:, :, None], seeds[:, None, :]].mean((1, 2)), 1e-12
    )
    value = restricted_mean(base, limit) / max(restricted_mean(other, limit), 1e-12)
    return Interval(value, *_percentiles(ratios))


def sign_flip_test(differences: Float[np.ndarray, " seeds"]) -> float:
    """The two-sided p value of a mean paired difference, by all flips of signs.

    Args:
        differences: one for each seed, at most 20.

    Returns:
        The share of sign patterns with a mean at least as far from zero, in (0, 1].

    Raises:
        InputError: if there are more than 20.

    Example:
        >>> sign_flip_test(np.ones(3))  # all signs equal: 2 of 8
        0.25
    """
    n = len(differences)
    if n > 20:
        raise InputError(f"There are {n} pairs; all flips of more than 20 signs are too many.")
    signs = np.array(list(product([1.0, -1.0], repeat=n))).reshape(-1, n)
    means = np.abs(signs @ differences)
    return float(np.mean(means >= means[0] * (1 - 1e-9)))


def wilson(n_reached: float | int, n: float | int, *, level: float = 0.95) -> Interval:
    """A share with Wilson's score interval.

    Args:
        n_reached: how many; a fraction where several runs make one unit.
        n: of how many, above zero.
        level: confidence.

    Returns:
        The share and its interval, within [0, 1].

    Raises:
        InputError: if n is not above zero.

    Example:
        >>> [round(end, 3) for end in wilson(10, 10)]
        [1.0, 0.722, 1.0]

    References:
        Wilson (1927).
    """
    if not n > 0:
        raise InputError(f"There are {n} runs; a share needs at least one.")
    share, z = n_reached / n, float(norm.ppf(0.5 + level / 2))
    centre = share + z**2 / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return Interval(share, max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the given order.

    Args:
        p_values: of a family of tests.

    Returns:
        At most 1; below a level, the family has no false rejection but with that chance.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    References:
        Holm (1979).
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(order), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, (len(order) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


def expected_best(times: Times, limit: float) -> Float[np.ndarray, " n"]:
    """The expected fastest of k trials drawn without replacement, for k from 1 to n.

    E min = Σ_i t_(i) C(n − i, k − 1)/C(n, k) over the sorted times, misses at the limit.

    Args:
        times: of n trials; inf where the target was missed.
        limit: T_max.

    Returns:
        Steps, falling with k.

    Example:
        >>> expected_best(np.array([10.0, 20.0, np.inf]), 100.0).round(2).tolist()
        [43.33, 13.33, 10.0]

    References:
        Dodge et al. (2019), Show Your Work, arXiv:1909.03004.
    """
    ordered = np.sort(np.minimum(np.ravel(times), limit))
    n = len(ordered)
    return np.array(
        [
            sum(t * math.comb(n - i, k - 1) for i, t in enumerate(ordered, start=1))
            / math.comb(n, k)
            for k in range(1, n + 1)
        ]
    )


def share_near_best(times: Times, *, factor: float = 2.0) -> float:
    """The share of trials within a factor of the fastest: how forgiving the space is.

    Args:
        times: of trials; inf where the target was missed.
        factor: how far from the fastest.

    Returns:
        Between 0 and 1; 0 where none reached the target.

    Example:
        >>> share_near_best(np.array([10.0, 19.0, 50.0, np.inf]))
        0.5
    """
    flat = np.ravel(times)
    best = flat.min()
    return float(np.mean(flat <= factor * best)) if math.isfinite(best) else 0.0


def _resamples(
    rng: np.random.Generator, shape: tuple[int, ...], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of bootstrap samples."""
    rows, columns = (rng.integers(0, size, (n, size)) for size in shape)
    return rows, columns


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
