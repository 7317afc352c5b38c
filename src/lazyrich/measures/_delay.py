"""When a loss falls, and how long the test loss waits for it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, ScalarLike, Shaped

from lazyrich._ground import require_finite, require_positive, require_shapes

# Curves come from JAX's runs or from anybody's log.
Steps = Shaped[Array, " s"] | Shaped[np.ndarray, " s"]
Curve = Float[Array, " s"] | Float[np.ndarray, " s"]


class GrokkingDelay(NamedTuple):
    """How long the test curve waits after the train curve has got there.

    Curves are losses that fall to a level, or accuracies that rise to one.

    Attributes:
        train_step: step at which the train curve gets there; inf if it never did.
        test_step: step at which the test curve gets there; inf if it never did.
        delay: test_step − train_step, steps; inf if censored. Negative where the test
            curve is first.
        ratio: test_step/train_step, dimensionless; inf if censored, or if the train curve
            was there at step 0 and the test curve was not.
        is_censored: the test curve never got there: the delay is longer than was watched.
            Also set where the train curve never did and no delay is defined.
    """

    train_step: Float[Array, ""]
    test_step: Float[Array, ""]
    delay: Float[Array, ""]
    ratio: Float[Array, ""]
    is_censored: Bool[Array, ""]


def fall_step(steps: Steps, loss: Curve, level: Float[Array, ""] | float) -> Float[Array, ""]:
    """First step at which a loss is at or below a level, between records by log step.

    Between the two records around the crossing the loss is taken as linear in
    log step (linear in step if the first of them is step 0), so the answer hardly
    depends on how densely the run was logged.

    Args:
        steps: increasing step numbers, or flow times.
        loss: the curve, label units²; values that are not finite never cross.
        level: where the loss counts as fallen, label units².

    Returns:
        The step; the first step if the loss starts at or below the level; inf if it
        never gets there.

    Raises:
        InputError: if the lengths disagree.

    Example:
        >>> steps, loss = jnp.array([1.0, 10.0, 100.0]), jnp.array([1.0, 0.8, 0.4])
        >>> round(float(fall_step(steps, loss, 0.6)), 2)
        31.62
    """
    require_shapes("s s", steps=steps, loss=loss)
    loss = jnp.asarray(loss)
    steps = jnp.asarray(steps, loss.dtype)
    is_low = loss <= level
    k = jnp.argmax(is_low)
    before = jnp.maximum(k - 1, 0)
    drop = loss[before] - loss[k]
    share = jnp.where(drop > 0, (loss[before] - level) / jnp.where(drop > 0, drop, 1), 1.0)
    share = jnp.clip(share, 0, 1)
    # A diverged record before the crossing offers nothing to interpolate from.
    share = jnp.where(jnp.isfinite(loss[before]), share, 1.0)
    a, b = steps[before], steps[k]
    safe = jnp.where(a > 0, a, 1)
    between = jnp.where(a > 0, safe * (b / safe) ** share, b * share)
    return jnp.where(is_low.any(), jnp.where(k == 0, steps[0], between), jnp.inf)


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
        steps: increasing step numbers, or flow times.
        train_loss: label units².
        test_loss: label units².
        threshold: share of the initial train loss, above 0.

    Returns:
        Both steps, their difference and ratio, and whether the delay is censored.

    Raises:
        InputError: if lengths disagree or the threshold is not above zero.

    Example:
        >>> steps = jnp.array([0, 1, 10, 100, 1000])
        >>> train = jnp.array([1.0, 0.5, 0.1, 0.01, 0.001])
        >>> test = jnp.array([1.0, 1.2, 1.1, 0.5, 0.1])
        >>> found = grokking_delay(steps, train, test)
        >>> round(float(found.delay)), bool(found.is_censored)
        (990, False)

    References:
        Kumar et al. (2024), Figure 3(e), "time to grok".
    """
    require_shapes("s s s", steps=steps, train_loss=train_loss, test_loss=test_loss)
    require_finite(threshold=threshold)
    require_positive(threshold=threshold)
    level = jnp.asarray(threshold) * train_loss[0]
    train_step, test_step = jax.vmap(lambda loss: fall_step(steps, loss, level))(
        jnp.stack([train_loss, test_loss])
    )
    return delay_between(train_step, test_step)


def delay_between(train_step: Float[Array, ""], test_step: Float[Array, ""]) -> GrokkingDelay:
    """Difference and ratio of two steps, either of which may be inf for never."""
    is_censored = jnp.isinf(test_step) | jnp.isinf(train_step)
    safe = jnp.where(is_censored, 1.0, train_step)
    # From step 0 every later step is infinitely late; step 0 itself is not late at all.
    ratio = jnp.where(test_step == safe, 1.0, test_step / safe)
    return GrokkingDelay(
        train_step,
        test_step,
        jnp.where(is_censored, jnp.inf, test_step - safe),
        jnp.where(is_censored, jnp.inf, ratio),
        is_censored,
    )
