"""Find out why a kernel is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich._base import InputError

from ._predictor_call import PredictorCall


def check_finite(kernel: Array, total: Array, call: PredictorCall) -> None:
    """Refuse a kernel with NaN or infinite entries, and name the rows that they come from.

    A row whose output or whose own entry on the diagonal is not finite spoils its whole
    row and column, so entries of the kernel alone would point at all rows.

    Args:
        kernel: the kernel.
        total: the sum of its entries, which is finite only if all of them are.
        call: what it is the kernel of.
    """
    if np.isfinite(np.asarray(total)) or bool(jnp.isfinite(kernel).all()):
        return
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in call.arrays.leaves):
        raise InputError(
            "The parameters hold NaN or infinite entries; the run may have diverged, so take "
            "them from an earlier step."
        )
    finite = np.asarray(jnp.isfinite(kernel).all(tuple(range(2, kernel.ndim))))
    sets = [("x", call.arrays.rows)]
    sets += [] if call.arrays.query is None else [("x2", call.arrays.query)]
    for axis, (name, rows) in enumerate(sets):
        broken = _broken_outputs(call, rows)
        if not broken.any() and call.arrays.query is None:
            broken = ~np.diagonal(finite)
        if not broken.any():
            broken = np.asarray(~finite.any(1 - axis))
        if broken.any():
            raise InputError(
                f"The kernel holds NaN or infinite entries that begin in {broken.sum()} of "
                f"{len(broken)} rows of {name}, the first of them row {np.argmax(broken)}; look "
                "for overflow in params, x and predict."
            )
    first, second = np.argwhere(~finite)[0]
    raise InputError(
        f"The kernel holds NaN or infinite entries for {(~finite).sum()} pairs of rows, the first "
        f"of them ({first}, {second}); look for overflow in params, x and predict."
    )


def _broken_outputs(call: PredictorCall, rows: list[Array]) -> np.ndarray:
    """Which rows have an output that is not finite."""
    predict_row = call.row_function(call.arrays.row_constants)
    outputs = jax.vmap(lambda row: predict_row(call.arrays.leaves, row))(rows)
    return np.asarray(~jnp.isfinite(outputs).all(1))
