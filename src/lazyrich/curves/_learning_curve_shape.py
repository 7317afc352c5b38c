"""The shape of a curve: its peak, its value at a step, the step at which two curves differ."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, ScalarLike

from lazyrich._base import (
    InputError,
    concrete,
    real_like,
    real_scalars,
    require_finite,
    require_positive,
)

from ._records import Curve, Steps, require_first, sorted_mask, sorted_records


def value_at(steps: Steps, curve: Curve, step: ScalarLike) -> Float[Array, ""]:
    """A curve's value at a step, linear in log(1 + step) between records.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        curve: the recorded values.
        step: where to read; beyond the records the nearest record counts. Several steps
            give several values.

    Returns:
        The value, in the curve's units, exact at a record; NaN if the step is NaN or
        infinite, or between records one of which is not finite.

    Raises:
        InputError: if the lengths disagree or are zero, a recorded step is negative or
            not finite, or no record is finite.

    Example:
        >>> float(value_at(jnp.array([0.0, 10.0]), jnp.array([1.0, 3.0]), 10.0))
        3.0
    """
    steps, curve = sorted_records(steps, curve=curve)
    [step] = real_like(curve, step=step)
    return _value_at(steps, curve, step)


@jax.jit
def _value_at(steps: Array, curve: Array, step: Array) -> Array:
    after = jnp.clip(jnp.searchsorted(steps, step), 0, len(steps) - 1)
    before = jnp.maximum(after - 1, 0)
    a, b, x = (jnp.log1p(t) for t in (steps[before], steps[after], step))
    share = jnp.clip((x - a) / jnp.where(b > a, b - a, 1), 0, 1)
    # At one end a value at the other that is not finite must not count.
    value = jnp.where(share == 0, 0, share * curve[after]) + jnp.where(
        share == 1, 0, (1 - share) * curve[before]
    )
    value = jnp.where((step >= steps[after]) | (after == before), curve[after], value)
    return jnp.where(jnp.isfinite(step), value, jnp.nan)


def peak_before(
    steps: Steps,
    curve: Curve,
    last_step: ScalarLike,
    *,
    where: Bool[Array, " s"] | Bool[np.ndarray, " s"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Highest record of a curve up to a step, and the step of that record.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        curve: the recorded values; NaN does not count.
        last_step: later records do not count; inf counts all.
        where: records that count, all by default.

    Returns:
        The peak in the curve's units, and its step; −inf and NaN if no record counts.

    Raises:
        InputError: if the lengths disagree or are zero, a step is negative or not finite,
            no record is finite, or ``last_step`` is NaN.

    Example:
        >>> steps, curve = jnp.array([0, 1, 2, 3]), jnp.array([1.0, 3.0, 2.0, 5.0])
        >>> [float(value) for value in peak_before(steps, curve, 2)]
        [3.0, 1.0]
    """
    mask = None if where is None else sorted_mask(steps, where)
    steps, curve = sorted_records(steps, curve=curve)
    [last_step] = real_scalars(curve, last_step=last_step)
    known = concrete(last_step)
    if known is not None and np.isnan(known):
        raise InputError("last_step is nan; give the last step that counts, or inf for all.")
    return _peak(steps, curve, last_step, mask)


@jax.jit
def _peak(steps: Array, curve: Array, last_step: Array, mask: Array | None) -> tuple[Array, Array]:
    counts = (steps <= last_step) & ~jnp.isnan(curve)
    if mask is not None:
        counts = counts & mask
    candidates = jnp.where(counts, curve, -jnp.inf)
    k = jnp.argmax(candidates)
    return candidates[k], jnp.where(counts.any(), steps[k], jnp.nan)


def departure_step(
    steps: Steps,
    curve: Curve,
    linearized: Curve,
    *,
    tolerance: ScalarLike = 0.05,
) -> Float[Array, ""]:
    """First step at which a loss differs from the linearized network's by a share of its start.

    Args:
        steps: step numbers, or flow times, zero or above. Records may come in any order;
            of several at one step the last one counts.
        curve: a loss of the network.
        linearized: the same loss of the linearized network.
        tolerance: share of the curve's first value, dimensionless, above zero.

    Returns:
        The step; inf if the two never differ so much. Records at which one of them is NaN, or both
        are infinite, do not count. NaN inside ``jit`` or ``vmap`` if the curve does not
        begin with a finite number.

    Raises:
        InputError: if the lengths disagree or are zero, a step is negative or not finite,
            the curve does not begin with a finite number, a curve is nowhere finite, or
            the tolerance is not above zero.

    Example:
        >>> net, linearized = jnp.array([1.0, 0.8, 0.2]), jnp.array([1.0, 0.8, 0.6])
        >>> float(departure_step(jnp.array([0, 1, 2]), net, linearized))
        2.0
    """
    require_finite(tolerance=tolerance)
    require_positive(tolerance=tolerance)
    steps, curve, linearized = sorted_records(steps, curve=curve, linearized=linearized)
    require_first(curve=curve)
    [tolerance] = real_scalars(curve, tolerance=tolerance)
    return _departure(steps, curve, linearized, tolerance)


@jax.jit
def _departure(steps: Array, curve: Array, linearized: Array, tolerance: Array) -> Array:
    allowed = tolerance * jnp.abs(curve[0])
    has_left = jnp.abs(curve - linearized) > allowed
    step = jnp.where(has_left.any(), steps[jnp.argmax(has_left)], jnp.inf)
    return jnp.where(jnp.isfinite(allowed), step, jnp.nan)
