"""Plan the computation of a tangent kernel: choose a method for each parameter.

Rows of the batch are independent, so the kernel of rows i and j is made of what each
row has by itself: cotangents g of the tapped values, activations h at the entries, and,
for the parameters that take the long way, whole Jacobians.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Array, PyTree

from ._costs import Setting, cross_seconds, factor_seconds, jacobian_seconds
from ._factors import Factors, row_factors
from ._groups import gather, restrict
from ._plan import Cross, Group, Member, Plan
from ._sites import Entries, entries
from ._trace import Program, flatten, trace
from ._weight_sharing import Overlap, classes, overlaps
from ._work import Rates

# Near a tie the structured way is better: it needs less memory.
_MARGIN = 1.5
# Kernels of fewer rows take little time in any way, and are planned like those of so many.
_FEWEST_ROWS = 64

_Overlaps = Mapping[int, Mapping[tuple[int, int], Overlap]]


def make_plan(
    row_predict: Callable[..., Array],
    leaves: Sequence[PyTree],
    row: PyTree,
    *,
    traced: bool,
    n_rows: int,
    rates: Rates,
) -> Plan:
    """Decide the way of every parameter: the one that takes less time, as predicted.

    Loops over time are unrolled only where that avoids a Jacobian, since an unrolled program
    has many small steps.

    Args:
        row_predict: (leaves, row) -> (c,).
        leaves: the parameter arrays or their shapes.
        row: one row of the input or its shape.
        traced: whether only the sum over equal outputs is wanted.
        n_rows: how many rows the kernel is of.
        rates: how fast the device is.
    """
    closed = jax.make_jaxpr(row_predict)(list(leaves), row)
    program = flatten(closed, opens_loops=True)
    (c,) = program.shapes[program.outputs[0]].shape
    setting = Setting(c, traced, max(n_rows, _FEWEST_ROWS), rates)
    plan = _make_plan(program, len(leaves), setting)
    kept = flatten(closed, opens_loops=True, opens_turns=False)
    if len(kept.steps) == len(program.steps):
        return plan
    other = _make_plan(kept, len(leaves), setting)
    return other if _contracted(plan) <= _contracted(other) else plan


def _contracted(plan: Plan) -> set[int]:
    """The parameters with a part whose Jacobian is not formed."""
    return {m.param for group in plan.groups if not group.forms_jacobians for m in group.members}


def _make_plan(program: Program, n_params: int, setting: Setting) -> Plan:
    found = entries(program, n_params)
    groups, shared, notes = _candidates(program, found)
    used = tuple(p for p in range(n_params) if found.is_used[p])
    draft = Plan(program, n_params, setting.c, groups, used, (), (False,) * len(used), found, notes)
    varying = _row_dependence(draft)
    groups = tuple(
        replace(group, is_constant=not varies)
        for group, varies in zip(groups, varying.cotangents, strict=True)
    )
    structured, formed = _ways(draft, groups, shared, setting)
    kept, early, late = _split(groups, structured, formed, setting.c)
    structured = {m.param for g in (*kept, *early, *late) for m in g.members}
    explicit = tuple(p for p in used if p not in structured)
    varies = dict(zip(used, varying.jacobians, strict=True))
    same = [not varies[p] for p in explicit] + [_is_same(groups, g, varying) for g in early]
    return replace(
        draft,
        groups=(*kept, *late),
        explicit=explicit,
        formed=early,
        constant=tuple(same),
        crosses=_crosses(kept, shared),
        bottlenecks=tuple(found.bottlenecks[p] for p in found.bottlenecks if p in structured),
    )


def with_jacobians_alone(plan: Plan) -> Plan:
    """The plan in which the Jacobian of every parameter is formed by differentiation."""
    used = tuple(p for p in range(plan.n_params) if plan.entries.is_used[p])
    same = (False,) * len(used)
    return replace(
        plan, groups=(), explicit=used, formed=(), constant=same, crosses=(), bottlenecks=()
    )


def _candidates(
    program: Program, found: Entries
) -> tuple[tuple[Group, ...], _Overlaps, dict[int, str]]:
    """All that could be structured, the overlaps of uses, and why some could not."""
    uses = {p: classes(sites) for p, sites in enumerate(found.sites) if sites}
    shared = {p: overlaps(program, [sites[0] for sites in uses[p]]) for p in uses}
    unlike = {p for p, pairs in shared.items() if pairs is None}
    groups, left_over = gather(program, {p: use for p, use in uses.items() if p not in unlike})
    notes = dict.fromkeys(unlike, "enters several times, in unlike ways")
    notes |= dict.fromkeys(left_over, "adds to a value of no other parameter")
    kept = {p: pairs for p, pairs in shared.items() if pairs is not None and p not in left_over}
    return restrict(groups, set(kept)), kept, notes


def _row_dependence(plan: Plan) -> PyTree:
    """For every factor whether it depends on the row."""
    program = plan.program
    structures = []

    def made(*values: PyTree) -> list[Array]:
        leaves, structure = jax.tree.flatten(row_factors(plan, values[:-1], values[-1]))
        structures.append(structure)
        return leaves

    traced = trace(made, *(program.shapes[slot] for slot in program.inputs))
    varying = traced.depends_on(traced.inputs[-1:])
    return structures[0].unflatten(slot in varying for slot in traced.outputs)


def _ways(
    draft: Plan, groups: Sequence[Group], shared: _Overlaps, setting: Setting
) -> tuple[set[int], set[tuple[int, int]]]:
    """By time: the structured parameters, and of them the uses that form Jacobians."""
    program, narrow = draft.program, draft.entries.bottlenecks
    structured, formed = set(), set()
    for param, pairs in shared.items():
        size = int(np.prod(program.shapes[program.inputs[param]].shape))
        own = [(g, m) for g in groups for m in g.members if m.param == param]
        crosses = _crosses(groups, {param: pairs})
        seconds = sum(factor_seconds(g, m, setting) for g, m in own)
        seconds += sum(cross_seconds(groups, cross, setting) for cross in crosses)
        if param in narrow:
            seconds += jacobian_seconds(2 * narrow[param].size, setting, [])
        if seconds <= _MARGIN * jacobian_seconds(size, setting, own):
            structured.add(param)
            continue
        if pairs or param in narrow or any(m.kind != "contraction" for _, m in own):
            continue
        structured.add(param)
        for g, m in own:
            n_entries = g.n_batches * g.n_units * m.n_inner
            dear = jacobian_seconds(n_entries, setting, [(g, m)])
            if factor_seconds(g, m, setting) > _MARGIN * dear:
                formed.add((param, m.use))
    return structured, formed


def _split(
    groups: Sequence[Group], structured: set[int], formed: set[tuple[int, int]], c: int
) -> tuple[tuple[Group, ...], tuple[Group, ...], tuple[Group, ...]]:
    """The groups without Jacobians, and those that form them early and late.

    Early is with the factors, so that the factors need not be kept; late is when a block
    of the kernel is computed, a part at a time, if the Jacobian is larger than they are.
    """
    early, late, rest = [], [], []
    for group in restrict(groups, structured):
        for member in group.members:
            if (member.param, member.use) not in formed:
                continue
            alone = replace(group, members=(member,), forms_jacobians=True)
            (early if _is_smaller(group, member, c) else late).append(alone)
        kept = tuple(m for m in group.members if (m.param, m.use) not in formed)
        rest.append(replace(group, members=kept))
    # An addition shares the products of a group's cotangents; alone it is dear.
    lonely = {
        m.param for g in rest if all(m.kind == "addition" for m in g.members) for m in g.members
    }
    kept = restrict(rest, structured - lonely)
    return kept, tuple(early), tuple(late)


def _is_smaller(group: Group, member: Member, c: int) -> bool:
    """Whether a Jacobian has fewer numbers than the factors that it is made of."""
    units, inner = group.n_units, member.n_inner
    return c * units * inner <= group.n_positions * (c * units + inner)


def _is_same(groups: Sequence[Group], chosen: Group, varying: Factors) -> bool:
    """Whether the Jacobian of a group's only member is the same for every row."""
    (member,) = chosen.members
    k = next(k for k, group in enumerate(groups) if member in group.members)
    m = groups[k].members.index(member)
    return not (varying.cotangents[k] or varying.activations[k][m])


def _crosses(groups: Sequence[Group], shared: _Overlaps) -> tuple[Cross, ...]:
    where = {
        (member.param, member.use): (k, m)
        for k, group in enumerate(groups)
        for m, member in enumerate(group.members)
    }
    return tuple(
        Cross(where[param, i], where[param, j], overlap)
        for param, pairs in shared.items()
        for (i, j), overlap in pairs.items()
        if (param, i) in where
    )
