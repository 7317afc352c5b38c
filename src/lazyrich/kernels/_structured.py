"""The plan of a tangent kernel: which parameter takes which way, and the factors it needs.

Rows of the batch are independent, so the kernel of rows i and j is made of what each
row has by itself: cotangents g of the tapped values, activations h at the entries, and,
for the parameters that take the long way, whole Jacobians.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._structured_plan import Group, Member, Plan, jacobian_cost, structured_cost
from ._structured_shared import Cross, all_pairs, orientation
from ._trace import Program, trace
from ._trace_liveness import liveness
from ._trace_sites import Site, entries


class Factors(NamedTuple):
    """What every row has by itself; the leading axis of each array is the row.

    Attributes:
        cotangents: g for every group, (n, c, batches, positions, units); without the
            row axis where it is the same for every row.
        activations: for every group and member h of (n, batches, positions, k), or the
            indices (n, positions) of a lookup.
        weights: for every group and member its scale (n,).
        jacobians: for every explicit parameter (n, c, p), or (c, p) if constant.
    """

    cotangents: tuple[Array, ...]
    activations: tuple[tuple[Array | None, ...], ...]
    weights: tuple[tuple[Array | None, ...], ...]
    jacobians: tuple[Array, ...]


def make_plan(
    row_predict: Callable[..., Array], leaves: Sequence[Any], row: Any, *, traced: bool
) -> Plan:
    """Decide the way of every parameter.

    Args:
        row_predict: (leaves, row) -> (c,).
        leaves: the parameter arrays or their shapes.
        row: one row of the input or its shape.
        traced: whether only the sum over equal outputs is wanted.
    """
    program = trace(row_predict, list(leaves), row)
    n_params = len(leaves)
    found = entries(program, n_params)
    (n_outputs,) = program.shapes[program.outputs[0]].shape
    used = tuple(p for p in range(n_params) if found.is_used[p])
    structured = {p for p, sites in enumerate(found.sites) if sites}
    shared = {p for p in structured if not _are_disjoint(program, found.sites[p])}
    unlike = {p for p in shared if not _are_alike(program, found.sites[p])}
    structured -= unlike
    groups, left_over = _groups(program, [s for p in structured for s in found.sites[p]])
    structured -= left_over
    groups = _restrict(groups, structured)
    notes = dict.fromkeys(unlike, "enters several times, in unlike ways")
    notes |= dict.fromkeys(left_over, "adds to a value of no other parameter")
    draft = Plan(program, n_params, n_outputs, groups, used, frozenset(), found, notes)
    varying = _row_dependence(draft)
    groups = tuple(
        replace(group, is_constant=not varies)
        for group, varies in zip(groups, varying.cotangents, strict=True)
    )
    structured -= _dearer(program, groups, structured, shared, n_outputs, traced)
    same = {p for p, varies in zip(used, varying.jacobians, strict=True) if not varies}
    explicit = tuple(p for p in used if p not in structured)
    groups = _restrict(groups, structured)
    return replace(
        draft,
        groups=groups,
        explicit=explicit,
        constant=frozenset(same.intersection(explicit)),
        crosses=_crosses(program, groups, shared & structured),
    )


def factors(plan: Plan, leaves: Sequence[Array], rows: Array) -> Factors:
    """The factors of some rows, by one backward pass per output for all parameters.

    Args:
        plan: the plan.
        leaves: the parameter arrays.
        rows: rows of the input, (n, ...).
    """
    member_axes = tuple(tuple(0 for _ in group.members) for group in plan.groups)
    cotangent_axes = tuple(None if group.is_constant else 0 for group in plan.groups)
    jacobian_axes = tuple(None if param in plan.constant else 0 for param in plan.explicit)
    axes = Factors._make((cotangent_axes, member_axes, member_axes, jacobian_axes))
    return jax.vmap(lambda row: row_factors(plan, leaves, row), out_axes=axes)(rows)


def row_factors(plan: Plan, leaves: Sequence[Array], row: Array) -> Factors:
    """The factors of one row."""
    program = plan.program
    wanted = _wanted_slots(plan)
    zeros = {g.tap: jnp.zeros(*_spec(program, g.tap)) for g in plan.groups}

    def outputs(perturb: Mapping[int, Array], explicit: Sequence[Array]):
        replaced = list(leaves)
        for param, value in zip(plan.explicit, explicit, strict=True):
            replaced[param] = value
        values = program.run((*replaced, row), perturb=perturb)
        return values[program.outputs[0]], {slot: values[slot] for slot in wanted}

    chosen = [leaves[param] for param in plan.explicit]
    output, pull_back, values = jax.vjp(outputs, zeros, chosen, has_aux=True)
    basis = jnp.eye(plan.n_outputs, dtype=output.dtype)
    taps, jacobians = jax.vmap(pull_back)(basis)
    dtype = product_dtype(program)
    return Factors(
        tuple(_arrange_cotangent(program, g, taps[g.tap]).astype(dtype) for g in plan.groups),
        tuple(tuple(_activation(g, m, values, dtype) for m in g.members) for g in plan.groups),
        tuple(tuple(_weight(m, values, dtype) for m in g.members) for g in plan.groups),
        tuple(jacobian.reshape(plan.n_outputs, -1).astype(dtype) for jacobian in jacobians),
    )


def product_dtype(program: Program) -> Any:
    """The type in which factors are multiplied.

    Activations can be integers or Booleans, whose own products wrap around, and products
    of half-precision activations can overflow where the kernel does not.
    """
    return jnp.promote_types(jnp.float32, program.shapes[program.outputs[0]].dtype)


def _spec(program: Program, slot: int) -> tuple[tuple[int, ...], Any]:
    return program.shapes[slot].shape, program.shapes[slot].dtype


def _wanted_slots(plan: Plan) -> set[int]:
    members = [m for group in plan.groups for m in group.members]
    slots = {m.site.activation for m in members if m.site.activation >= 0}
    return slots | {slot for m in members for slot, _ in m.site.scale.factors}


def _arrange_cotangent(program: Program, group: Group, cotangent: Array) -> Array:
    n_outputs = cotangent.shape[0]
    long = [size for size in program.shapes[group.tap].shape if size != 1]
    cotangent = cotangent.reshape(n_outputs, *long)
    cotangent = cotangent.transpose(0, *(1 + axis for axis in group.order))
    cotangent = cotangent.reshape(n_outputs, *group.sizes)
    if len(group.live) < group.sizes[1]:
        cotangent = cotangent[:, :, group.live]
    return cotangent


def _activation(
    group: Group, member: Member, values: Mapping[int, Array], dtype: Any
) -> Array | None:
    site = member.site
    if site.kind == "addition":
        return None
    value = jnp.asarray(values[site.activation]).transpose(member.order)
    if site.kind == "lookup":
        return _row_numbers(site, value.reshape(group.sizes[1])[group.live])
    value = value.reshape(group.sizes[0], group.sizes[1], -1).astype(dtype)
    return value[:, group.live] if len(group.live) < group.sizes[1] else value


def _row_numbers(site: Site, indices: Array) -> Array:
    """The rows of the table that a lookup reads; −1 for a lookup that reads none.

    Indices beyond the table mean its first or last row, or no row at all, as the lookup's
    mode says.
    """
    # The type of the indices can be too narrow for the table's length.
    last = min(site.n_table - 1, int(jnp.iinfo(indices.dtype).max))
    rows = jnp.clip(indices, 0, last).astype(int)
    return rows if site.clips else jnp.where(rows == indices, rows, -1)


def _weight(member: Member, values: Mapping[int, Array], dtype: Any) -> Array | None:
    scale = member.site.scale
    return scale.value(values, dtype) if scale.factors else None


# --- making the plan -----------------------------------------------------------------


def _are_disjoint(program: Program, sites: Sequence[Site]) -> bool:
    """Whether several entries of one parameter use different entries of its array."""
    if len(sites) == 1:
        return True
    if all(site.view.is_whole() for site in sites):
        return False
    places = [np.unique(site.view.places(program)) for site in sites]
    return len(np.unique(np.concatenate(places))) == sum(len(p) for p in places)


def _are_alike(program: Program, sites: Sequence[Site]) -> bool:
    """Whether products between all pairs of entries can be formed from factors."""
    pairs = itertools.combinations(sites, 2)
    return all(orientation(program, a, b) is not None for a, b in pairs)


def _crosses(program: Program, groups: Sequence[Group], shared: set[int]) -> tuple[Cross, ...]:
    crosses: list[Cross] = []
    for param in shared:
        crosses += all_pairs(
            [
                ((k, m), member.site)
                for k, group in enumerate(groups)
                for m, member in enumerate(group.members)
                if member.site.param == param
            ],
            program,
        )
    return tuple(crosses)


def _groups(program: Program, sites: Sequence[Site]) -> tuple[tuple[Group, ...], set[int]]:
    """Gather the entries that share a cotangent; which parameters found no place?"""
    groups: dict[tuple, Group] = {}
    live = liveness(program)
    for site in sites:
        if site.kind == "addition":
            continue
        key = (site.tap, site.roles)
        group = groups.get(key) or _empty_group(program, site, live[site.tap])
        member = Member(site, _activation_order(program, site))
        groups[key] = replace(group, members=(*group.members, member))
    left_over: set[int] = set()
    for site in sites:
        if site.kind != "addition":
            continue
        key = next((k for k in groups if k[0] == site.tap and _fits(k[1], site.roles)), None)
        if key is None:
            left_over.add(site.param)
            continue
        member = Member(site, same=_same_positions(program, key[1], site))
        groups[key] = replace(groups[key], members=(*groups[key].members, member))
    return tuple(groups.values()), left_over


def _empty_group(program: Program, site: Site, live: np.ndarray) -> Group:
    order = tuple(
        axis
        for wanted in ("batch", "position", "unit")
        for axis, role in enumerate(site.roles)
        if role == wanted
    )
    long = [size for size in program.shapes[site.tap].shape if size != 1]
    sizes = [1, 1, 1]
    for size, role in zip(long, site.roles, strict=True):
        sizes[("batch", "position", "unit").index(role)] *= size
    mask = live.reshape(long).transpose(order).reshape(sizes)
    return Group(
        site.tap, order, (sizes[0], sizes[1], sizes[2]), np.flatnonzero(mask.any((0, 2))), ()
    )


def _activation_order(program: Program, site: Site) -> tuple[int, ...]:
    """The activation's axes: batch and positions as at the tap, then all others."""
    assert site.activation_axes is not None
    leading = [
        site.activation_axes[label]
        for wanted in ("batch", "position")
        for label, role in zip(site.axes, site.roles, strict=True)
        if role == wanted
    ]
    rank = len(program.shapes[site.activation].shape)
    return (*leading, *(axis for axis in range(rank) if axis not in leading))


def _fits(roles: tuple, addition: tuple) -> bool:
    """Whether an addition can share a group: it must differ along units and batches."""
    return all(
        own == "unit" or role == "position" for role, own in zip(roles, addition, strict=True)
    )


def _same_positions(program: Program, roles: tuple, site: Site) -> np.ndarray:
    """(T, T′) of zeros and ones: do two positions add the same entries of the parameter?"""
    long = [size for size in program.shapes[site.tap].shape if size != 1]
    same = np.ones((1, 1))
    for size, role, own in zip(long, roles, site.roles, strict=True):
        if role == "position":
            same = np.kron(same, np.eye(size) if own == "unit" else np.ones((size, size)))
    return same


def _restrict(groups: Sequence[Group], params: set[int]) -> tuple[Group, ...]:
    kept = [
        replace(g, members=tuple(m for m in g.members if m.site.param in params)) for g in groups
    ]
    return tuple(group for group in kept if group.members)


def _row_dependence(plan: Plan) -> Any:
    """For every factor whether it depends on the row."""
    program = plan.program
    structures = []

    def made(*values: Any) -> list[Array]:
        leaves, structure = jax.tree.flatten(row_factors(plan, values[:-1], values[-1]))
        structures.append(structure)
        return leaves

    traced = trace(made, *(program.shapes[slot] for slot in program.inputs))
    varying = traced.depends_on(traced.inputs[-1:])
    return structures[0].unflatten(slot in varying for slot in traced.outputs)


def _dearer(
    program: Program,
    groups: Sequence[Group],
    params: set[int],
    shared: set[int],
    c: int,
    traced: bool,
) -> set[int]:
    """The parameters for which forming Jacobians costs less than contracting factors."""
    dearer = set()
    for param in params:
        size = int(np.prod(program.shapes[program.inputs[param]].shape))
        crosses = _crosses(program, groups, shared & {param})
        cost = structured_cost(program, groups, crosses, param, c=c, traced=traced)
        # Near a tie the structured way is better: it needs less memory.
        if cost > 1.5 * jacobian_cost(size, c, traced):
            dearer.add(param)
    return dearer
