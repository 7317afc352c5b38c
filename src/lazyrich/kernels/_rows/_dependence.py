"""Which rows of the input each entry of a traced program's output can depend on.

An entry carries a set of rows as a bit mask, and every operation says how the sets of its
results follow from those of its arguments. One more bit says that an entry may depend on the
place of its row, or on the number of rows. What is found independent of a row is so for all
values; what is found dependent may not be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.extend.core as jex
import numpy as np
from jaxtyping import PyTree

from .._ntk._loops import scan_counts
from .._ntk._trace import Program, Step, flatten
from ._masks import ENTRYWISE, RULES, Masks, everything
from ._places import PLACE, RowLengths, may_use_place

N_ROWS = 7
"""The most rows of a program that is followed: a mask has a bit for each, and one more."""

# A loop up to this length, such as one over the rows, is followed turn by turn.
_LONGEST_UNROLLED = 16


def depends_on_own_row_alone(closed: jex.ClosedJaxpr, n_leaves: int, lengths: RowLengths) -> bool:
    """Whether row i of the output surely depends on row i of the inputs alone.

    And neither on i nor on the number of rows.

    Args:
        closed: a program of ``n_leaves`` parameters and then of inputs with up to ``N_ROWS``
            rows.
        n_leaves: how many of the arguments are parameters.
        lengths: which of its axes are as long as there are rows.
    """
    n_rows = closed.jaxpr.invars[n_leaves].aval.shape[0]
    own = np.uint8(1) << np.arange(n_rows, dtype=np.uint8)
    masks = []
    for position, var in enumerate(closed.jaxpr.invars):
        mask = np.zeros(var.aval.shape, np.uint8)
        if position >= n_leaves:
            mask |= _along(own, 0, mask.ndim)
        masks.append(mask)
    try:
        (output,) = _Following(lengths).run(_flat(closed), masks)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False  # an operation has other parameters in this version of JAX
    return not (output & ~_along(own, 0, output.ndim)).any()


def _along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A vector laid along one axis."""
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


@dataclass(frozen=True)
class _Following:
    """Follows the masks through a program and the programs inside of it.

    Attributes:
        lengths: which axes are as long as there are rows.
        is_in_rule: inside a rule for derivatives, which mostly calls its own function
            again, of which no second derivative is wanted.
    """

    lengths: RowLengths
    is_in_rule: bool = False

    def run(self, program: Program, masks: Sequence[np.ndarray]) -> Masks:
        """The masks of a program's results."""
        known = dict(zip(program.inputs, masks, strict=True))
        for slot in program.constants:
            known[slot] = np.zeros(program.shapes[slot].shape, np.uint8)
        for step in program.steps:
            shapes = [program.shapes[slot].shape for slot in step.outs]
            given = [known[slot] for slot in step.ins]
            place = np.uint8(PLACE if may_use_place(step, given, shapes, self.lengths) else 0)
            results = [np.asarray(mask | place) for mask in self.results(step, given, shapes)]
            known.update(zip(step.outs, results, strict=True))
        return [known[slot] for slot in program.outputs]

    def results(self, step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]]) -> Masks:
        """The masks of an operation's results, without its own use of places."""
        inside = _WITH_PROGRAMS.get(step.name)
        if inside is None and not any(mask.any() for mask in masks):
            return [np.zeros(shape, np.uint8) for shape in shapes]
        rule = RULES.get(step.name)
        found = inside(self, step, masks) if inside else rule(step, masks) if rule else None
        if found is not None:
            return [np.broadcast_to(m, s) for m, s in zip(found, shapes, strict=True)]
        if step.name in ENTRYWISE:
            joined = np.bitwise_or.reduce(np.broadcast_arrays(*masks))
            return [np.broadcast_to(joined, shape) for shape in shapes]
        return everything(masks, shapes)

    def branches(self, step: Step, masks: Masks) -> Masks:
        """A choice between programs."""
        index, *rest = masks
        results = [self.run(_flat(branch), rest) for branch in step.params["branches"]]
        chosen = np.bitwise_or.reduce(index, axis=None)
        return [np.bitwise_or.reduce(same) | chosen for same in zip(*results, strict=True)]

    def scan(self, step: Step, masks: Masks) -> Masks:
        """A loop of known length."""
        params = step.params
        body, (n_constants, n_carry) = _flat(params["jaxpr"]), scan_counts(params, len(masks))
        constants = masks[:n_constants]
        carry = masks[n_constants : n_constants + n_carry]
        sequences = masks[n_constants + n_carry :]
        length = params["length"]

        def turn(carry: Masks, items: Masks) -> tuple[Masks, Masks]:
            results = self.run(body, [*constants, *carry, *items])
            return results[:n_carry], results[n_carry:]

        if 0 < length <= _LONGEST_UNROLLED:
            turns = range(length - 1, -1, -1) if params["reverse"] else range(length)
            stacks = {}
            for k in turns:
                carry, stacks[k] = turn(carry, [sequence[k] for sequence in sequences])
            joined = zip(*(stacks[k] for k in range(length)), strict=True)
            return [*carry, *(np.stack(same) for same in joined)]
        items = [np.bitwise_or.reduce(sequence, axis=0) for sequence in sequences]
        carry = _fixed_point(lambda carry: turn(carry, items)[0], carry)
        return [*carry, *(item[None] for item in turn(carry, items)[1])]

    def while_(self, step: Step, masks: Masks) -> Masks:
        """A loop of unknown length."""
        params = step.params
        n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
        condition, body = _flat(params["cond_jaxpr"]), _flat(params["body_jaxpr"])
        given, constants = masks[:n_cond], masks[n_cond : n_cond + n_body]

        def turn(carry: Masks) -> Masks:
            (goes_on,) = self.run(condition, [*given, *carry])
            return [mask | goes_on for mask in self.run(body, [*constants, *carry])]

        return _fixed_point(turn, masks[n_cond + n_body :])

    def custom_derivative(self, step: Step, masks: Masks) -> Masks:
        """What the function depends on, and what its rule for tangents depends on."""
        results = self.run(_flat(step.params["call_jaxpr"]), masks)
        if step.name != "custom_jvp_call" or self.is_in_rule:
            return results
        rule = self.lengths.rules.get(id(step.eqn))
        if rule is None:
            return everything(masks, [mask.shape for mask in results])
        moving = [
            mask
            for var, mask in zip(step.eqn.invars, masks, strict=True)
            if jax.dtypes.issubdtype(var.aval.dtype, np.inexact)
        ]
        derived = replace(self, is_in_rule=True).run(_flat(rule), [*masks, *moving])
        tangents = derived[len(results) :]
        if len(tangents) != len(results) or any(
            a.shape != b.shape for a, b in zip(results, tangents, strict=True)
        ):
            return everything(masks, [mask.shape for mask in results])
        return [a | b for a, b in zip(results, tangents, strict=True)]


_WITH_PROGRAMS: dict[str, Callable[[_Following, Step, Masks], Masks]] = {
    "cond": _Following.branches,
    "custom_jvp_call": _Following.custom_derivative,
    "custom_vjp_call": _Following.custom_derivative,
    "scan": _Following.scan,
    "while": _Following.while_,
}


def _flat(value: PyTree) -> Program:
    """A program with the operations that it has, since those are known by their identity."""
    closed = value if isinstance(value, jex.ClosedJaxpr) else jex.ClosedJaxpr(value, ())
    return flatten(closed, simplifies=False)


def _fixed_point(turn: Callable[[Masks], Masks], carry: Masks) -> Masks:
    """What a loop of any length can make of its state."""
    while True:
        fresh = [a | b for a, b in zip(carry, turn(carry), strict=True)]
        if all(np.array_equal(a, b) for a, b in zip(carry, fresh, strict=True)):
            return fresh
        carry = fresh
