"""Whether a run's precision can hold its numbers: α, its square, and α[f(θ) − f(θ₀)]."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from lazyrich._base import InputError

_MOST_NOISE = 0.01
"""Rounding of the scaled outputs, in parts of the labels, above which a run is refused."""


def require_representable(alpha: float, precision: str) -> None:
    """Refuse output scales that overflow or vanish in the precision of a run.

    Args:
        alpha: α. Learning rates go with 1/α², losses with α².
        precision: "float32" or "float64".

    Raises:
        InputError: naming the range.

    Example:
        >>> require_representable(1e30, "float64")
        >>> require_representable(1e30, "float32")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: alpha is 1e+30, and alpha² leaves the range of
        float32; choose it between 1.1e-19 and 1.8e+19, or take another precision
    """
    limits = np.finfo(precision)
    low, high = float(limits.tiny) ** 0.5, float(limits.max) ** 0.5
    if not low <= alpha <= high:
        raise InputError(
            f"alpha is {alpha:g}, and alpha² leaves the range of {precision}; choose it between "
            f"{low:.1e} and {0.999 * high:.1e}, or take another precision"
        )


def require_resolved(
    alpha: float, targets: ArrayLike, outputs: Callable[[], ArrayLike], precision: str
) -> None:
    """Refuse runs in which the change of the outputs is lost in their rounding.

    Of α[f(θ) − f(θ₀)] the digits of f below its rounding are noise, of size α·ε·|f(θ₀)| with
    the machine epsilon ε; a lazy network changes f no more than that if α is very large. Its
    weights change by parts in α, which their rounding limits in the same way.

    Args:
        alpha: α.
        targets: the labels that the scaled outputs are to fit.
        outputs: computes f(θ₀) on the same rows; only asked where α is large.
        precision: of the run.

    Raises:
        InputError: with how well the outputs are known, and what to do.

    Example:
        >>> ones = np.ones(3)
        >>> require_resolved(1e3, ones, lambda: ones, "float32")
        >>> require_resolved(1e6, ones, lambda: ones, "float32")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: alpha is 1e+06, and in float32 the scaled outputs
        are known to 12 % of the labels only, because a lazy network changes its outputs by
        less than their rounding; take precision float64, or alpha up to 80000.
    """
    epsilon = float(np.finfo(precision).eps)
    if alpha * epsilon < 1e-3 * _MOST_NOISE:
        return
    # Besides the outputs' own rounding there is that of the weights, whose steps shrink as 1/α.
    ratio = _size(outputs()) / max(_size(targets), np.finfo(float).tiny)
    noise = alpha * epsilon * max(1.0, ratio)
    if noise > _MOST_NOISE:
        most = float(f"{alpha * _MOST_NOISE / noise:.0e}")
        other = "take precision float64, or" if precision == "float32" else "take"
        raise InputError(
            f"alpha is {alpha:g}, and in {precision} the scaled outputs are known to "
            f"{100 * noise:.2g} % of the labels only, because a lazy network changes its outputs "
            f"by less than their rounding; {other} alpha up to {most:g}."
        )


def _size(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))
