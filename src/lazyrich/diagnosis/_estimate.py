"""A number with its interval, from leaving out one unit (row or direction) at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; all three are NaN where it is not defined.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end.

    Example:
        >>> str(Estimate(0.93, 0.91, 0.95))
        '0.93 (0.91 to 0.95)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Such as "0.93 (0.91 to 0.95)"."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @property
    def is_defined(self) -> bool:
        """Whether value and interval are finite."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


UNDEFINED = Estimate(math.nan, math.nan, math.nan)


def jackknife(
    value: float, left_out: np.ndarray, *, lower: float = -math.inf, upper: float = math.inf
) -> Estimate:
    """The interval of a statistic from its values with one unit left out.

    Args:
        value: the statistic of all units.
        left_out: (m,) its values without each of the m units.
        lower: the smallest value that is possible.
        upper: the largest one.

    Returns:
        The statistic with Student's interval; undefined if a value is not finite.

    Example:
        >>> jackknife(1.0, np.ones(4))
        Estimate(value=1.0, low=1.0, high=1.0)
    """
    m = len(left_out)
    if m < 2 or not math.isfinite(value) or not np.isfinite(left_out).all():
        return UNDEFINED
    error = np.sqrt((m - 1) / m * ((left_out - left_out.mean()) ** 2).sum())
    reach = float(stdtrit(m - 1, 0.975) * error)
    return Estimate(float(value), max(lower, value - reach), min(upper, value + reach))


def over_directions(
    statistic: Callable[..., float],
    *products: np.ndarray,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> Estimate:
    """A statistic of m × m products of random directions, with its interval over these.

    Args:
        statistic: of one or more matrices of products.
        *products: the matrices, of the same directions.
        lower: the smallest value that is possible.
        upper: the largest one.

    Returns:
        The estimate; undefined where the statistic is not finite.
    """
    m = len(products[0])
    with np.errstate(all="ignore"):
        value = float(statistic(*products))
        left_out = [
            float(statistic(*(np.delete(np.delete(s, i, 0), i, 1) for s in products)))
            for i in range(m)
        ]
    return jackknife(value, np.array(left_out), lower=lower, upper=upper)
