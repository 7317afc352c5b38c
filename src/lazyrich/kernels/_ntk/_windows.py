"""Pooling and convolutions with filters of one place, in steps of which derivatives are fast.

The derivative of a maximum over windows is an operation that XLA compiles to a slow loop on
processors, once more for each output. Here it becomes a choice between slices. A filter of one
place is a matrix product at each position, and what its stride skips is cut off first.
"""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich.kernels._equation import Equation

from ._loops import Builder

# Larger windows stay what they are.
_MOST_PLACES = 64


def open_window(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    """Add a pooling or a convolution in plain steps; None if it stays as it is."""
    name = eqn.primitive.name
    if name in {"reduce_window_max", "reduce_window_sum"} and len(ins) == 1:
        return _pool(builder, eqn, ins)
    if name == "conv_general_dilated" and _has_one_place(builder, eqn, ins):
        return builder.call(lambda x, w: _at_each_position(eqn, x, w), *ins)
    return None


def _pool(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    params, shape = eqn.params, builder.shapes[ins[0]]
    is_max = eqn.primitive.name == "reduce_window_max"
    if int(np.prod(params["window_dimensions"])) > _MOST_PLACES or 0 in eqn.outvars[0].aval.shape:
        return None
    # Shorter numbers would be summed with other roundings.
    if not jnp.issubdtype(shape.dtype, jnp.floating) or shape.dtype.itemsize < 4:
        return None
    filler = -np.inf if is_max else 0

    def pool(x: Array) -> Array:
        spread = zip(params["padding"], params["base_dilation"], strict=True)
        padding = [(low, high, dilation - 1) for (low, high), dilation in spread]
        x = jax.lax.pad(x, jnp.asarray(filler, x.dtype), padding)
        size, strides = params["window_dimensions"], params["window_strides"]
        if tuple(size) == tuple(strides) and set(params["window_dilation"]) == {1}:
            return _apart(x, size, is_max=is_max)
        parts = windows(x, size, strides, params["window_dilation"])
        return reduce(_larger if is_max else jnp.add, parts)

    return builder.call(pool, *ins)


def _apart(x: Array, size: Sequence[int], *, is_max: bool) -> Array:
    """Pooling over windows that do not overlap."""
    counts = [n // k for n, k in zip(x.shape, size, strict=True)]
    x = x[tuple(slice(n * k) for n, k in zip(counts, size, strict=True))]
    x = x.reshape([length for pair in zip(counts, size, strict=True) for length in pair])
    places = tuple(range(1, x.ndim, 2))
    if not is_max:
        return x.sum(places)
    # Which place has the maximum is the same for all cotangents.
    of_places = jnp.moveaxis(jax.lax.stop_gradient(x), places, range(len(places)))
    parts = of_places.reshape(-1, *counts)
    best, chosen = parts[0], jnp.zeros(counts, np.int32)
    for k in range(1, len(parts)):
        chosen = jnp.where(_is_first(best, parts[k]), chosen, k)
        best = _larger(best, parts[k])
    numbers = np.arange(len(parts)).reshape([n for k in size for n in (1, k)])
    is_chosen = jnp.expand_dims(chosen, places) == numbers
    return jnp.where(is_chosen, x, 0).sum(places)


def _larger(a: Array, b: Array) -> Array:
    """The first of the largest, to which the derivative belongs; what is not a number stays."""
    return jnp.where(_is_first(a, b), a, b)


def _is_first(a: Array, b: Array) -> Array:
    return (a >= b) | (a != a)


def windows(
    x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[Array]:
    """One strided slice for each place of a window, over all positions of the window."""
    counts = [
        (n - step * (k - 1) - 1) // stride + 1
        for n, k, stride, step in zip(x.shape, size, strides, dilation, strict=True)
    ]
    parts = []
    for place in np.ndindex(*size):
        start = [step * k for step, k in zip(dilation, place, strict=True)]
        stop = [
            a + stride * (n - 1) + 1 for a, stride, n in zip(start, strides, counts, strict=True)
        ]
        parts.append(jax.lax.slice(x, start, stop, strides))
    return parts


def _has_one_place(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> bool:
    params = eqn.params
    spec = params["dimension_numbers"].rhs_spec
    filters = builder.shapes[ins[1]].shape
    return (
        params["feature_group_count"] == params["batch_group_count"] == 1
        and all(filters[axis] == 1 for axis in spec[2:])
        and all(tuple(pair) == (0, 0) for pair in params["padding"])
        and all(step == 1 for step in params["lhs_dilation"])
    )


def _at_each_position(eqn: Equation, x: Array, filters: Array) -> Array:
    params = eqn.params
    numbers = params["dimension_numbers"]
    steps = [1] * x.ndim
    for axis, stride in zip(numbers.lhs_spec[2:], params["window_strides"], strict=True):
        steps[axis] = stride
    x = jax.lax.slice(x, [0] * x.ndim, x.shape, steps)
    results, inner = numbers.rhs_spec[:2]
    kept = [filters.shape[axis] for axis in sorted((results, inner))]
    matrix = filters.reshape(kept)
    contracted = ((numbers.lhs_spec[1],), (int(inner > results),))
    product = jax.lax.dot_general(
        x,
        matrix,
        (contracted, ((), ())),
        precision=params["precision"],
        preferred_element_type=eqn.outvars[0].aval.dtype,
    )
    # Batch and places in the order of the input, then the features.
    order = [axis for axis in range(x.ndim) if axis != numbers.lhs_spec[1]]
    source = [order.index(axis) for axis in (numbers.lhs_spec[0], *numbers.lhs_spec[2:])]
    source.insert(1, x.ndim - 1)
    return product.transpose([source[k] for k in np.argsort(numbers.out_spec)])
