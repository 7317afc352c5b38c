"""Contractions in the form in which a parameter enters them directly.

The transpose of a parameter is contracted like the parameter, and what only scales its
rows or columns (a gain, a norm, a mask of whole units) scales the result or the other
operand just as well. A product of thin matrices is contracted factor by factor.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lazyrich.kernels._equation import Equation

from ._loops import Builder
from ._program import Step


def without_transposes(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    """A contraction of transposed arrays as one of the arrays themselves."""
    contracted, batched = (list(map(list, part)) for part in eqn.params["dimension_numbers"])
    sources = list(ins)
    for side, slot in enumerate(ins):
        maker = builder.makers.get(slot)
        if maker is None or maker.name != "transpose":
            continue
        order = maker.params["permutation"]
        bound = {*contracted[side], *batched[side]}
        free = [order[axis] for axis in range(len(order)) if axis not in bound]
        if free != sorted(free):
            continue
        sources[side] = maker.ins[0]
        for part in (contracted, batched):
            part[side] = [order[axis] for axis in part[side]]
    if tuple(sources) == ins:
        return None
    return _contract(builder, eqn, sources, (contracted, batched))


def without_scales(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    """A contraction of parameters that are scaled along some axes, scaled otherwise."""
    if eqn.outvars[0].aval.dtype == jnp.float16:
        return None  # without its scale a product could overflow
    numbers = eqn.params["dimension_numbers"]
    contracted, batched = numbers
    for side, slot in enumerate(ins):
        maker = builder.makers.get(slot)
        if slot in builder.rowwise or maker is None or maker.name not in {"mul", "div"}:
            continue
        for position in (0, 1) if maker.name == "mul" else (1,):
            factor, kept = maker.ins[position], maker.ins[1 - position]
            axes = _varying(builder, factor, len(builder.shapes[slot].shape))
            is_number = not axes and factor in builder.constants
            if is_number or builder.shapes[kept].shape != builder.shapes[slot].shape:
                continue
            sources = list(ins)
            sources[side] = kept
            divides = maker.name == "div"
            if axes.isdisjoint(contracted[side]):
                result = _contract(builder, eqn, sources, numbers)[0]
                where = _result_axes(builder, ins, numbers, side)
                rank = len(eqn.outvars[0].aval.shape)
                placed = {axis: where[axis] for axis in axes}
                return [_scaled(builder, result, factor, placed, rank, divides=divides)]
            if axes <= {*contracted[side], *batched[side]}:
                other = 1 - side
                where = dict(zip(contracted[side], contracted[other], strict=True))
                where |= dict(zip(batched[side], batched[other], strict=True))
                rank = len(builder.shapes[ins[other]].shape)
                placed = {axis: where[axis] for axis in axes}
                sources[other] = _scaled(builder, ins[other], factor, placed, rank, divides=divides)
                return _contract(builder, eqn, sources, numbers)
    return None


def without_products(builder: Builder, eqn: Equation, ins: tuple[int, ...]) -> list[int] | None:
    """A contraction with a product of thin matrices, as one contraction after the other.

    x (w + ab) is xw + (xa)b, in which a and b enter directly.
    """
    contracted, batched = eqn.params["dimension_numbers"]
    if batched[0] or len(contracted[0]) != 1 or eqn.outvars[0].aval.dtype == jnp.float16:
        return None
    for side, slot in enumerate(ins):
        if slot in builder.rowwise or ins[1 - side] not in builder.rowwise:
            continue
        for product, rest, join in _summands(builder, slot):
            thin = _thin(builder, product, contracted[side][0])
            if thin is None:
                continue
            (first, free, _), (second, _, inner) = thin
            one_by_one = partial(
                _one_by_one,
                options=_options(eqn),
                axes=(contracted[1 - side][0], free, inner),
                is_second=bool(side),
            )
            (result,) = builder.call(one_by_one, ins[1 - side], first, second)
            if rest is None:
                return [result]
            sources = list(ins)
            sources[side] = rest
            (other,) = _contract(builder, eqn, sources, eqn.params["dimension_numbers"])
            return builder.call(join, result, other)
    return None


def _one_by_one(
    x: Array,
    first: Array,
    second: Array,
    *,
    options: dict[str, Any],
    axes: tuple[int, int, int],
    is_second: bool,
) -> Array:
    """A contraction with one factor of a product and then with the other.

    Args:
        x: what is contracted with the product.
        first: the factor that is contracted with it.
        second: the factor that is contracted with the result.
        options: of ``dot_general``.
        axes: of x, of ``first``, and the one of ``second`` that both factors share.
        is_second: the product is the second operand, so its free axis comes last.
    """
    of_x, free, inner = axes
    x = jax.lax.dot_general(x, first, (((of_x,), (free,)), ((), ())), **options)
    x = jax.lax.dot_general(x, second, (((x.ndim - 1,), (inner,)), ((), ())), **options)
    return x if is_second else jnp.moveaxis(x, -1, 0)


def _summands(
    builder: Builder, slot: int
) -> list[tuple[Step, int | None, Callable[[Array, Array], Array]]]:
    """Products of which a value is made, each with what else, and how the two are joined."""
    maker = builder.makers.get(slot)
    if maker is None or maker.name not in {"dot_general", "add", "sub"}:
        return []
    if maker.name == "dot_general":
        return [(maker, None, operator.add)]
    joins = (operator.add, operator.add)
    if maker.name == "sub":
        joins = (operator.sub, lambda product, other: other - product)
    found = []
    for position, join in enumerate(joins):
        product = builder.makers.get(maker.ins[position])
        other = maker.ins[1 - position]
        is_whole = builder.shapes[other].shape == builder.shapes[slot].shape
        if product is not None and product.name == "dot_general" and is_whole:
            found.append((product, other, join))
    return found


def _thin(builder: Builder, product: Step, axis: int) -> list[tuple[int, int, int]] | None:
    """The factors of a matrix product, that of the given axis first.

    Returns:
        Each as its slot, its own axis and the common one; None unless that is cheaper.
    """
    contracted, batched = product.params["dimension_numbers"]
    shapes = [builder.shapes[slot].shape for slot in product.ins]
    if batched[0] or len(contracted[0]) != 1 or any(len(shape) != 2 for shape in shapes):
        return None
    inner = [axes[0] for axes in contracted]
    outer = [shape[1 - k] for shape, k in zip(shapes, inner, strict=True)]
    if shapes[0][inner[0]] * sum(outer) >= outer[0] * outer[1]:
        return None
    factors = [(slot, 1 - k, k) for slot, k in zip(product.ins, inner, strict=True)]
    return factors if axis == 0 else factors[::-1]


def _options(eqn: Equation) -> dict[str, Any]:
    rest = {k: v for k, v in eqn.params.items() if k in {"precision", "out_sharding"}}
    return rest | {"preferred_element_type": eqn.outvars[0].aval.dtype}


def _contract(
    builder: Builder, eqn: Equation, sources: Sequence[int], numbers: PyTree
) -> list[int]:
    options = _options(eqn)
    (a, b), (c, d) = numbers
    return builder.call(
        lambda x, y: jax.lax.dot_general(x, y, ((a, b), (c, d)), **options), *sources
    )


def _varying(builder: Builder, slot: int, rank: int) -> set[int]:
    """The axes along which a factor's entries differ."""
    shape = builder.shapes[slot].shape
    maker = builder.makers.get(slot)
    if maker is not None and maker.name == "broadcast_in_dim":
        source = builder.shapes[maker.ins[0]].shape
        axes = zip(source, maker.params["broadcast_dimensions"], strict=True)
        return {axis for size, axis in axes if size > 1}
    assert shape == () or len(shape) == rank
    return {axis for axis, size in enumerate(shape) if size > 1}


def _result_axes(
    builder: Builder, ins: tuple[int, ...], numbers: PyTree, side: int
) -> dict[int, int]:
    """For each free or batch axis of an operand, its axis of the result."""
    contracted, batched = numbers
    free = [
        [
            axis
            for axis in range(len(builder.shapes[ins[k]].shape))
            if axis not in contracted[k] and axis not in batched[k]
        ]
        for k in (0, 1)
    ]
    start = len(batched[0]) + (len(free[0]) if side == 1 else 0)
    where = {axis: k for k, axis in enumerate(batched[side])}
    return where | {axis: start + k for k, axis in enumerate(free[side])}


def _scaled(
    builder: Builder,
    slot: int,
    factor: int,
    axes: dict[int, int],
    rank: int,
    *,
    divides: bool,
) -> int:
    """A value times (or over) a factor; ``axes`` maps the factor's axes to the value's."""
    ordered = sorted(axes, key=axes.__getitem__)
    shape = [1] * rank
    for axis in ordered:
        shape[axes[axis]] = builder.shapes[factor].shape[axis]

    def scale(value: Array, f: Array) -> Array:
        f = f[tuple(slice(None) if axis in axes else slice(0, 1) for axis in range(f.ndim))]
        f = f.transpose([*ordered, *(a for a in range(f.ndim) if a not in axes)])
        f = f.reshape(shape).astype(jnp.promote_types(value.dtype, f.dtype))
        return value / f if divides else value * f

    return builder.call(scale, slot, factor)[0]
