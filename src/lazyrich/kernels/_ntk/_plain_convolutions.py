"""Convolutions in the one form that XLA computes fast wherever they stand.

On processors XLA puts convolutions into its own order of axes, in which they are products of
matrices, but not inside loops, where those of a derivative are then up to seventy times slower.
The derivative of a convolution with strides convolves an array that is mostly zeros; it is
taken apart into one small convolution for each remainder of the stride.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._program import Step
from ._trace import flatten

# Of fewer features in the result XLA's convolutions are slow, several times for some.
_FEW_FEATURES = 16


def with_plain_convolutions(function: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
    """What a function gives, with its convolutions, and those of derivatives in it, rewritten."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    program = flatten(closed)
    values = dict(program.constants)
    values.update(zip(program.inputs, jax.tree.leaves(arguments), strict=True))
    last = {slot: k for k, step in enumerate(program.steps) for slot in step.ins}
    kept = {*program.outputs, *program.inputs, *program.constants}
    for k, step in enumerate(program.steps):
        inputs = [values[slot] for slot in step.ins]
        apply = _convolution(step) if step.name == "conv_general_dilated" else step.apply
        values.update(zip(step.outs, apply(*inputs), strict=True))
        for slot in step.ins:
            if last[slot] == k and slot not in kept:
                values.pop(slot, None)
    return jax.tree.structure(shapes).unflatten(values[slot] for slot in program.outputs)


def _convolution(step: Step) -> Callable[[Array, Array], list[Array]]:
    params = step.params
    if params["batch_group_count"] != 1:
        return step.apply
    numbers = params["dimension_numbers"]
    n_places = len(numbers.lhs_spec) - 2

    def apply(x: Array, filters: Array) -> list[Array]:
        if 0 in jax.eval_shape(step.apply, x, filters)[0].shape:  # filters longer than the input
            return step.apply(x, filters)
        batch, feature, *places = numbers.lhs_spec
        x = x.transpose(batch, *places, feature)
        results, inner, *places = numbers.rhs_spec
        filters = filters.transpose(*places, inner, results)
        result = _taken_apart(step, x, filters)
        batch, feature, *places = numbers.out_spec
        order = [batch, *places, feature]
        return [result.transpose(np.argsort(order))]

    return apply if n_places else step.apply


def _taken_apart(step: Step, x: Array, filters: Array) -> Array:
    """A convolution, by the remainders of the places of its result to the input's dilation."""
    params = step.params
    dilation = tuple(params["lhs_dilation"])
    is_direct = set(params["window_strides"]) == set(params["rhs_dilation"]) == {1}
    if set(dilation) == {1} or not is_direct:
        return _convolve(step, x, filters, params["padding"], dilation)
    size = filters.shape[: len(dilation)]
    wanted = [
        (n - 1) * d + 1 + low + high - k + 1
        for n, d, (low, high), k in zip(
            x.shape[1:], dilation, params["padding"], size, strict=False
        )
    ]
    counts = [-(-m // d) for m, d in zip(wanted, dilation, strict=True)]
    parts = [
        _of_remainder(step, x, filters, remainder, counts) for remainder in np.ndindex(*dilation)
    ]
    stacked = jnp.stack(parts).reshape(*dilation, *parts[0].shape)
    n = len(dilation)
    order = [n, *(axis for k in range(n) for axis in (n + 1 + k, k)), 2 * n + 1]
    full = [m * d for m, d in zip(counts, dilation, strict=True)]
    joined = stacked.transpose(order).reshape(len(x), *full, parts[0].shape[-1])
    return joined[(slice(None), *(slice(m) for m in wanted))]


def _of_remainder(
    step: Step, x: Array, filters: Array, remainder: Sequence[int], counts: Sequence[int]
) -> Array:
    """Every d-th place of the result, which meets every d-th place of the filter.

    Place d·s + r of the result meets place q of the input with place k of the filter where
    d·q = d·s + r + k − padding, so k begins at (padding − r) mod d.
    """
    chosen, padding = [], []
    for axis, (r, d) in enumerate(zip(remainder, step.params["lhs_dilation"], strict=True)):
        low = step.params["padding"][axis][0]
        first = (low - r) % d
        size = len(range(first, filters.shape[axis], d))
        before = -((r + first - low) // d)
        padding.append((before, counts[axis] - x.shape[1 + axis] - before + size - 1))
        chosen.append(slice(first, None, d))
    filters = filters[tuple(chosen)]
    if 0 in filters.shape:
        return jnp.zeros((len(x), *counts, filters.shape[-1]), step.eqn.outvars[0].aval.dtype)
    spread = [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), spread)
    return _convolve(step, x, filters, [(0, 0)] * len(counts), (1,) * len(counts))


def _convolve(
    step: Step, x: Array, filters: Array, padding: Sequence[PyTree], dilation: tuple[int, ...]
) -> Array:
    """A convolution in the usual order of axes; of few features several neighbours at once.

    Filters that stand beside each other in wider ones, with zeros around them, give the
    results of as many neighbours as features of one result.
    """
    strides = tuple(step.params["window_strides"])
    n_features = filters.shape[-1]
    low, high = padding[-1]
    width = x.shape[-2] + low + high - filters.shape[-3] + 1
    count = _neighbours(step, filters, dilation, width)
    if count == 1:
        return _as_it_is(step, x, filters, strides, padding, dilation)
    rest = [(0, 0)] * (filters.ndim - 3)
    parts = [jnp.pad(filters, [*rest, (k, count - 1 - k), (0, 0), (0, 0)]) for k in range(count)]
    full = -(-width // count) * count
    padding = [*padding[:-1], (low, high + full - width)]
    strides = (*strides[:-1], count)
    result = _as_it_is(step, x, jnp.concatenate(parts, -1), strides, padding, dilation)
    return result.reshape(*result.shape[:-2], full, n_features)[..., :width, :]


def _neighbours(step: Step, filters: Array, dilation: tuple[int, ...], width: int) -> int:
    """How many neighbours along the last axis of places to compute at once."""
    params, n_features = step.params, filters.shape[-1]
    is_plain = params["window_strides"][-1] == params["rhs_dilation"][-1] == dilation[-1] == 1
    if not is_plain or params["feature_group_count"] > 1 or filters.shape[-3] == 1:
        return 1
    if not 0 < n_features < _FEW_FEATURES:
        return 1
    most = min(width, 2 * _FEW_FEATURES // n_features)
    return max((k for k in (2, 4, 8) if k <= most), default=1)


def _as_it_is(
    step: Step,
    x: Array,
    filters: Array,
    strides: Sequence[int],
    padding: Sequence[PyTree],
    dilation: tuple[int, ...],
) -> Array:
    places = "".join(chr(ord("0") + k) for k in range(len(dilation)))
    numbers = (f"N{places}C", f"{places}IO", f"N{places}C")
    return jax.lax.conv_general_dilated(
        x,
        filters,
        strides,
        padding,
        lhs_dilation=dilation,
        rhs_dilation=step.params["rhs_dilation"],
        dimension_numbers=numbers,
        feature_group_count=step.params["feature_group_count"],
        precision=step.params["precision"],
        preferred_element_type=step.params["preferred_element_type"],
    )
