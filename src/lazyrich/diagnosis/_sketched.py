"""Numbers of a kernel from its products with random directions, S = UᵀKU, with intervals.

The directions are the columns of U, of which S has m; they have the identity as covariance,
so that the mean of S_ii is tr K and that of S_ij² over i ≠ j is ‖K‖².
"""

import math

import numpy as np

from ._estimate import Estimate, over_directions


def sketched_trace(s: np.ndarray) -> Estimate:
    """tr K, the mean of S_ii.

    Args:
        s: (m, m) products.

    Returns:
        The trace, zero or above.

    Example:
        >>> sketched_trace(np.eye(4)).value
        1.0
    """
    return over_directions(_trace, s, lower=0.0)


def sketched_norm(s: np.ndarray) -> Estimate:
    """‖K‖ (Frobenius), from the mean of S_ij² over i ≠ j.

    Args:
        s: (m, m) products.

    Returns:
        The norm, zero or above; undefined if the mean is negative.

    Example:
        >>> sketched_norm(np.full((4, 4), 2.0)).value
        2.0
    """
    return over_directions(lambda s: np.sqrt(product(s, s)), s, lower=0.0)


def sketched_rank(s: np.ndarray) -> Estimate:
    """The effective rank (tr K)²/‖K‖²: 1 for one direction, the number of entries for 1.

    Args:
        s: (m, m) products.

    Returns:
        The effective rank, 1 or above; its upper end is infinite if the share ‖K‖²/(tr K)²
        may be zero.

    Example:
        >>> sketched_rank(np.full((4, 4), 2.0)).value
        1.0
    """
    # The reciprocal is nearer to a normal distribution, so its interval is the right one.
    share = over_directions(lambda s: product(s, s) / _trace(s) ** 2, s, upper=1.0)
    if not share.is_defined or share.value <= 0:
        return Estimate(math.nan, math.nan, math.nan)
    high = 1 / share.low if share.low > 0 else math.inf
    return Estimate(1 / share.value, 1 / share.high, high)


def sketched_cosine(s: np.ndarray, t: np.ndarray) -> Estimate:
    """⟨K, K′⟩/(‖K‖‖K′‖) of two kernels.

    Args:
        s: (m, m) products of K.
        t: those of K′ with the same directions.

    Returns:
        The cosine, 1 for kernels that are equal up to scale.

    Example:
        >>> sketched_cosine(np.ones((4, 4)), np.full((4, 4), 2.0)).value
        1.0
    """
    return over_directions(cosine, s, t, lower=-1.0, upper=1.0)


def sketched_growth(s: np.ndarray, t: np.ndarray) -> Estimate:
    """tr K′/tr K: how much larger the second kernel is.

    Args:
        s: (m, m) products of K.
        t: those of K′ with the same directions.

    Returns:
        The ratio, zero or above.

    Example:
        >>> sketched_growth(np.ones((4, 4)), np.full((4, 4), 2.0)).value
        2.0
    """
    return over_directions(lambda s, t: _trace(t) / _trace(s), s, t, lower=0.0)


def sketched_distance(s: np.ndarray, t: np.ndarray) -> Estimate:
    """‖K′ − K‖/‖K‖.

    Args:
        s: (m, m) products of K.
        t: those of K′ with the same directions.

    Returns:
        The relative distance, zero or above.

    Example:
        >>> sketched_distance(np.ones((4, 4)), np.full((4, 4), 2.0)).value
        1.0
    """
    return over_directions(
        lambda s, t: np.sqrt(product(t - s, t - s) / product(s, s)), s, t, lower=0.0
    )


def product(s: np.ndarray, t: np.ndarray) -> float:
    """⟨K, K′⟩ from the mean of S_ij T_ij over i ≠ j."""
    m = len(s)
    return float(((s * t).sum() - (np.diagonal(s) * np.diagonal(t)).sum()) / (m * (m - 1)))


def cosine(s: np.ndarray, t: np.ndarray) -> float:
    """The cosine of two kernels, without its interval."""
    return product(s, t) / np.sqrt(product(s, s) * product(t, t))


def _trace(s: np.ndarray) -> float:
    return float(np.diagonal(s).mean())
