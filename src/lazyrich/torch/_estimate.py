"""An estimate and its interval, from leaving out one random direction at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Such as "0.93 (0.91 to 0.95)"."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def jackknife(
    statistic: Callable[..., float], *products: np.ndarray, upper: float = np.inf
) -> Estimate:
    """A statistic of m × m products, with its interval over the random directions.

    Args:
        statistic: of one or more matrices of products.
        *products: the matrices, of the same directions.
        upper: the largest value that is possible.

    Returns:
        The statistic; its interval by the jackknife over directions, with Student's t.

    Example:
        >>> estimate = jackknife(lambda s: np.diagonal(s).mean(), np.eye(4))
        >>> estimate.value, estimate.low, estimate.high
        (1.0, 1.0, 1.0)
    """
    m = len(products[0])
    value = float(statistic(*products))
    left_out = np.array(
        [statistic(*(np.delete(np.delete(s, i, 0), i, 1) for s in products)) for i in range(m)],
        dtype=float,
    )
    error = np.sqrt((m - 1) / m * ((left_out - left_out.mean()) ** 2).sum())
    reach = float(t.ppf(0.975, m - 1) * error)
    return Estimate(value, value - reach, min(upper, value + reach))
