"""Which operations depend on the place of a row, or on the number of rows.

Examples are a count from zero along the rows, a number written into the first row, and the sum
of as many ones as there are rows. An operation that may depend on them counts as one that does.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import jax.extend.core as jex
import numpy as np

from lazyrich.kernels._equation import Equation

from .._ntk._loops import scan_counts
from .._ntk._trace import Step
from .._ntk._traced_predictor import equations, operations
from ._masks import ENTRYWISE, Masks
from ._rules import Rules
from ._shaping import SHAPING, Numbers, are_shaped_alike

PLACE = 1 << 7
"""The bit of a mask that stands for places and for the number of rows."""

LENGTHS = frozenset(
    {"fft_lengths", "length", "limit_indices", "new_sizes", "shape", "sizes", "slice_sizes"}
)
"""Parameters of operations that may follow from the number of rows, as shapes do."""

# Operations whose results have equal rows if their arguments do.
_KEEPS_EQUAL_ROWS = ENTRYWISE | {
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


class RowLengths:
    """Which axes in a program are as long as they are because of the number of rows.

    Those that are longer or shorter in a program of another number of rows.

    Args:
        row: the program of one row.
        few: that of few rows, of which this is asked.
        batch: that of another number of rows from two.
        rules: of all of them.
        numbers: how many rows ``few`` and ``batch`` have.

    Attributes:
        rules: by the operation's id the rules for derivatives in ``few`` that compute the
            same for every number of rows.
    """

    def __init__(
        self,
        row: jex.ClosedJaxpr,
        few: jex.ClosedJaxpr,
        batch: jex.ClosedJaxpr,
        rules: Rules,
        numbers: Numbers,
    ) -> None:
        self._numbers = numbers
        self.rules: dict[int, jex.ClosedJaxpr | None] = {}
        self._axes: dict[int, frozenset[tuple[int, int]]] = {}
        self._compare(row, few, batch)
        for one, some, others in zip(*map(_computing, (row, few, batch)), strict=True):
            if some.primitive.name == "custom_jvp_call":
                self._compare_rules(some, *map(rules.of, (one, some, others)))

    def of(self, step: Step) -> frozenset[int]:
        """Lengths among those of an operation's arrays that follow from the number of rows."""
        shapes = _shapes(step.eqn)
        return frozenset(shapes[k][axis] for k, axis in self.axes_of(step))

    def axes_of(self, step: Step) -> frozenset[tuple[int, int]]:
        """Which (array, axis) of an operation have such a length."""
        return self._axes[id(step.eqn)]

    def _compare(self, row: jex.ClosedJaxpr, few: jex.ClosedJaxpr, batch: jex.ClosedJaxpr) -> None:
        pairs = [*zip(equations(few.jaxpr), equations(batch.jaxpr), strict=True)]
        pairs += zip(_computing(few), _computing(row), strict=True)
        for some, other in pairs:  # the same operation twice where a program is called twice
            known = self._axes.get(id(some), frozenset())
            self._axes[id(some)] = known | _differing_axes(some, other)

    def _compare_rules(self, eqn: Equation, *found: jex.ClosedJaxpr | None) -> None:
        known = [rule for rule in found if rule is not None]
        is_one = len(known) == len(found) and are_alike(*known, self._numbers)
        if not is_one or self.rules.get(id(eqn), eqn) is None:
            self.rules[id(eqn)] = None
            return
        row, few, batch = known
        self.rules[id(eqn)] = few
        self._compare(row, few, batch)


def are_alike(
    row: jex.ClosedJaxpr, few: jex.ClosedJaxpr, batch: jex.ClosedJaxpr, numbers: Numbers
) -> bool:
    """Whether three programs have the same operations, those that shape one row as they do."""
    if operations(few) != operations(batch):
        return False
    computing = ([eqn.primitive.name for eqn in _computing(of)] for of in (row, few))
    if next(computing) != next(computing):
        return False
    return are_shaped_alike(*([*equations(of.jaxpr)] for of in (row, few, batch)), numbers)


def may_use_place(
    step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]], lengths: RowLengths
) -> bool:
    """Whether an operation may bring in the place of a row or the number of rows.

    Args:
        step: the operation.
        masks: the rows that its arguments depend on.
        shapes: of its results.
        lengths: which of them follow from the number of rows.
    """
    counted = lengths.of(step)
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
    combined = _combined_axes(step, before, shapes)
    if combined is not None:
        return not lengths.axes_of(step).isdisjoint(combined)
    if is_of_rows or step.name in _KEEPS_EQUAL_ROWS:
        return False
    if step.name == "reshape":
        return _counted_places(before[0], counted) != _counted_places(shapes[0], counted)
    return not counted.isdisjoint(chain(*before, *shapes))


def _combined_axes(
    step: Step, before: Sequence[tuple[int, ...]], after: Sequence[tuple[int, ...]]
) -> list[tuple[int, int]] | None:
    """The axes along which an operation joins, cuts or places entries, each as (array, axis).

    None if that is not known. If the length of one follows from the number of rows, the result
    may depend on that number, since operations that keep rows apart combine other axes alone.
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


def _differing_axes(some: Equation, one: Equation) -> frozenset[tuple[int, int]]:
    """Axes of an operation, as (array, axis), that have another length in its counterpart.

    All axes of an array whose rank is another.
    """
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
