"""Factors of single rows: cotangents, activations and Jacobians."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from ._bottlenecks import Bottleneck
from ._convolutions import patches
from ._plain_convolutions import with_plain_convolutions
from ._plan import Entry, Group, Member, Plan, Tap
from ._sites import Site
from ._trace import Program


class Factors(NamedTuple):
    """What every row has by itself; the leading axis of each array is the row.

    Attributes:
        cotangents: g for every group, (n, c, batches, positions, units); without the
            row axis where it is the same for every row.
        activations: for every group and member h of (n, batches, positions, k), or of a
            lookup the rows of the table that are read, (n, depth, positions).
        weights: for every group and member None, or what its positions count, (n, depth,
            positions); of a contraction it is part of h.
        jacobians: for every explicit parameter and then every formed group (n, c, p), or
            (c, p) if constant.
        bottlenecks: for every bottleneck the cotangents of its numbers and what the
            parameter's derivative does to them, (n, 2, c, numbers).
    """

    cotangents: tuple[Array, ...]
    activations: tuple[tuple[Array | None, ...], ...]
    weights: tuple[tuple[Array | None, ...], ...]
    jacobians: tuple[Array, ...]
    bottlenecks: tuple[Array, ...] = ()


def product_dtype(program: Program) -> np.dtype:
    """The type in which factors are multiplied.

    Activations can be integers or Booleans, whose own products wrap around, and products
    of half-precision activations can overflow where the kernel does not.
    """
    return jnp.promote_types(jnp.float32, program.shapes[program.outputs[0]].dtype)


def factors(
    plan: Plan, leaves: Sequence[Array], rows: Array, basis: Array | None = None
) -> Factors:
    """The factors of some rows, by one backward pass per output for all parameters.

    Args:
        plan: the plan.
        leaves: the parameter arrays.
        rows: rows of the input, (n, ...).
        basis: which sums of outputs count as outputs, (outputs, c); None means each output.
    """
    member_axes = tuple(tuple(0 for _ in group.members) for group in plan.groups)
    cotangent_axes = tuple(None if group.is_constant else 0 for group in plan.groups)
    jacobian_axes = tuple(None if is_constant else 0 for is_constant in plan.constant)
    narrow_axes = (0,) * len(plan.bottlenecks)
    axes = Factors._make((cotangent_axes, member_axes, member_axes, jacobian_axes, narrow_axes))

    def made(leaves: Sequence[Array], rows: Array, basis: Array | None) -> Factors:
        return jax.vmap(lambda row: row_factors(plan, leaves, row, basis), out_axes=axes)(rows)

    if plan.has_convolutions:
        return with_plain_convolutions(made, list(leaves), rows, basis)
    return made(leaves, rows, basis)


def row_factors(
    plan: Plan, leaves: Sequence[Array], row: Array, basis: Array | None = None
) -> Factors:
    """The factors of one row, as `factors`."""
    program = plan.program
    every = (*plan.groups, *plan.formed)
    wanted = _wanted_slots(every)
    tapped = {tap.slot for group in every for tap in group.taps}
    tapped.update(slot for way in plan.bottlenecks for slot in way.slots)
    zeros = {s: jnp.zeros(program.shapes[s].shape, program.shapes[s].dtype) for s in tapped}
    # A parameter with a bottleneck is differentiated on all other ways.
    differentiated = (*plan.explicit, *(way.param for way in plan.bottlenecks))
    blocked = {step: slots for way in plan.bottlenecks for step, slots in way.blocked.items()}

    def outputs(
        perturb: Mapping[int, Array], explicit: Sequence[Array]
    ) -> tuple[PyTree, dict[int, PyTree]]:
        replaced = list(leaves)
        for param, value in zip(differentiated, explicit, strict=True):
            replaced[param] = value
        values = program.run((*replaced, row), perturb=perturb, blocked=blocked)
        return values[program.outputs[0]], {slot: values[slot] for slot in wanted}

    chosen = [leaves[param] for param in differentiated]
    output, pull_back, values = jax.vjp(outputs, zeros, chosen, has_aux=True)
    if basis is None:
        basis = jnp.eye(plan.n_outputs, dtype=output.dtype)
    taps, jacobians = jax.vmap(pull_back)(basis)
    dtype = product_dtype(program)
    c = len(basis)
    narrow = [
        _through_bottleneck(program, way, leaves, jacobian, taps).astype(dtype)
        for way, jacobian in zip(plan.bottlenecks, jacobians[len(plan.explicit) :], strict=True)
    ]
    jacobians = jacobians[: len(plan.explicit)]
    explicit = [jacobian.reshape(c, -1).astype(dtype) for jacobian in jacobians]
    formed = []
    for group in plan.formed:
        g = _cotangent(program, group, taps, dtype)
        h = _activation(group, group.members[0], values, dtype)
        formed.append(jnp.einsum("cbto,btk->cbok", g, h).reshape(c, -1))
    return Factors(
        tuple(_cotangent(program, g, taps, dtype) for g in plan.groups),
        tuple(tuple(_activation(g, m, values, dtype) for m in g.members) for g in plan.groups),
        tuple(tuple(_weights(g, m, values, dtype) for m in g.members) for g in plan.groups),
        (*explicit, *formed),
        tuple(narrow),
    )


def _through_bottleneck(
    program: Program,
    way: Bottleneck,
    leaves: Sequence[Array],
    jacobian: Array,
    cotangents: Mapping[int, Array],
) -> Array:
    """The cotangents r of the numbers s(θ), and a = Ds (J + Dsᵀr/2), (2, c, numbers).

    J is the derivative on all other ways. The whole derivative is J + Dsᵀr, so its
    products are J·J′ + r·a′ + a·r′.
    """

    def numbers(param: Array) -> tuple[Array, ...]:
        values = dict(program.constants)
        values.update(zip(program.inputs, leaves, strict=False))
        values[program.inputs[way.param]] = param
        for step in way.steps:
            results = step.apply(*(values[slot] for slot in step.ins))
            values.update(zip(step.outs, results, strict=True))
        return tuple(values[slot] for slot in way.slots)

    _, pull_back = jax.vjp(numbers, leaves[way.param])
    _, push = jax.linearize(numbers, leaves[way.param])
    r = tuple(cotangents[slot] for slot in way.slots)
    moved = jax.vmap(lambda j, r: push(j + pull_back(r)[0] / 2))(jacobian, r)
    flat = [jnp.concatenate([a.reshape(len(a), -1) for a in part], 1) for part in (r, moved)]
    return jnp.stack(flat)


def _wanted_slots(groups: Sequence[Group]) -> set[int]:
    sites = [entry.site for group in groups for m in group.members for entry in m.entries]
    slots = {site.activation for site in sites if site.activation >= 0}
    return slots | {slot for site in sites for slot, _ in site.scale.factors}


def _cotangent(
    program: Program, group: Group, cotangents: Mapping[int, Array], dtype: DTypeLike
) -> Array:
    parts = []
    for tap in group.taps:
        value = cotangents[tap.slot]
        long = [size for size in program.shapes[tap.slot].shape if size != 1]
        value = value.reshape(len(value), *long)
        value = value.transpose(0, *(1 + axis for axis in tap.order))
        if tap.n_groups > 1:
            value = value.reshape(len(value), tap.n_positions, group.n_batches, group.n_units)
            value = value.swapaxes(1, 2)
        value = value.reshape(len(value), group.n_batches, tap.n_positions, group.n_units)
        parts.append(_live(tap, value, 2).astype(dtype))
    return jnp.concatenate(parts, 2) if len(parts) > 1 else parts[0]


def _live(tap: Tap, value: Array, axis: int) -> Array:
    if len(tap.live) == tap.n_positions:
        return value
    return jnp.take(value, tap.live, axis, mode="clip")


def _activation(
    group: Group, member: Member, values: Mapping[int, PyTree], dtype: DTypeLike
) -> Array | None:
    if member.kind == "addition":
        return None
    if member.kind == "lookup":
        rows = lambda entry, tap: _live(tap, _row_numbers(entry, values), 0)  # noqa: E731
        return _by_depth(group, member, rows, -1)
    parts: list[Array | None] = [None] * len(group.taps)
    for entry in member.entries:
        tap = group.taps[entry.tap]
        value = jnp.asarray(values[entry.site.activation])
        if entry.site.convolution:
            filters = entry.site.convolution.eqn.invars[1].aval.shape
            value = patches(entry.site.convolution, filters, value.astype(dtype))
        value = value.transpose(entry.order)
        if tap.n_groups > 1:
            value = value.reshape(tap.n_positions, group.n_batches, -1).swapaxes(0, 1)
        # A program that takes apart the rows can meet none, from which no length follows.
        n_features = -1 if value.size else value.shape[-1]
        value = value.reshape(group.n_batches, tap.n_positions, n_features)
        value = _live(tap, value, 1).astype(dtype)
        if member.is_weighted():
            value = value * entry.site.scale.value(values, dtype)
        present = parts[entry.tap]
        parts[entry.tap] = value if present is None else present + value
    return jnp.concatenate([p for p in parts if p is not None], 1) if len(parts) > 1 else parts[0]


def _row_numbers(entry: Entry, values: Mapping[int, PyTree]) -> Array:
    """The rows of the table that a lookup reads; −1 for a lookup that reads none.

    Indices beyond the table mean its first or last row, or no row at all, as the lookup's
    mode says.
    """
    site: Site = entry.site
    indices = jnp.asarray(values[site.activation]).transpose(entry.order).reshape(-1)
    # The type of the indices can be too narrow for the table's length.
    last = min(site.n_table - 1, int(jnp.iinfo(indices.dtype).max))
    rows = jnp.clip(indices, 0, last).astype(int)
    return rows if site.clips else jnp.where(rows == indices, rows, -1)


def _weights(
    group: Group, member: Member, values: Mapping[int, PyTree], dtype: DTypeLike
) -> Array | None:
    if member.kind == "contraction" or not member.is_weighted():
        return None

    def weights(entry: Entry, tap: Tap) -> Array:
        return jnp.broadcast_to(entry.site.scale.value(values, dtype), (len(tap.live),))

    return _by_depth(group, member, weights, 0)


def addition_ids(group: Group, member: Member) -> Array:
    """The parameter entries that an addition uses at each position, (depth, positions)."""

    def ids(entry: Entry, tap: Tap) -> Array:
        assert entry.ids is not None
        return jnp.asarray(entry.ids[tap.live])

    return _by_depth(group, member, ids, -1)


def _by_depth(group: Group, member: Member, value: PyTree, filler: int) -> Array:
    """Values of all entries, (depth, positions), filled up where a tap has fewer entries."""
    depth = member.depth()
    columns = []
    for k, tap in enumerate(group.taps):
        column = [value(entry, tap) for entry in member.entries if entry.tap == k]
        empty = [jnp.full(len(tap.live), filler)] * (depth - len(column))
        columns.append(jnp.stack(column + empty))
    return jnp.concatenate(columns, 1)
