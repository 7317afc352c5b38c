"""Which operations depend on the position of a row, or on the number of rows.

Such as a count from zero along the rows, a number written into the first row, or the sum
of as many ones as there are rows. The answer errs on one side: an operation that is said
not to do so does not.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import jax.extend.core as jex
import numpy as np

from lazyrich.kernels._equation import Equation

from .._ntk._loops import scan_counts
from .._ntk._trace import Step
from .._ntk._traced_predictor import equations
from ._masks import ENTRYWISE, Masks

PLACE = 1 << 7
"""The bit of a mask that stands for places and for the number of rows."""

SHAPING = frozenset({"broadcast_in_dim", "expand_dims", "reshape", "squeeze", "transpose"})
"""What JAX adds or leaves out where an axis has the length one."""

LENGTHS = frozenset(
    {"fft_lengths", "length", "limit_indices", "new_sizes", "shape", "sizes", "slice_sizes"}
)
"""Parameters of operations that may follow from the number of rows, as shapes do."""

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
_CUTTING = {"dynamic_slice", "slice", "split"}
# Parameters that name the axis along which entries are joined or put in order.
_AXIS_NAMES = {"concatenate": "dimension", "sort": "dimension", "top_k": "axis"} | dict.fromkeys(
    ("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"), "axis"
)
_OF_MATRICES = {
    "cholesky", "eig", "eigh", "householder_product", "lu", "qr", "svd", "triangular_solve"
}  # fmt: skip


class Counts:
    """Which lengths in a program follow from the number of rows: for one row they are others.

    Args:
        few: the program of several rows.
        row: that of one row, which computes the same in the same order.
    """

    def __init__(self, few: jex.ClosedJaxpr, row: jex.ClosedJaxpr) -> None:
        self._new = _all_lengths(few) - _all_lengths(row)
        self._known = {
            id(some): _differing(some, one)
            for some, one in zip(_computing(few), _computing(row), strict=True)
        }
        self._axes = {
            id(some): _differing_axes(some, one)
            for some, one in zip(_computing(few), _computing(row), strict=True)
        }

    def of(self, step: Step) -> frozenset[int]:
        """Lengths among those of an operation's arrays that follow from the number of rows."""
        return self._known.get(id(step.eqn), self._new)

    def axes_of(self, step: Step) -> frozenset[tuple[int, int]] | None:
        """Which (array, axis) of an operation have such a length; None if that is not known."""
        return self._axes.get(id(step.eqn))

    def are_those_of(self, other: "Counts") -> bool:
        """Whether the same operations have such lengths in another program."""
        pairs = zip(self._known.values(), other._known.values(), strict=True)
        return all(bool(some) == bool(others) for some, others in pairs)


def tells_place(
    step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]], counts: Counts
) -> bool:
    """Whether an operation may bring in the place of a row or the number of rows.

    Args:
        step: the operation.
        masks: the rows that its arguments depend on.
        shapes: of its results.
        counts: the lengths that follow from the number of rows, by which an axis of rows is
            known.
    """
    counted = counts.of(step)
    if step.name == "iota":
        return step.params["shape"][step.params["dimension"]] in counted
    if step.name == "scan":
        return step.params["length"] in counted and _counts_turns(step)
    if step.name.startswith("scatter"):
        numbers = step.params["dimension_numbers"]
        return any(masks[0].shape[a] in counted for a in numbers.scatter_dims_to_operand_dims)
    if step.name == "dynamic_update_slice":
        pairs = zip(masks[0].shape, masks[1].shape, strict=True)
        return any(length in counted and length != written for length, written in pairs)
    is_of_rows = any(mask.any() for mask in masks)
    if is_of_rows and step.name in {"slice", "split"} and _cuts_rows(step, masks[0], shapes):
        return True
    before = [mask.shape for mask in masks]
    touched = _touched(step, before, shapes)
    if touched is not None:
        axes, arrays = counts.axes_of(step), [*before, *shapes]
        return any(arrays[k][a] in counted and (axes is None or (k, a) in axes) for k, a in touched)
    if is_of_rows or step.name in _EVEN:
        return False
    if step.name == "reshape":
        return _counted_places(before[0], counted) != _counted_places(shapes[0], counted)
    return not counted.isdisjoint(chain(*before, *shapes))


def _touched(
    step: Step, before: Sequence[tuple[int, ...]], after: Sequence[tuple[int, ...]]
) -> list[tuple[int, int]] | None:
    """The axes along which an operation joins, cuts or places entries, each as (array, axis).

    None if that is not known. An axis of rows is never among them in what keeps rows apart:
    where the length of one follows from the number of rows, that number comes in.
    """
    name, params, arrays = step.name, step.params, [*before, *after]
    if name == "dot_general":
        return [(0, axis) for axis in params["dimension_numbers"][0][0]]
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        kept = numbers.lhs_spec[1:], numbers.rhs_spec, numbers.out_spec[1:]  # all but images
        return [(k, axis) for k, axes in enumerate(kept) for axis in axes]
    if name in _CUTTING:
        made = range(len(before), len(arrays))
        cut = [(k, a) for k in made for a, n in enumerate(arrays[k]) if n != before[0][a]]
        return [*cut, *((0, a) for _, a in cut)]
    axes: Sequence[int] | None = None
    if name in _AXIS_NAMES:
        axes = [params.get(_AXIS_NAMES[name], len(before[0]) - 1)]
    elif name.startswith("reduce_window") or name == "select_and_gather_add":
        axes = [a for a, size in enumerate(params["window_dimensions"]) if size > 1]
    elif name.startswith(("arg", "reduce_")) and "axes" in params:
        axes = params["axes"]
        arrays = arrays[: len(before)]
    elif name == "pad":
        axes = [a for a, config in enumerate(params["padding_config"]) if any(config)]
    elif name in _OF_MATRICES:
        return [(k, a) for k, s in enumerate(arrays) for a in range(max(len(s) - 2, 0), len(s))]
    if axes is None:
        return None
    return [(k, a) for k, shape in enumerate(arrays) for a in axes if a < len(shape)]


def _counted_places(shape: tuple[int, ...], counted: frozenset[int]) -> list[tuple[int, int]]:
    """Each counted axis by its length and how many entries the axes before it have."""
    return [(math.prod(shape[:k]), n) for k, n in enumerate(shape) if n in counted]


def _computing(closed: jex.ClosedJaxpr) -> Iterator[Equation]:
    return (eqn for eqn in equations(closed.jaxpr) if eqn.primitive.name not in SHAPING)


def _all_lengths(closed: jex.ClosedJaxpr) -> frozenset[int]:
    shapes = (shape for eqn in equations(closed.jaxpr) for shape in _shapes(eqn))
    return frozenset(chain(*shapes))


def _differing(some: Equation, one: Equation) -> frozenset[int]:
    """Lengths in one operation that are others in its counterpart."""
    found = set()
    for a, b in zip(_shapes(some), _shapes(one), strict=True):
        if len(a) == len(b):
            found |= {n for n, m in zip(a, b, strict=True) if n != m}
        else:
            found |= {*a}
    return frozenset(found)


def _differing_axes(some: Equation, one: Equation) -> frozenset[tuple[int, int]]:
    """The same as (array, axis), all axes where ranks differ."""
    found = set()
    for k, (a, b) in enumerate(zip(_shapes(some), _shapes(one), strict=True)):
        is_alike = len(a) == len(b)
        found |= {(k, i) for i, n in enumerate(a) if not is_alike or n != b[i]}
    return frozenset(found)


def _shapes(eqn: Equation) -> list[tuple[int, ...]]:
    """Shapes of arguments and results, and the length of a loop."""
    turns = [(eqn.params["length"],)] if eqn.primitive.name == "scan" else []
    atoms = (*eqn.invars, *eqn.outvars)
    return [tuple(getattr(atom.aval, "shape", ())) for atom in atoms] + turns


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
