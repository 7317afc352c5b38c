"""Which rows of the input each entry of a traced program's output can depend on.

An entry carries a set of rows as a bit mask, and every operation says how the sets of its
results follow from those of its arguments. The answer errs on one side: what is found
independent of a row is so for all values, what is found dependent may not be.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from ._program_key import NoKeyError, derivative
from ._trace import Program, Step, flatten
from ._trace_liveness import ENTRYWISE

Masks = list[np.ndarray]

N_ROWS = 3
"""Rows with which a program is looked at: enough for a reversal to show."""

# A loop that is no longer than this is followed turn by turn, as over the rows themselves.
_LONGEST_UNROLLED = 16

# A rule mostly calls its own function again, of which no second derivative is wanted.
_IN_RULE = ContextVar("in_rule", default=False)

# fmt: off
_MORE_ENTRYWISE = frozenset({
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "clz",
    "complex", "conj", "copy", "digamma", "igamma", "igamma_grad_a", "igammac", "imag",
    "is_finite", "name", "nextafter", "polygamma", "population_count",
    "real", "reduce_precision", "regularized_incomplete_beta", "sharding_constraint",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "zeta",
})
# fmt: on


def depends_on_own_row_alone(closed: jex.ClosedJaxpr, n_leaves: int) -> bool:
    """Whether row i of the output surely depends on row i of the inputs alone.

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
    if not any(mask.any() for mask in masks):
        return [np.zeros(shape, np.uint8) for shape in shapes]
    rule = _RULES.get(step.name)
    if rule is not None:
        return [np.broadcast_to(m, s) for m, s in zip(rule(step, masks), shapes, strict=True)]
    if step.name in ENTRYWISE or step.name in _MORE_ENTRYWISE:
        joined = np.bitwise_or.reduce(np.broadcast_arrays(*masks))
        return [np.broadcast_to(joined, shape) for shape in shapes]
    return _everything(masks, shapes)


def _everything(masks: Masks, shapes: Sequence[tuple[int, ...]]) -> Masks:
    joined = np.bitwise_or.reduce([np.bitwise_or.reduce(mask, axis=None) for mask in masks])
    return [np.full(shape, joined, np.uint8) for shape in shapes]


def _joined(mask: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """What stands anywhere along some axes, these axes kept with length one."""
    return np.bitwise_or.reduce(mask, axis=tuple(axes), keepdims=True) if axes else mask


# --- operations that move entries ------------------------------------------------------


def _broadcast(step: Step, masks: Masks) -> Masks:
    shape, axes = step.params["shape"], step.params["broadcast_dimensions"]
    lengths = [1] * len(shape)
    for axis, length in zip(axes, masks[0].shape, strict=True):
        lengths[axis] = length
    return [np.broadcast_to(masks[0].reshape(lengths), shape)]


def _reshape(step: Step, masks: Masks) -> Masks:
    order = step.params["dimensions"] if step.name == "reshape" else None
    mask = masks[0] if order is None else masks[0].transpose(order)
    return [mask.reshape(step.eqn.outvars[0].aval.shape)]


def _slice(step: Step, masks: Masks) -> Masks:
    starts, limits = step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(starts)
    return [masks[0][tuple(slice(*cut) for cut in zip(starts, limits, strides, strict=True))]]


def _pad(step: Step, masks: Masks) -> Masks:
    mask, config = masks[0], step.params["padding_config"]
    inner = [n + max(n - 1, 0) * gap for n, (_, _, gap) in zip(mask.shape, config, strict=True)]
    spread = np.full(inner, masks[1], np.uint8)
    spread[tuple(slice(None, None, gap + 1) for _, _, gap in config)] = mask
    for axis, (low, high, _) in enumerate(config):
        keep = slice(max(-low, 0), spread.shape[axis] - max(-high, 0))
        spread = spread[(slice(None),) * axis + (keep,)]
    widths = [(max(low, 0), max(high, 0)) for low, high, _ in config]
    return [np.pad(spread, widths, constant_values=masks[1])]


def _split(step: Step, masks: Masks) -> Masks:
    cuts = np.cumsum(step.params["sizes"])[:-1]
    return list(np.split(masks[0], cuts, axis=step.params["axis"]))


def _dynamic_slice(step: Step, masks: Masks) -> Masks:
    sizes = step.params["slice_sizes"]
    cut = [axis for axis, size in enumerate(sizes) if size < masks[0].shape[axis]]
    found = _joined(masks[0], cut)
    (index,) = _everything(masks[1:], [()]) if masks[1:] else (np.uint8(0),)
    kept = tuple(slice(0, 1) if axis in cut else slice(None) for axis in range(len(sizes)))
    return [np.broadcast_to(found[kept] | index, sizes)]


def _dynamic_update_slice(step: Step, masks: Masks) -> Masks:
    target, update, *starts = masks
    cut = [axis for axis in range(target.ndim) if update.shape[axis] < target.shape[axis]]
    (index,) = _everything(starts, [()]) if starts else (np.uint8(0),)
    return [target | np.broadcast_to(_joined(update, cut), target.shape) | index]


def _gather(step: Step, masks: Masks) -> Masks:
    """Entries of a table by index: along the axes that are indexed any entry may be meant."""
    operand, indices = masks
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    shape = step.eqn.outvars[0].aval.shape
    batch_axes = [axis for axis in range(len(shape)) if axis not in numbers.offset_dims]
    index = np.bitwise_or.reduce(indices, axis=-1)
    result = np.zeros(shape, np.uint8)
    lengths = [1] * len(shape)
    for axis, length in zip(batch_axes, index.shape, strict=True):
        lengths[axis] = length
    result |= index.reshape(lengths)
    paired = list(numbers.operand_batching_dims)
    cut = [a for a in range(operand.ndim) if sizes[a] < operand.shape[a] and a not in paired]
    rest = _joined(operand, cut)
    kept = [
        a for a in range(operand.ndim) if a not in numbers.collapsed_slice_dims and a not in paired
    ]
    # Where each axis of the operand stands in the result: paired ones among the batch axes.
    places = dict(zip(kept, numbers.offset_dims, strict=True))
    for axis, partner in zip(paired, numbers.start_indices_batching_dims, strict=True):
        places[axis] = batch_axes[partner]
    dropped = tuple(a for a in range(operand.ndim) if a not in places)
    rest = np.bitwise_or.reduce(rest, axis=dropped) if dropped else rest
    axes = [a for a in range(operand.ndim) if a in places]
    order = sorted(range(len(axes)), key=lambda k: places[axes[k]])
    lengths = [1] * len(shape)
    for k in order:
        lengths[places[axes[k]]] = rest.shape[k]
    return [result | np.broadcast_to(rest.transpose(order).reshape(lengths), shape)]


def _concatenate(step: Step, masks: Masks) -> Masks:
    return [np.concatenate(masks, axis=step.params["dimension"])]


def _scatter(step: Step, masks: Masks) -> Masks:
    """Entries written by index: any entry may be meant."""
    (written,) = _everything(masks[1:], [()])
    return [masks[0] | written]


# --- operations that join entries ------------------------------------------------------


def _reduction(step: Step, masks: Masks) -> Masks:
    axes = tuple(step.params["axes"])
    joined = np.bitwise_or.reduce(masks)
    return [np.bitwise_or.reduce(joined, axis=axes) if axes else joined for _ in step.outs]


def _along_axis(name: str) -> Callable[[Step, Masks], Masks]:
    """Operations that join all entries along one axis and keep it."""

    def rule(step: Step, masks: Masks) -> Masks:
        axis = step.params[name]
        joined = _joined(np.bitwise_or.reduce(masks), [axis])
        return [np.broadcast_to(joined, masks[0].shape) for _ in step.outs]

    return rule


def _along_last(step: Step, masks: Masks) -> Masks:
    joined = _joined(masks[0], [step.params.get("axis", masks[0].ndim - 1)])
    return [joined for _ in step.outs]


def _windows(step: Step, masks: Masks) -> Masks:
    windows = step.params["window_dimensions"]
    joined = [
        _joined(mask, [a for a, size in enumerate(windows) if size > 1])
        for mask in masks
        if mask.ndim == len(windows)
    ]
    return [np.bitwise_or.reduce(joined) for _ in step.outs]


def _matrices(step: Step, masks: Masks) -> Masks:
    """Decompositions of matrices in the last two axes, a stack of them in the others."""
    rank = max(mask.ndim for mask in masks)
    joined: Any = np.uint8(0)
    for mask in masks:
        if mask.ndim != rank:
            return _everything(masks, [var.aval.shape for var in step.eqn.outvars])
        joined = joined | np.bitwise_or.reduce(mask, axis=(-2, -1))
    results = []
    for var in step.eqn.outvars:
        shape = var.aval.shape
        results.append(joined.reshape(joined.shape + (1,) * (len(shape) - joined.ndim)))
    return results


def _contraction(step: Step, masks: Masks) -> Masks:
    contracted, batched = step.params["dimension_numbers"]
    sides = []
    for side in (0, 1):
        mask = np.bitwise_or.reduce(masks[side], axis=tuple(contracted[side]))
        left = [a for a in range(masks[side].ndim) if a not in contracted[side]]
        free = [a for a in left if a not in batched[side]]
        sides.append((mask.transpose([left.index(a) for a in (*batched[side], *free)]), len(free)))
    (left_mask, n_left), (right_mask, n_right) = sides
    n_batch = len(batched[0])
    left_mask = left_mask.reshape(left_mask.shape + (1,) * n_right)
    shape = right_mask.shape
    return [left_mask | right_mask.reshape(shape[:n_batch] + (1,) * n_left + shape[n_batch:])]


def _convolution(step: Step, masks: Masks) -> Masks:
    """Positions are joined, images of the batch and groups of channels are not."""
    numbers, params = step.params["dimension_numbers"], step.params
    shape = step.eqn.outvars[0].aval.shape
    if params["batch_group_count"] != 1:
        return _everything(masks, [shape])
    image, kernel = masks
    batch, channel = numbers.lhs_spec[:2]
    image = np.bitwise_or.reduce(image, axis=tuple(numbers.lhs_spec[2:]))
    image = image if batch < channel else image.T
    groups = params["feature_group_count"]
    image = np.bitwise_or.reduce(image.reshape(len(image), groups, -1), axis=-1)
    out_batch, out_channel = numbers.out_spec[:2]
    image = np.repeat(image, shape[out_channel] // groups, axis=1)
    filters = np.bitwise_or.reduce(kernel, axis=tuple(numbers.rhs_spec[1:]))
    joined = image | filters
    lengths = [1] * len(shape)
    lengths[out_batch], lengths[out_channel] = joined.shape
    return [(joined if out_batch < out_channel else joined.T).reshape(lengths)]


# --- operations with programs inside ---------------------------------------------------


def _closed(value: Any) -> Program:
    return flatten(value if isinstance(value, jex.ClosedJaxpr) else jex.ClosedJaxpr(value, ()))


def _branches(step: Step, masks: Masks) -> Masks:
    index, *rest = masks
    results = [_run(_closed(branch), rest) for branch in step.params["branches"]]
    chosen = np.bitwise_or.reduce(index, axis=None)
    return [np.bitwise_or.reduce(same) | chosen for same in zip(*results, strict=True)]


def _scan(step: Step, masks: Masks) -> Masks:
    params = step.params
    body, n_carry = _closed(params["jaxpr"]), params["num_carry"]
    constants = masks[: params["num_consts"]]
    carry = masks[params["num_consts"] : params["num_consts"] + n_carry]
    sequences = masks[params["num_consts"] + n_carry :]
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
        return _everything(masks, [mask.shape for mask in results])
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
        return _everything(masks, [mask.shape for mask in results])
    return [a | b for a, b in zip(results, tangents, strict=True)]


_RULES: dict[str, Callable[[Step, Masks], Masks]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "cond": _branches,
    "conv_general_dilated": _convolution,
    "custom_jvp_call": _custom_derivative,
    "custom_vjp_call": _custom_derivative,
    "dot_general": _contraction,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "expand_dims": _reshape,
    "gather": _gather,
    "optimization_barrier": lambda step, masks: masks,
    "pad": _pad,
    "reshape": _reshape,
    "rev": lambda step, masks: [np.flip(masks[0], step.params["dimensions"])],
    "scan": _scan,
    **dict.fromkeys(("scatter", "scatter-add", "scatter-mul", "scatter_mul"), _scatter),
    "slice": _slice,
    "sort": _along_axis("dimension"),
    "split": _split,
    "squeeze": _reshape,
    "top_k": _along_last,
    "transpose": lambda step, masks: [masks[0].transpose(step.params["permutation"])],
    "while": _while,
    **dict.fromkeys(("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"), _along_axis("axis")),
    **{f"reduce_{kind}": _reduction for kind in ("and", "max", "min", "or", "prod", "sum", "xor")},
    **dict.fromkeys(("argmax", "argmin"), _reduction),
    **dict.fromkeys(
        ("cholesky", "eigh", "lu", "qr", "householder_product", "svd", "triangular_solve"),
        _matrices,
    ),
    **dict.fromkeys(
        (
            "reduce_window",
            "reduce_window_max",
            "reduce_window_min",
            "reduce_window_sum",
            "select_and_gather_add",
        ),
        _windows,
    ),
}
