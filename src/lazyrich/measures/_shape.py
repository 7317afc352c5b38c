"""The shape of a curve: its peak, its value at a step, where two curves part."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, ScalarLike

from lazyrich._ground import require_shapes

from ._delay import Curve, Steps


def value_at(steps: Steps, curve: Curve, step: ScalarLike) -> Float[Array, ""]:
    """A curve's value at a step, linear in log(1 + step) between records.

    Args:
        steps: increasing step numbers, or flow times.
        curve: the recorded values.
        step: where to read; beyond the records the nearest record counts.

    Returns:
        The value, in the curve's units; NaN if the step is NaN or infinite.

    Example:
        >>> float(value_at(jnp.array([0.0, 10.0]), jnp.array([1.0, 3.0]), 10.0))
        3.0
    """
    require_shapes("s s", steps=steps, curve=curve)
    axis = jnp.log1p(jnp.asarray(steps, jnp.result_type(curve)))
    value = jnp.interp(jnp.log1p(jnp.asarray(step, axis.dtype)), axis, curve)
    return jnp.where(jnp.isfinite(step), value, jnp.nan)


def peak_before(
    steps: Steps,
    curve: Curve,
    last_step: ScalarLike,
    *,
    where: Bool[Array, " s"] | Bool[np.ndarray, " s"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Highest record of a curve up to a step, and the step at which it stands.

    Args:
        steps: increasing step numbers, or flow times.
        curve: the recorded values.
        last_step: later records do not count; inf counts all.
        where: records that count, all by default.

    Returns:
        The peak in the curve's units, and its step; −inf and NaN if no record counts.

    Example:
        >>> steps, curve = jnp.array([0, 1, 2, 3]), jnp.array([1.0, 3.0, 2.0, 5.0])
        >>> [float(value) for value in peak_before(steps, curve, 2)]
        [3.0, 1.0]
    """
    require_shapes("s s", steps=steps, curve=curve)
    counts = jnp.asarray(steps) <= last_step
    if where is not None:
        counts = counts & where
    seen = jnp.where(counts, curve, -jnp.inf)
    k = jnp.argmax(seen)
    step = jnp.where(counts.any(), jnp.asarray(steps, seen.dtype)[k], jnp.nan)
    return seen[k], step


def leave_step(
    steps: Steps,
    curve: Curve,
    twin: Curve,
    *,
    tolerance: float = 0.05,
) -> Float[Array, ""]:
    """First record at which a curve is further from its twin than a share of its start.

    Args:
        steps: increasing step numbers, or flow times.
        curve: a loss of the net.
        twin: the same loss of its linearised twin.
        tolerance: share of the curve's first value, dimensionless.

    Returns:
        The step; inf if the two never part.

    Example:
        >>> net, twin = jnp.array([1.0, 0.8, 0.2]), jnp.array([1.0, 0.8, 0.6])
        >>> float(leave_step(jnp.array([0, 1, 2]), net, twin))
        2.0
    """
    require_shapes("s s s", steps=steps, curve=curve, twin=twin)
    has_left = jnp.abs(curve - twin) > tolerance * curve[0]
    step = jnp.asarray(steps, jnp.result_type(curve))[jnp.argmax(has_left)]
    return jnp.where(has_left.any(), step, jnp.inf)
