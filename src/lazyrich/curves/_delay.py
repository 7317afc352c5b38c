"""The step at which a loss falls to a level, and the delay of the test loss."""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, ScalarLike

from lazyrich._base import concrete, real_scalars, require_finite, require_positive

from ._records import Curve, Steps, require_first, require_losses, sorted_records

P = ParamSpec("P")


class GrokkingDelay(NamedTuple):
    """The delay between the steps at which train and test curve reach their levels.

    Curves are losses that fall to a level, or accuracies that rise to one.

    Attributes:
        train_step: step at which the train curve reaches its level; inf if it never does.
        test_step: step at which the test curve reaches its level; inf if it never does.
        delay: test_step − train_step, steps; inf if censored. Negative where the test
            curve is first.
        ratio: test_step/train_step, dimensionless; inf if censored, or if the train curve
            is at its level at step 0 and the test curve is not.
        is_censored: the test curve never reaches its level: the delay is longer than the run.
            Also set where the train curve never does and no delay is defined.

    Inside ``jit`` or ``vmap``, where bad curves cannot be refused, both steps and what
    follows from them are NaN for curves that would be refused outside.

    Example:
        >>> steps = (100.0, 5000.0, 4900.0, 50.0, False)  # the last: is it censored
        >>> float(GrokkingDelay(*map(jnp.asarray, steps)).ratio)
        50.0
    """

    train_step: Float[Array, ""]
    test_step: Float[Array, ""]
    delay: Float[Array, ""]
    ratio: Float[Array, ""]
    is_censored: Bool[Array, ""]


def fall_step(steps: Steps, loss: Curve, level: ScalarLike) -> Float[Array, ""]:
    """First step at which a loss is at or below a level, between records by log step.

    Between the two records around the crossing the loss is taken as linear in
    log step (linear in step if the first of them is step 0), so the answer hardly
    depends on how densely the run was logged.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        loss: the curve, label units²; values that are not finite never cross.
        level: at or below which the loss has fallen, label units².

    Returns:
        The step; the first step if the loss starts at or below the level; inf if it
        never falls so far.

    Raises:
        InputError: if the lengths disagree or are zero, a step is negative or not finite,
            the level is not finite, or no record is.

    Example:
        >>> steps, loss = jnp.array([1.0, 10.0, 100.0]), jnp.array([1.0, 0.8, 0.4])
        >>> round(float(fall_step(steps, loss, 0.6)), 2)
        31.62
    """
    require_finite(level=level)
    steps, loss = sorted_records(steps, loss=loss)
    [level] = real_scalars(loss, level=level)
    return crossing(steps, loss, level)


@jax.jit
def crossing(steps: Array, loss: Array, level: Array) -> Array:
    """``fall_step`` for sorted records; NaN for a level that is not finite."""
    is_low = (loss <= level) & jnp.isfinite(loss)
    k = jnp.argmax(is_low)
    before = jnp.maximum(k - 1, 0)
    drop = loss[before] - loss[k]
    share = jnp.where(drop > 0, (loss[before] - level) / jnp.where(drop > 0, drop, 1), 1.0)
    share = jnp.clip(share, 0, 1)
    # There is no interpolation from a record that is not finite.
    share = jnp.where(jnp.isfinite(loss[before]), share, 1.0)
    a, b = steps[before], steps[k]
    safe = jnp.where(a > 0, a, 1)
    between = jnp.where(a > 0, safe * (b / safe) ** share, b * share)
    step = jnp.where(is_low.any(), jnp.where(k == 0, steps[0], between), jnp.inf)
    return jnp.where(jnp.isfinite(level), step, jnp.nan)


def with_precise_difference(measure: Callable[P, GrokkingDelay]) -> Callable[P, GrokkingDelay]:
    """Measure a delay again in double precision where it is a small part of the steps.

    Single precision sees 128 steps between 10⁹ and 10⁹ + 100.

    Args:
        measure: returns a delay.

    Returns:
        The same function, whose result has the types that ``measure`` gives it; where
        something is traced it has the precision of JAX's setting.
    """

    @wraps(measure)
    def measure_precisely(*args: P.args, **kwargs: P.kwargs) -> GrokkingDelay:
        rough = measure(*args, **kwargs)
        if any(concrete(value) is None for value in rough) or not _is_rounded(rough):
            return rough
        with jax.enable_x64(True):
            precise = measure(*args, **kwargs)
            return jax.tree.map(lambda x, like: x.astype(like.dtype), precise, rough)

    return measure_precisely


def _is_rounded(delay: GrokkingDelay) -> bool:
    """Whether a delay in single precision may be wrong by over a thousandth of itself."""
    last = float(delay.test_step)
    is_single = delay.test_step.dtype == jnp.float32
    return is_single and 0 < last < np.inf and abs(float(delay.delay)) < 1e-3 * last


@with_precise_difference
def grokking_delay(
    steps: Steps,
    train_loss: Curve,
    test_loss: Curve,
    *,
    threshold: ScalarLike = 0.1,
) -> GrokkingDelay:
    """Delay between the fall of the train loss and that of the test loss (time to grok).

    Both losses count as fallen at ``threshold`` times the *train* loss at the first
    record. jit- and vmap-safe.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        train_loss: label units²; zero or above.
        test_loss: label units²; zero or above.
        threshold: share of the initial train loss, above 0.

    Returns:
        Both steps, their difference and ratio, and whether the delay is censored.

    Raises:
        InputError: if lengths disagree or are zero, a step is negative or not finite, a
            loss is negative or nowhere finite, the train loss does not begin with a
            finite number, or the threshold is not above zero.

    Example:
        >>> steps = jnp.array([0, 1, 10, 100, 1000])
        >>> train = jnp.array([1.0, 0.5, 0.1, 0.01, 0.001])
        >>> test = jnp.array([1.0, 1.2, 1.1, 0.5, 0.1])
        >>> delay = grokking_delay(steps, train, test)
        >>> round(float(delay.delay)), bool(delay.is_censored)
        (990, False)

    References:
        Kumar et al. (2024), Figure 3(e), "time to grok".
    """
    require_finite(threshold=threshold)
    require_positive(threshold=threshold)
    steps, train, test = sorted_records(steps, train_loss=train_loss, test_loss=test_loss)
    require_first(train_loss=train)
    require_losses(train_loss=train, test_loss=test)
    [threshold] = real_scalars(train, threshold=threshold)
    # No share of a negative loss is defined, nor of one that is being traced.
    level = threshold * jnp.where(train[0] < 0, jnp.nan, train[0])
    return delay_between(crossing(steps, train, level), crossing(steps, test, level))


@jax.jit
def delay_between(train_step: Float[Array, ""], test_step: Float[Array, ""]) -> GrokkingDelay:
    """Difference and ratio of two steps, inf for never and NaN for not defined."""
    is_undefined = jnp.isnan(test_step) | jnp.isnan(train_step)
    is_censored = jnp.isinf(test_step) | jnp.isinf(train_step)
    safe = jnp.where(is_censored, 1.0, train_step)
    # The ratio to step 0 is infinite for every later step, and 1 for step 0 itself.
    ratio = jnp.where(test_step == safe, 1.0, test_step / safe)
    return GrokkingDelay(
        train_step,
        test_step,
        jnp.where(is_undefined, jnp.nan, jnp.where(is_censored, jnp.inf, test_step - safe)),
        jnp.where(is_undefined, jnp.nan, jnp.where(is_censored, jnp.inf, ratio)),
        is_censored | is_undefined,
    )
