"""Early warnings that a run is about to generalise (experimental): numbers from its past alone.

None of them is part of the advice: how well each does on recorded runs, against the slope of
the parameter norm, stands on the page about calibration.
"""

import numpy as np
from jaxtyping import Float, Int

from lazyrich._base import InputError


def log_slope(steps: Int[np.ndarray, " s"], values: Float[np.ndarray, " s"]) -> float:
    """The slope of a curve against the logarithm of the step, by least squares.

    Args:
        steps: optimizer steps above 0, increasing.
        values: of the curve at them.

    Returns:
        The change for each factor of e in the number of steps.

    Raises:
        InputError: if there are fewer than two steps, one is not above 0, or a value is not
            finite.

    Example:
        >>> round(log_slope(np.array([1, 10, 100]), np.log([1.0, 10.0, 100.0])), 6)
        1.0
    """
    if len(steps) < 2 or len(steps) != len(values) or not (np.asarray(steps) > 0).all():
        raise InputError("steps must be two or more numbers above 0, with one value for each.")
    _require_finite(values)
    centered = np.log(steps) - np.log(steps).mean()
    return float(centered @ values / (centered @ centered))


def roughness(values: Float[np.ndarray, " s"]) -> float:
    """The share of a curve's variation that is fast: the upper half of its spectrum.

    Of the curve less its straight line, by the discrete Fourier transform. Notsawo et al.
    (2023) find that the loss of runs that will generalise late oscillates early on.

    Args:
        values: of a curve at even distances, such as of the logarithm of the loss at
            evaluations that are even in the logarithm of the step; 8 or more.

    Returns:
        A number from 0 to 1; 0 for a straight line.

    Raises:
        InputError: if there are fewer than 8 values, or one is not finite.

    Example:
        >>> roughness(np.arange(8.0))
        0.0
        >>> roughness(np.array([0.0, 1.0] * 8)) > 0.9
        True

    References:
        Notsawo et al. (2023), arXiv:2306.13253.
    """
    _require_finite(values, 8)
    places = np.arange(len(values)) - (len(values) - 1) / 2
    centered = values - values.mean()
    rest = centered - places * (places @ centered) / (places @ places)
    if np.abs(rest).max() <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return 0.0
    power = np.abs(np.fft.rfft(rest))[1:] ** 2
    return float(power[len(power) // 2 :].sum() / power.sum())


def hankel_residual(values: Float[np.ndarray, " s"], *, n_delays: int = 4, rank: int = 3) -> float:
    """How badly linear dynamics in delay coordinates predict the next value of a curve.

    Dynamic mode decomposition of the Hankel matrix of all but the last value; the error of
    its prediction of the last one, relative to the spread of the values.

    Args:
        values: of a curve at even distances, 2 · n_delays + 1 or more.
        n_delays: values that make a state.
        rank: of the linear operator.

    Returns:
        Zero or above; 0 for sums of at most ``rank`` exponentials, and for a constant.

    Raises:
        InputError: if there are too few values, one is not finite, or n_delays or rank is
            below 1.

    Example:
        >>> curve = 0.8 ** np.arange(12) + 0.5 ** np.arange(12)
        >>> hankel_residual(curve) < 1e-6
        True
    """
    if n_delays < 1 or rank < 1:
        raise InputError(f"n_delays is {n_delays} and rank {rank}; both must be 1 or more.")
    _require_finite(values, 2 * n_delays + 1)
    spread = float(np.ptp(values))
    if not spread:
        return 0.0
    known = values / spread
    states = np.lib.stride_tricks.sliding_window_view(known[:-1], n_delays)
    before, after = states[:-1].T, states[1:].T
    left, sizes, right = np.linalg.svd(before, full_matrices=False)
    kept = min(rank, int((sizes > 1e-10 * sizes[0]).sum()))
    left, sizes, right = left[:, :kept], sizes[:kept], right[:kept]
    step = after @ (right.T / sizes) @ left.T
    return float(abs((step @ states[-1])[-1] - known[-1]))


def _require_finite(values: np.ndarray, fewest: int = 2) -> None:
    if len(values) < fewest or not np.isfinite(values).all():
        raise InputError(f"values must be {fewest} or more finite numbers.")
