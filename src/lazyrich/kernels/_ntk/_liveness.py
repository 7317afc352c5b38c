"""Which entries of each value can reach the output at all.

A transformer that is read at its last position leaves most of its last layers without
effect. Cotangents there are zero, and positions that are known to be dead need not be
contracted.
"""

from collections.abc import Callable

import jax
import numpy as np

from ._aliases import is_real, rearrange
from ._program import free_axes
from ._trace import Program, Step, trace

# fmt: off
ENTRYWISE = frozenset({
    "abs", "add", "add_any", "and", "atan2", "cbrt", "ceil", "clamp", "convert_element_type",
    "copy", "copy_p", "cos", "cosh", "custom_jvp_call", "div", "eq", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "lgamma",
    "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not",
    "or", "pow", "rem", "round", "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor",
})
# fmt: on


def liveness(program: Program) -> dict[int, np.ndarray]:
    """For every slot a Boolean array: can this entry reach an output?

    Entries of which it is not known count as live.
    """
    live = {
        slot: np.zeros(program.shapes[slot].shape, bool)
        for slot in range(len(program.shapes))
        if program.shapes[slot].dtype is not None
    }
    for slot in program.outputs:
        live[slot][...] = True
    for step in reversed(program.steps):
        reaches = _RULES.get(step.name, _everything)
        if step.name in ENTRYWISE:
            reaches = _entrywise
        for slot, mask in zip(step.ins, reaches(program, step, live), strict=True):
            if slot in live:
                live[slot] |= mask
    return live


def _everything(program: Program, step: Step, live: dict[int, np.ndarray]) -> list:
    is_live = any(live[slot].any() for slot in step.outs if slot in live)
    return [np.full(program.shapes[slot].shape, is_live) for slot in step.ins]


def _entrywise(program: Program, step: Step, live: dict[int, np.ndarray]) -> list:
    if step.name == "custom_jvp_call" and not _is_entrywise_inside(program, step):
        return _everything(program, step, live)
    mask = np.asarray(np.logical_or.reduce([live[slot] for slot in step.outs]))
    masks = [_unbroadcast(mask, program.shapes[slot].shape) for slot in step.ins]
    return _everything(program, step, live) if any(m is None for m in masks) else masks


def _unbroadcast(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask of an argument that was stretched along axes of length one."""
    if shape == ():
        return np.asarray(mask.any())
    if len(shape) != mask.ndim or any(
        own not in (1, full) for own, full in zip(shape, mask.shape, strict=True)
    ):
        return None
    stretched = tuple(axis for axis, own in enumerate(shape) if own == 1)
    return np.asarray(mask.any(stretched, keepdims=True))


def _is_entrywise_inside(program: Program, step: Step) -> bool:
    """Whether each entry of the derivative that a step has been given acts on its own."""
    shapes = [program.shapes[slot] for slot in (*step.ins, *step.outs)]
    if any(shape.shape != shapes[-1].shape or not is_real(shape) for shape in shapes):
        return False
    primals = shapes[: len(step.ins)]
    inside = trace(lambda p, t: jax.jvp(step.apply, tuple(p), tuple(t))[1], primals, primals)
    moving = inside.depends_on(inside.inputs[len(primals) :])
    steps = [s for s in inside.steps if not moving.isdisjoint(s.outs)]
    full = all(inside.shapes[slot].shape == shapes[-1].shape for s in steps for slot in s.outs)
    return full and all(s.name in ENTRYWISE - {"custom_jvp_call"} for s in steps)


def _by_places(rearrange: Callable[[Step, np.ndarray], np.ndarray]) -> Callable[..., list]:
    """The rule of a step that only moves entries."""

    def rule(program: Program, step: Step, live: dict[int, np.ndarray]) -> list:
        shape = program.shapes[step.ins[0]].shape
        mask = np.zeros(int(np.prod(shape)), bool)
        places = rearrange(step, np.arange(mask.size).reshape(shape))
        mask[np.unique(places[live[step.outs[0]]])] = True
        rest = [np.ones(program.shapes[slot].shape, bool) for slot in step.ins[1:]]
        return [mask.reshape(shape), *rest]

    return rule


def _reduction(program: Program, step: Step, live: dict[int, np.ndarray]) -> list:
    mask = np.expand_dims(live[step.outs[0]], tuple(step.params["axes"]))
    return [np.broadcast_to(mask, program.shapes[step.ins[0]].shape)]


def _contraction(program: Program, step: Step, live: dict[int, np.ndarray]) -> list:
    contracted, batched = step.params["dimension_numbers"]
    free = free_axes(program, step)
    result = live[step.outs[0]]
    n_batch, n_left = len(batched[0]), len(free[0])
    masks = []
    for side in (0, 1):
        start = n_batch + (n_left if side == 0 else 0)
        count = len(free[1 - side])
        mask = np.asarray(result.any(tuple(range(start, start + count))))
        kept = [*batched[side], *free[side]]
        mask = np.transpose(mask, [kept.index(axis) for axis in sorted(kept)])
        mask = np.expand_dims(mask, tuple(contracted[side]))
        masks.append(np.broadcast_to(mask, program.shapes[step.ins[side]].shape))
    return masks


def _moved(step: Step, places: np.ndarray) -> np.ndarray:
    return rearrange(step, 0, places)


_RULES: dict[str, Callable[..., list]] = {
    "dot_general": _contraction,
    "reduce_sum": _reduction,
    "reduce_max": _reduction,
    "reduce_min": _reduction,
    **{
        name: _by_places(_moved)
        for name in ("broadcast_in_dim", "reshape", "rev", "slice", "squeeze", "transpose")
    },
}
