"""Records of a run in any form and order, as curves over increasing steps."""

from collections.abc import Sequence
from types import ModuleType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped

from lazyrich._base import (
    InputError,
    concrete,
    host_array,
    real_array,
    real_arrays,
    require_finite,
    require_shapes,
)

# Curves come from JAX's runs or from anybody's log.
Steps = Shaped[Array, " s"] | Shaped[np.ndarray, " s"] | Sequence[float]
Curve = Shaped[Array, " s"] | Shaped[np.ndarray, " s"] | Sequence[float]

# Sums of shares, and of losses that end at zero, are off by so much in single precision.
_ROUNDING = 1e-6


def sorted_records(steps: object, **curves: object) -> tuple[Array, ...]:
    """Steps and curves as arrays of one floating type, in the order of the steps.

    Of several records at one step the last one given counts for all of them.

    Args:
        steps: (s,), zero or above, in any order.
        **curves: (s,) each, by the name that the caller knows them by.

    Returns:
        The steps and the curves, of length s.

    Raises:
        InputError: if something is not real, if lengths disagree or are zero, if a step
            is negative or not finite, or if a curve holds only NaN and infinities.
    """
    arrays = real_arrays(steps=steps, **curves)
    require_shapes(
        " ".join("s" * len(arrays)), steps=arrays[0], **dict(zip(curves, arrays[1:], strict=True))
    )
    if arrays[0].size == 0:
        raise InputError("steps holds no records; give at least one.")
    require_finite(steps=arrays[0])
    for name, array in zip(curves, arrays[1:], strict=True):
        known = concrete(array)
        if known is not None and not np.isfinite(known).any():
            raise InputError(f"{name} holds no finite number; there is no curve to measure.")
    order = _order(steps)
    return arrays if order is None else tuple(array[order] for array in arrays)


def sorted_mask(steps: object, where: object) -> Bool[Array, " s"]:
    """Which records count, in the order of ``sorted_records``."""
    mask = real_array("where", where)
    require_shapes("s s", steps=real_array("steps", steps), where=mask)
    if mask.dtype != bool:
        raise InputError(f"where has the type {mask.dtype}; give True or False for each record.")
    order = _order(steps)
    return jnp.asarray(mask if order is None else mask[order])


def _order(steps: object) -> Array | np.ndarray | None:
    """For each place the index of the record that counts there; None for increasing steps.

    Steps that are known are compared as they were given: single precision would take
    large ones that differ for the same.
    """
    given = real_array("steps", steps)
    if concrete(given) is None:
        return _last_of_equal(jnp.asarray(given), jnp)
    known = host_array("steps", steps)
    if (known < 0).any():
        raise InputError(f"steps holds {known.min():g}; steps are counted from zero.")
    return None if (np.diff(known) > 0).all() else _last_of_equal(known, np)


def _last_of_equal(steps: Array | np.ndarray, library: ModuleType) -> Array | np.ndarray:
    order = library.argsort(steps, stable=True)
    ordered = steps[order]
    return order[library.searchsorted(ordered, ordered, side="right") - 1]


def require_losses(**losses: Array) -> None:
    """Refuse losses below zero beyond rounding, of which no share can be taken."""
    for name, loss in losses.items():
        known = concrete(loss)
        if known is None:
            continue
        sizes = np.where(np.isfinite(known), known, 0)
        if sizes.min() < -_ROUNDING * np.abs(sizes).max():
            raise InputError(
                f"{name} goes down to {sizes.min():.4g}; a share of the initial loss means "
                "something for losses of zero or above, so take off their lower bound first."
            )


def require_shares(**accuracies: Array) -> None:
    """Refuse accuracies outside of [0, 1], such as percentages."""
    for name, accuracy in accuracies.items():
        known = concrete(accuracy)
        if known is None:
            continue
        largest = np.max(known, where=np.isfinite(known), initial=0)
        least = np.min(known, where=np.isfinite(known), initial=0)
        if largest > 1 + _ROUNDING:
            raise InputError(
                f"{name} goes up to {largest:.4g}; accuracies are shares of at most 1, so divide "
                "percentages by 100."
            )
        if least < -_ROUNDING:
            raise InputError(f"{name} goes down to {least:.4g}; accuracies are shares, 0 to 1.")


def are_shares(accuracy: Array) -> Array:
    """Whether an accuracy lies in [0, 1] where it is finite, also while it is traced."""
    finite = jnp.where(jnp.isfinite(accuracy), accuracy, 0)
    return (finite <= 1 + _ROUNDING).all() & (finite >= -_ROUNDING).all()


def require_first(**curves: Array) -> None:
    """Refuse a curve whose first record, of which shares are taken, is not finite."""
    for name, curve in curves.items():
        known = concrete(curve)
        if known is not None and not np.isfinite(known[0]):
            raise InputError(
                f"{name} begins with {known[0]}, of which no share can be taken; leave that "
                "record out."
            )
