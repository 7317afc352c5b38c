"""The step at which an accuracy rises to a level, and the delay of the test accuracy."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import InputError, concrete, real_scalars, require_positive

from ._delay import GrokkingDelay, crossing, delay_between, with_precise_difference
from ._records import Curve, Steps, are_shares, require_shares, sorted_records


def rise_step(steps: Steps, accuracy: Curve, level: ScalarLike) -> Float[Array, ""]:
    """First step at which an accuracy is at or above a level, between records by log step.

    The mirror image of ``fall_step``, so the answer hardly depends on how densely the
    run was logged.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        accuracy: share of right answers, 0 to 1; values that are not finite never cross.
        level: at or above which the accuracy has risen, a share.

    Returns:
        The step; the first step if the accuracy starts at or above the level; inf if it
        never rises so far. NaN inside ``jit`` or ``vmap`` for an accuracy that would be
        refused outside.

    Raises:
        InputError: if the lengths disagree or are zero, a step is negative or not finite,
            an accuracy is not a share (such as a percentage), or the level is above 1,
            which no accuracy reaches.

    Example:
        >>> steps, accuracy = jnp.array([1.0, 10.0, 100.0]), jnp.array([0.1, 0.2, 1.0])
        >>> round(float(rise_step(steps, accuracy, 0.6)), 2)
        31.62
    """
    _require_levels(level=level)
    steps, accuracy = sorted_records(steps, accuracy=accuracy)
    require_shares(accuracy=accuracy)
    return _rise(steps, accuracy, level)


def _rise(steps: Array, accuracy: Array, level: ScalarLike) -> Array:
    [level] = real_scalars(accuracy, level=level)
    step = crossing(steps, -accuracy, -level)
    return jnp.where(are_shares(accuracy), step, jnp.nan)


@with_precise_difference
def accuracy_delay(
    steps: Steps,
    train_accuracy: Curve,
    test_accuracy: Curve,
    *,
    train_level: ScalarLike = 0.9,
    test_level: ScalarLike = 0.9,
) -> GrokkingDelay:
    """Delay between the rise of the train accuracy and that of the test accuracy.

    Unlike losses, the two accuracies have levels of their own: "train 100 %, test 95 %"
    is a usual pair. jit- and vmap-safe.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        train_accuracy: share of right answers on the training points, 0 to 1.
        test_accuracy: share of right answers on the test points.
        train_level: share at which the train accuracy counts as risen.
        test_level: share at which the test accuracy counts as risen.

    Returns:
        Both steps, their difference and ratio, and whether the delay is censored, as
        ``grokking_delay`` returns them.

    Raises:
        InputError: as ``rise_step``, or if a level is not in (0, 1].

    Example:
        >>> steps = jnp.array([0, 1, 10, 100, 1000])
        >>> train = jnp.array([0.1, 0.5, 1.0, 1.0, 1.0])
        >>> test = jnp.array([0.1, 0.1, 0.2, 0.2, 0.9])
        >>> delay = accuracy_delay(steps, train, test, train_level=1.0)
        >>> round(float(delay.delay)), round(float(delay.ratio))
        (990, 100)
    """
    _require_levels(train_level=train_level, test_level=test_level)
    steps, train, test = sorted_records(
        steps, train_accuracy=train_accuracy, test_accuracy=test_accuracy
    )
    require_shares(train_accuracy=train, test_accuracy=test)
    return delay_between(_rise(steps, train, train_level), _rise(steps, test, test_level))


def _require_levels(**levels: ScalarLike) -> None:
    require_positive(**levels)
    for name, level in levels.items():
        known = concrete(level)
        if known is not None and not np.all(known <= 1):
            raise InputError(f"{name} is {level}; accuracies are shares, give one of at most 1.")
