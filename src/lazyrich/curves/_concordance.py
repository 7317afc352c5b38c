"""Whether one quantity grows with another, over the pairs whose order is known."""

import numpy as np
from numpy.typing import ArrayLike

from lazyrich._base import InputError, host_array

LEAST_PAIRS = 3
"""With fewer comparable pairs no trend is reported."""


def concordance(x: ArrayLike, y: ArrayLike) -> float:
    """Concordant less discordant pairs over the pairs whose order is known (Goodman–Kruskal γ).

    Infinite values are censored: larger than any finite value, in an unknown order among
    themselves. A pair counts if both values of x and both of y are known to differ, so
    pairs with a NaN, pairs of two equal values and pairs of two censored ones do not.

    Args:
        x: values of a setting, such as α, ``n``.
        y: what was measured at each, ``n``; inf where it is censored.

    Returns:
        A number in [−1, 1]: 1 if y grows with x in every pair that counts, −1 if it falls
        in every one. NaN with fewer than three pairs that count.

    Raises:
        InputError: if x and y are not two lists of real numbers of one length.

    Example:
        >>> concordance([1, 2, 3, 4], [5.0, 7.0, float("inf"), float("inf")])
        1.0
    """
    a, b = host_array("x", x), host_array("y", y)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"x has shape {a.shape} and y {b.shape}; give two lists of one length.")
    signs = _signs(a) * _signs(b)
    n_pairs = np.count_nonzero(signs)
    # Every pair stands in the table twice.
    return float(signs.sum() / n_pairs) if n_pairs >= 2 * LEAST_PAIRS else float("nan")


def _signs(values: np.ndarray) -> np.ndarray:
    """For each pair of values the sign of their difference; 0 where it is not known."""
    above = values[:, None] > values[None, :]  # False for NaN, and for two infinite values
    return above.astype(int) - above.T.astype(int)
