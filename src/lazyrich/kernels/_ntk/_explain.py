"""How each parameter contributes to the tangent kernel, as a readable table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._plan import Group, Member, Plan, jacobian_cost, structured_cost


@dataclass(frozen=True)
class Way:
    """How one parameter array contributes to the kernel.

    Attributes:
        name: where the array stands in the parameters.
        shape: its shape.
        kind: ``"contraction"``, ``"lookup"``, ``"addition"`` (structured: cotangents are
            contracted with activations), ``"jacobian"`` (Jacobians are formed, exactly) or
            ``"unused"`` (no gradient reaches it).
        reason: why, in words.
        cost: multiplications for each pair of rows.
        jacobian_cost: multiplications for each pair of rows had its Jacobian been formed.

    Example:
        >>> import jax.numpy as jnp
        >>> from lazyrich.kernels import explain_ntk
        >>> way = explain_ntk(lambda w, x: x @ w, jnp.ones(2), jnp.ones((3, 2))).ways[0]
        >>> way.kind, way.shape
        ('contraction', (2,))
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    reason: str
    cost: int
    jacobian_cost: int


@dataclass(frozen=True)
class Explanation:
    """The ways of all parameters; printing it shows a table.

    Attributes:
        ways: one for each parameter array, in the order of the pytree's leaves.
        n_outputs: number of outputs c.
        is_traced: whether the plan is for the traced kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from lazyrich.kernels import explain_ntk
        >>> def predict(params, x):
        ...     return x @ params["w"] + params["b"]
        >>> found = explain_ntk(
        ...     predict, {"b": jnp.zeros(1), "w": jnp.ones((2, 1))}, jnp.ones((3, 2)))
        >>> found["['b']"].kind, found.n_outputs
        ('addition', 1)
    """

    ways: tuple[Way, ...]
    n_outputs: int
    is_traced: bool

    def __getitem__(self, name: str) -> Way:
        """The way of the parameter of that name."""
        for way in self.ways:
            if way.name == name:
                return way
        raise KeyError(name)

    def __str__(self) -> str:
        """The ways as a table."""
        rows = [("parameter", "shape", "way", "cost", "of Jacobians", "why")]
        rows += [
            (w.name, str(w.shape), w.kind, f"{w.cost:,}", f"{w.jacobian_cost:,}", w.reason)
            for w in self.ways
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        total = sum(way.cost for way in self.ways)
        whole = sum(way.jacobian_cost for way in self.ways)
        kind = "traced" if self.is_traced else "full"
        lines = [
            "  ".join(
                cell.rjust(width) if k in (3, 4) else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.append(
            f"{kind} kernel of {self.n_outputs} outputs: {total:,} multiplications for each pair "
            f"of rows, {whole:,} with Jacobians"
        )
        return "\n".join(lines)


def explanation(
    plan: Plan, leaves: Sequence[tuple[str, tuple[int, ...], bool]], *, traced: bool
) -> Explanation:
    """Put a plan into words.

    Args:
        plan: the plan.
        leaves: of each parameter array its name, its shape, and whether it is one of the
            plan's, which have a derivative.
        traced: whether the plan is for the traced kernel.
    """
    params = itertools.count()
    ways = tuple(
        _way(plan, next(params), name, traced=traced)
        if moves
        else Way(name, shape, "unused", "no gradient reaches it", 0, 0)
        for name, shape, moves in leaves
    )
    return Explanation(ways, plan.n_outputs, traced)


def _way(plan: Plan, param: int, name: str, *, traced: bool) -> Way:
    shape = plan.program.shapes[plan.program.inputs[param]].shape
    dear = jacobian_cost(int(np.prod(shape)), plan.n_outputs, traced)
    if not plan.entries.is_used[param]:
        return Way(name, shape, "unused", "no gradient reaches it", 0, 0)
    members = plan.structured(param)
    if not members:
        is_constant = dict(zip(plan.explicit, plan.constant, strict=False)).get(param, False)
        cost = 0 if is_constant else dear
        return Way(name, shape, "jacobian", _why_jacobian(plan, param), cost, dear)
    groups = (*plan.groups, *plan.formed)
    cost = structured_cost(groups, plan.crosses, param, c=plan.n_outputs, traced=traced)
    sizes = [way.size for way in plan.bottlenecks if way.param == param]
    cost += jacobian_cost(2 * sum(sizes), plan.n_outputs, traced)
    kinds = "+".join(dict.fromkeys(m.kind for _, m in members))
    n_formed = sum(m.param == param for g in groups if g.forms_jacobians for m in g.members)
    reason = _why_structured(members) + (f", {n_formed} uses as Jacobians" if n_formed else "")
    return Way(name, shape, kinds, reason, cost, dear)


def _why_jacobian(plan: Plan, param: int) -> str:
    if param in plan.entries.reasons:
        return plan.entries.reasons[param]
    return plan.notes.get(param, "forming Jacobians costs less")


def _why_structured(members: list[tuple[Group, Member]]) -> str:
    group = members[0][0]
    words = []
    n_entries = sum(len(member.entries) for _, member in members)
    if n_entries > 1:
        words.append(f"{n_entries} entries")
    if group.n_batches > 1:
        words.append(f"{group.n_batches} batches")
    n_positions = sum(tap.n_positions for tap in group.taps)
    if n_positions > len(group.taps):
        words.append(f"{group.n_positions} of {n_positions} positions live")
    if group.is_constant:
        words.append("cotangents equal for all rows")
    return ", ".join(words) or "cotangents with activations"
