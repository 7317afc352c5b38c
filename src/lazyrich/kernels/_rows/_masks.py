"""How sets of rows, one for each entry as a bit mask, pass through single operations."""

from collections.abc import Callable, Sequence

import numpy as np

from .._ntk._liveness import ENTRYWISE as _ENTRYWISE
from .._ntk._trace import Step

Masks = list[np.ndarray]
Rule = Callable[[Step, Masks], Masks]

# fmt: off
ENTRYWISE = _ENTRYWISE | frozenset({
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "clz",
    "complex", "conj", "copy", "digamma", "igamma", "igamma_grad_a", "igammac", "imag",
    "is_finite", "name", "nextafter", "polygamma", "population_count",
    "real", "reduce_precision", "regularized_incomplete_beta", "sharding_constraint",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "zeta",
})
# fmt: on


def everything(masks: Masks, shapes: Sequence[tuple[int, ...]]) -> Masks:
    """Results each entry of which may depend on every entry of the arguments."""
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
    (index,) = everything(masks[1:], [()]) if masks[1:] else (np.uint8(0),)
    kept = tuple(slice(0, 1) if axis in cut else slice(None) for axis in range(len(sizes)))
    return [np.broadcast_to(found[kept] | index, sizes)]


def _dynamic_update_slice(step: Step, masks: Masks) -> Masks:
    target, update, *starts = masks
    cut = [axis for axis in range(target.ndim) if update.shape[axis] < target.shape[axis]]
    (index,) = everything(starts, [()]) if starts else (np.uint8(0),)
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
    (written,) = everything(masks[1:], [()])
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
    joined = np.zeros((), np.uint8)
    for mask in masks:
        if mask.ndim != rank:
            return everything(masks, [var.aval.shape for var in step.eqn.outvars])
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
        return everything(masks, [shape])
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


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dot_general": _contraction,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "expand_dims": _reshape,
    "gather": _gather,
    "optimization_barrier": lambda step, masks: masks,
    "pad": _pad,
    "reshape": _reshape,
    "rev": lambda step, masks: [np.flip(masks[0], step.params["dimensions"])],
    **dict.fromkeys(("scatter", "scatter-add", "scatter-mul", "scatter_mul"), _scatter),
    "slice": _slice,
    "sort": _along_axis("dimension"),
    "split": _split,
    "squeeze": _reshape,
    "top_k": _along_last,
    "transpose": lambda step, masks: [masks[0].transpose(step.params["permutation"])],
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
