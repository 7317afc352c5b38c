"""How many steps weight decay needs to shrink the parameters (experimental)."""

import math

from lazyrich._base import InputError, require_finite, require_positive


def decay_steps(
    norm: float,
    needed_norm: float,
    *,
    learning_rate: float,
    weight_decay: float,
    contraction: float = 1.0,
) -> float:
    """Steps in which decoupled weight decay takes ‖θ‖ to the norm that is needed.

    log(V/V*)/(2κ·η·λ) with V = ‖θ‖², if the loss adds nothing: a fitted network whose
    gradient is small. Experimental: the law is derived for late phases of simple models,
    and the norm that a task needs is seldom known. On the recorded runs of the paper's
    figures it missed the remaining steps by more than an order of magnitude in the median
    (the page on networks of known regime has the numbers), so no advice uses it.

    Args:
        norm: ‖θ‖ now.
        needed_norm: ‖θ‖ of a network that generalises.
        learning_rate: η.
        weight_decay: λ, decoupled.
        contraction: κ, of the rate 2κηλ at which V falls; 1 if the loss is silent.

    Returns:
        The steps; 0 if the norm is there, infinite without weight decay.

    Raises:
        InputError: if a number is negative or not finite.

    Example:
        >>> round(decay_steps(10.0, 5.0, learning_rate=0.01, weight_decay=0.1))
        693

    References:
        arXiv:2603.13331, arXiv:2605.18845.
    """
    require_finite(
        norm=norm, needed_norm=needed_norm, learning_rate=learning_rate, weight_decay=weight_decay
    )
    require_positive(norm=norm, needed_norm=needed_norm, contraction=contraction)
    if learning_rate < 0 or weight_decay < 0:
        raise InputError(
            f"learning_rate is {learning_rate} and weight_decay {weight_decay}; both must be "
            "zero or above."
        )
    if norm <= needed_norm:
        return 0.0
    rate = 2 * contraction * learning_rate * weight_decay
    return math.log((norm / needed_norm) ** 2) / rate if rate else math.inf
