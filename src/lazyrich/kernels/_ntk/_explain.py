"""How each parameter contributes to the tangent kernel, as a readable table."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._memory import spelled
from ._factors import product_dtype
from ._plan import Group, Member, Plan, factor_numbers, jacobian_cost, structured_cost
from ._prediction import Prediction


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
        n_bytes: what its factors or Jacobians take of all rows together; factors that it
            shares with other parameters count for each.

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
    n_bytes: int


@dataclass(frozen=True)
class Explanation:
    """The ways of all parameters; printing it shows a table.

    Attributes:
        ways: one for each parameter array, in the order of the pytree's leaves.
        n_outputs: number of outputs c.
        is_traced: whether the plan is for the traced kernel.
        n_rows: number of rows n that are meant.
        seconds: predicted time of the kernel of these rows, once compiled, on all cores.
        n_bytes: predicted memory of the kernel and all that is held beside it.
        jacobian_seconds: predicted time if the Jacobian of every parameter were formed.
        jacobian_bytes: predicted memory in that case.
        has_measured_rates: whether the rates behind these predictions are those of this
            device (`measure_rates`) rather than the package's.

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
    n_rows: int
    seconds: float
    n_bytes: int
    jacobian_seconds: float
    jacobian_bytes: int
    has_measured_rates: bool

    def __getitem__(self, name: str) -> Way:
        """The way of the parameter of that name."""
        for way in self.ways:
            if way.name == name:
                return way
        raise KeyError(name)

    def __str__(self) -> str:
        """The ways as a table."""
        rows = [("parameter", "shape", "way", "cost", "of Jacobians", "memory", "why")]
        rows += [
            (w.name, str(w.shape), w.kind, f"{w.cost:,}", f"{w.jacobian_cost:,}",
             spelled(w.n_bytes), w.reason)
            for w in self.ways
        ]  # fmt: skip
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        total = sum(way.cost for way in self.ways)
        whole = sum(way.jacobian_cost for way in self.ways)
        kind = "traced" if self.is_traced else "full"
        lines = [
            "  ".join(
                cell.rjust(width) if 3 <= k <= 5 else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.append(
            f"{kind} kernel of {self.n_outputs} outputs: {total:,} multiplications for each pair "
            f"of rows, {whole:,} with Jacobians"
        )
        rates = "this device" if self.has_measured_rates else "the package (see measure_rates)"
        lines.append(
            f"predicted for {self.n_rows} rows: {self.seconds:.2g} s and {spelled(self.n_bytes)}; "
            f"with Jacobians {self.jacobian_seconds:.2g} s and {spelled(self.jacobian_bytes)}; by "
            f"the rates of {rates}"
        )
        return "\n".join(lines)


def explanation(
    plan: Plan,
    leaves: Sequence[tuple[str, tuple[int, ...], bool]],
    predictions: tuple[Prediction, Prediction],
    *,
    traced: bool,
    n_rows: int,
    has_measured_rates: bool,
) -> Explanation:
    """Put a plan into words.

    Args:
        plan: the plan.
        leaves: of each parameter array its name, its shape, and whether it is one of the
            plan's, which have a derivative.
        predictions: for the plan, and for Jacobians of every parameter.
        traced: whether the plan is for the traced kernel.
        n_rows: for how many rows.
        has_measured_rates: whether the predictions are by rates of this device.
    """
    params = itertools.count()
    ways = tuple(
        _way(plan, next(params), name, traced=traced, n_rows=n_rows)
        if moves
        else _unused(name, shape)
        for name, shape, moves in leaves
    )
    own, by_jacobians = predictions
    return Explanation(
        ways,
        plan.n_outputs,
        traced,
        n_rows,
        own.seconds,
        own.bytes,
        by_jacobians.seconds,
        by_jacobians.bytes,
        has_measured_rates,
    )


def _unused(name: str, shape: tuple[int, ...]) -> Way:
    return Way(name, shape, "unused", "no gradient reaches it", 0, 0, 0)


def _way(plan: Plan, param: int, name: str, *, traced: bool, n_rows: int) -> Way:
    shape = plan.program.shapes[plan.program.inputs[param]].shape
    c, size = plan.n_outputs, int(np.prod(shape))
    dear = jacobian_cost(size, c, traced)
    if not plan.entries.is_used[param]:
        return _unused(name, shape)
    members = plan.structured(param)
    item = product_dtype(plan.program).itemsize
    if not members:
        is_constant = dict(zip(plan.explicit, plan.constant, strict=False)).get(param, False)
        cost = 0 if is_constant else dear
        held = item * c * size * (1 if is_constant else n_rows)
        return Way(name, shape, "jacobian", _why_jacobian(plan, param), cost, dear, held)
    groups = (*plan.groups, *plan.formed)
    cost = structured_cost(groups, plan.crosses, param, c=c, traced=traced)
    sizes = [way.size for way in plan.bottlenecks if way.param == param]
    cost += jacobian_cost(2 * sum(sizes), c, traced)
    kinds = "+".join(dict.fromkeys(m.kind for _, m in members))
    formed = [g for g in groups if g.forms_jacobians for m in g.members if m.param == param]
    reason = _why_structured(members) + (f", {len(formed)} uses as Jacobians" if formed else "")
    numbers = sum(factor_numbers(g, m, c) for g, m in members)
    numbers += sum(g.n_batches * g.n_units * g.members[0].n_inner * c for g in formed)
    return Way(
        name, shape, kinds, reason, cost, dear, n_rows * item * (numbers + 2 * c * sum(sizes))
    )


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
