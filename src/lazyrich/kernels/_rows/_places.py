"""Which operations depend on the position of a row, or on the number of rows.

Such as a count from zero along the rows, a number written into the first row, or the sum
of as many ones as there are rows. The answer errs on one side: an operation that is said
not to do so does not.
"""

from collections.abc import Sequence

import numpy as np

from .._ntk._loops import scan_counts
from .._ntk._trace import Step
from ._masks import ENTRYWISE, Masks

PLACE = 1 << 7
"""The bit of a mask that stands for places and for the number of rows."""

# What gives equal rows for equal rows, if nothing in it comes from the inputs.
_EVEN = ENTRYWISE | {
    "broadcast_in_dim",
    "cond",
    "custom_jvp_call",
    "custom_vjp_call",
    "expand_dims",
    "optimization_barrier",
    "rev",
    "squeeze",
    "transpose",
    "while",
}


def tells_place(step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]], n_rows: int) -> bool:
    """Whether an operation may bring in the place of a row or the number of rows.

    Args:
        step: the operation.
        masks: the rows that its arguments depend on.
        shapes: of its results.
        n_rows: the number of rows, by which an axis of rows is known.
    """
    if step.name == "iota":
        return step.params["shape"][step.params["dimension"]] % n_rows == 0
    if step.name == "scan":
        return step.params["length"] == n_rows and _counts_turns(step)
    if step.name.startswith("scatter"):
        numbers = step.params["dimension_numbers"]
        return n_rows in [masks[0].shape[a] for a in numbers.scatter_dims_to_operand_dims]
    if step.name == "dynamic_update_slice":
        pairs = zip(masks[0].shape, masks[1].shape, strict=True)
        return any(length == n_rows != written for length, written in pairs)
    if any(mask.any() for mask in masks):
        return step.name in {"slice", "split"} and _cuts_rows(step, masks[0], shapes)
    if step.name == "dot_general":
        contracted = step.params["dimension_numbers"][0][0]
        return n_rows in [masks[0].shape[axis] for axis in contracted]
    lengths = [length for shape in (*(m.shape for m in masks), *shapes) for length in shape]
    return step.name not in _EVEN and n_rows in lengths


def _counts_turns(step: Step) -> bool:
    """Whether a loop has a state that changes, with which it can count its turns."""
    body = step.params["jaxpr"].jaxpr
    first, n = scan_counts(step.params, len(body.invars))
    before = body.invars[first : first + n]
    return any(a is not b for a, b in zip(before, body.outvars[:n], strict=True))


def _cuts_rows(step: Step, mask: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether some of the rows are taken: whether the masks differ along an axis that is cut."""
    return any(
        mask.shape[axis] != shapes[0][axis] and (mask != mask.take([0], axis)).any()
        for axis in range(mask.ndim)
    )
