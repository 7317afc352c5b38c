"""Which rows of the input each entry of a traced program's output can depend on.

An entry carries a set of rows as a bit mask, and every operation says how the sets of its
results follow from those of its arguments. One more bit says that an entry may differ by
where its row stands, or by how many rows there are. The answer errs on one side: what is found
independent of a row is so for all values, what is found dependent may not be.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

import jax
import jax.extend.core as jex
import numpy as np
from jaxtyping import PyTree

from .._ntk._loops import scan_counts
from .._ntk._program_key import NoKeyError, derivative
from .._ntk._trace import Program, Step, flatten
from ._masks import ENTRYWISE, RULES, Masks, Rule, everything
from ._places import PLACE, tells_place

N_ROWS = 7
"""Rows with which a program is looked at: few, and a length that other axes seldom have."""

# A loop that is no longer than this is followed turn by turn, as over the rows themselves.
_LONGEST_UNROLLED = 16

# A rule mostly calls its own function again, of which no second derivative is wanted.
_IN_RULE = ContextVar("in_rule", default=False)


def depends_on_own_row_alone(closed: jex.ClosedJaxpr, n_leaves: int) -> bool:
    """Whether row i of the output surely depends on row i of the inputs alone.

    And neither on i nor on the number of rows.

    Args:
        closed: a program of ``n_leaves`` parameters and then of inputs with ``N_ROWS`` rows.
        n_leaves: how many of the arguments are parameters.
    """
    own = np.uint8(1) << np.arange(N_ROWS, dtype=np.uint8)
    masks = []
    for position, var in enumerate(closed.jaxpr.invars):
        mask = np.zeros(var.aval.shape, np.uint8)
        if position >= n_leaves:
            mask |= _along(own, 0, mask.ndim)
        masks.append(mask)
    try:
        (output,) = _run(flatten(closed), masks)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False  # an operation that another version of JAX writes otherwise
    return not (output & ~_along(own, 0, output.ndim)).any()


def _along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A vector laid along one axis."""
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


def _run(program: Program, masks: Sequence[np.ndarray]) -> Masks:
    known = dict(zip(program.inputs, masks, strict=True))
    for slot in program.constants:
        known[slot] = np.zeros(program.shapes[slot].shape, np.uint8)
    for step in program.steps:
        shapes = [program.shapes[slot].shape for slot in step.outs]
        given = [known[slot] for slot in step.ins]
        known.update(zip(step.outs, _results(step, given, shapes), strict=True))
    return [known[slot] for slot in program.outputs]


def _results(step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]]) -> Masks:
    """The masks of an operation's results."""
    place = np.uint8(PLACE if tells_place(step, masks, shapes, N_ROWS) else 0)
    return [np.asarray(result | place) for result in _followed(step, masks, shapes)]


def _followed(step: Step, masks: Masks, shapes: Sequence[tuple[int, ...]]) -> Masks:
    if not any(mask.any() for mask in masks) and step.name not in _WITH_PROGRAMS:
        return [np.zeros(shape, np.uint8) for shape in shapes]
    rule = _RULES.get(step.name)
    if rule is not None:
        return [np.broadcast_to(m, s) for m, s in zip(rule(step, masks), shapes, strict=True)]
    if step.name in ENTRYWISE:
        joined = np.bitwise_or.reduce(np.broadcast_arrays(*masks))
        return [np.broadcast_to(joined, shape) for shape in shapes]
    return everything(masks, shapes)


# --- operations with programs inside ---------------------------------------------------


def _closed(value: PyTree) -> Program:
    return flatten(value if isinstance(value, jex.ClosedJaxpr) else jex.ClosedJaxpr(value, ()))


def _branches(step: Step, masks: Masks) -> Masks:
    index, *rest = masks
    results = [_run(_closed(branch), rest) for branch in step.params["branches"]]
    chosen = np.bitwise_or.reduce(index, axis=None)
    return [np.bitwise_or.reduce(same) | chosen for same in zip(*results, strict=True)]


def _scan(step: Step, masks: Masks) -> Masks:
    params = step.params
    body, (n_constants, n_carry) = _closed(params["jaxpr"]), scan_counts(params, len(masks))
    constants = masks[:n_constants]
    carry = masks[n_constants : n_constants + n_carry]
    sequences = masks[n_constants + n_carry :]
    length = params["length"]
    if 0 < length <= _LONGEST_UNROLLED:
        turns = range(length - 1, -1, -1) if params["reverse"] else range(length)
        stacks = {}
        for turn in turns:
            carry, items = _turn(body, constants, carry, [s[turn] for s in sequences], n_carry)
            stacks[turn] = items
        stacked = [np.stack(same) for same in zip(*(stacks[k] for k in range(length)), strict=True)]
        return [*carry, *stacked]
    items = [np.bitwise_or.reduce(sequence, axis=0) for sequence in sequences]
    carry = _fixed_point(lambda c: _turn(body, constants, c, items, n_carry)[0], carry)
    return [*carry, *(item[None] for item in _turn(body, constants, carry, items, n_carry)[1])]


def _turn(
    body: Program, constants: Masks, carry: Masks, items: Masks, n_carry: int
) -> tuple[Masks, Masks]:
    results = _run(body, [*constants, *carry, *items])
    return results[:n_carry], results[n_carry:]


def _while(step: Step, masks: Masks) -> Masks:
    params = step.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    condition, body = _closed(params["cond_jaxpr"]), _closed(params["body_jaxpr"])
    given, constants = masks[:n_cond], masks[n_cond : n_cond + n_body]

    def turn(carry: Masks) -> Masks:
        (goes_on,) = _run(condition, [*given, *carry])
        return [mask | goes_on for mask in _run(body, [*constants, *carry])]

    return _fixed_point(turn, masks[n_cond + n_body :])


def _fixed_point(turn: Callable[[Masks], Masks], carry: Masks) -> Masks:
    """What a loop of any length can make of its state."""
    while True:
        fresh = [a | b for a, b in zip(carry, turn(carry), strict=True)]
        if all(np.array_equal(a, b) for a, b in zip(carry, fresh, strict=True)):
            return fresh
        carry = fresh


def _custom_derivative(step: Step, masks: Masks) -> Masks:
    """What the function depends on, and what its rule for tangents depends on."""
    results = _run(_closed(step.params["call_jaxpr"]), masks)
    if step.name != "custom_jvp_call" or _IN_RULE.get():
        return results
    try:
        rule = derivative(step.eqn)
    except NoKeyError:
        return everything(masks, [mask.shape for mask in results])
    moving = [
        mask
        for var, mask in zip(step.eqn.invars, masks, strict=True)
        if jax.dtypes.issubdtype(var.aval.dtype, np.inexact)
    ]
    inside = _IN_RULE.set(True)
    try:
        derived = _run(flatten(rule), [*masks, *moving])
    finally:
        _IN_RULE.reset(inside)
    tangents = derived[len(results) :]
    if len(tangents) != len(results) or any(
        a.shape != b.shape for a, b in zip(results, tangents, strict=True)
    ):
        return everything(masks, [mask.shape for mask in results])
    return [a | b for a, b in zip(results, tangents, strict=True)]


_WITH_PROGRAMS: dict[str, Rule] = {
    "cond": _branches,
    "custom_jvp_call": _custom_derivative,
    "custom_vjp_call": _custom_derivative,
    "scan": _scan,
    "while": _while,
}
_RULES = {**RULES, **_WITH_PROGRAMS}
