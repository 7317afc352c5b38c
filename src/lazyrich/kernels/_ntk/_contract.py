"""From factors to the kernel of two sets of rows.

Letters: i, j rows; c, d outputs; b batches; t, u positions; o units; k contracted; m, n
entries at one position.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._cross_terms import cross_term
from ._factors import Factors, addition_ids
from ._plan import Group, Member, Plan, multiplies_cotangents_first

# What the parts of two sets of Jacobians may take that are held at once.
_JACOBIAN_BYTES = 128 * 2**20
_MOST_PAIRS = 16


def contract(
    plan: Plan,
    left: Factors,
    right: Factors,
    *,
    traced: bool,
    jacobian_bytes: int | None = None,
) -> Array | None:
    """The kernel of some rows against others.

    Args:
        plan: the plan that made the factors.
        left: factors of the rows i.
        right: factors of the rows j.
        traced: whether to sum over equal outputs.
        jacobian_bytes: what the parts of two sets of Jacobians may take that are held at
            once; None takes what is fast.

    Returns:
        Θ, (i, j) if traced, else (i, j, c, d); None if no parameter reaches the output.
        Axes of rows of length one stand for terms that are the same for every pair.
    """
    paired, rest = [], []
    # Accelerators would round the factors to fewer digits; the kernel is to be exact.
    with jax.default_matmul_precision("highest"):
        for k, group in enumerate(plan.groups):
            if group.is_constant and not group.forms_jacobians:
                rest.append(_constant_term(plan, k, left, right, traced=traced))
            else:
                most = min(_JACOBIAN_BYTES, jacobian_bytes or _JACOBIAN_BYTES)
                paired.append(_group_term(plan, k, left, right, traced=traced, most=most))
        for g, f, is_constant in zip(left.jacobians, right.jacobians, plan.constant, strict=True):
            if is_constant:
                rest.append(jnp.vdot(g, f) if traced else (g @ f.T)[None, None])
            else:
                paired.append(_product(g, f, traced=traced))
        for a, b in zip(left.bottlenecks, right.bottlenecks, strict=True):
            paired.append(_product(a[:, 0], b[:, 1], traced=traced))
            paired.append(_product(a[:, 1], b[:, 0], traced=traced))
        paired += [cross_term(plan, cross, left, right, traced=traced) for cross in plan.crosses]
    if paired:
        total = sum(paired[1:], paired[0])
        rest.append(total if traced else total.transpose(0, 2, 1, 3))
    return sum(rest[1:], rest[0]) if rest else None


def _constant_term(plan: Plan, k: int, left: Factors, right: Factors, *, traced: bool) -> Array:
    """The term of a group whose cotangents are the same for every row, (i, j[, c, d])."""
    g, f = left.cotangents[k], right.cotangents[k]
    kernel = _activation_kernel(plan.groups[k], k, left, right)
    if traced:
        return jnp.einsum("ijbtu,btu->ij", kernel, jnp.einsum("cbto,cbuo->btu", g, f))
    return jnp.tensordot(kernel, jnp.einsum("cbto,dbuo->btucd", g, f), 3)


def _group_term(
    plan: Plan, k: int, left: Factors, right: Factors, *, traced: bool, most: int
) -> Array:
    """The term of a group, (i, j) if traced, else (i, c, j, d)."""
    group = plan.groups[k]
    if group.forms_jacobians:
        return _by_jacobians(group, k, left, right, traced=traced, most=most)
    g, f = left.cotangents[k], right.cotangents[k]
    kernel = _activation_kernel(group, k, left, right)
    if traced:
        if group.is_plain:
            return kernel[:, :, 0, 0, 0] * _gram(g, f)
        if _is_small(group):
            return _one_by_one(kernel, g, f, _gram)
        return (kernel * jnp.einsum("icbto,jcbuo->ijbtu", g, f)).sum((2, 3, 4))
    if group.is_plain:
        pairs = jnp.einsum("ico,jdo->icjd", g[:, :, 0, 0], f[:, :, 0, 0])
        return kernel[:, :, 0, 0, 0][:, None, :, None] * pairs
    if multiplies_cotangents_first(group, plan.n_outputs):
        kernel = kernel[:, None, :, None]
        if _is_small(group):
            return _one_by_one(kernel, g, f, lambda g, f: jnp.einsum("ico,jdo->icjd", g, f))
        return (kernel * jnp.einsum("icbto,jdbuo->icjdbtu", g, f)).sum((4, 5, 6))
    return jnp.einsum("icbto,ijdbto->icjd", g, _mix(kernel, f))


def _is_small(group: Group) -> bool:
    """Whether pairs of positions are few enough to be multiplied one by one."""
    return group.n_batches * group.n_positions**2 <= _MOST_PAIRS


def _one_by_one(
    kernel: Array, g: Array, f: Array, multiply: Callable[[Array, Array], Array]
) -> Array:
    """Σ over batches and pairs of positions of K (…, b, t, u) times the products of g and f.

    Products of all positions at once would have to be put into another order.
    """
    _, _, batches, positions, _ = g.shape
    terms = [
        kernel[..., b, t, u] * multiply(g[:, :, b, t], f[:, :, b, u])
        for b in range(batches)
        for t in range(positions)
        for u in range(positions)
    ]
    return sum(terms[1:], terms[0])


def _product(g: Array, f: Array, *, traced: bool) -> Array:
    """Two sets of Jacobians, (rows, c, ...), multiplied: (i, j) or (i, c, j, d)."""
    if traced:
        return _gram(g, f)
    g, f = (a.reshape(*a.shape[:2], -1) for a in (g, f))
    return jnp.einsum("icp,jdp->icjd", g, f)


def _by_jacobians(
    group: Group, k: int, left: Factors, right: Factors, *, traced: bool, most: int
) -> Array:
    """A group's term by its Jacobians, of so many units at a time as fit into ``most`` bytes."""
    sides = []
    for factors in (left, right):
        g, h = factors.cotangents[k], factors.activations[k][0]
        assert h is not None
        sides.append((jnp.broadcast_to(g, (len(h), *g.shape[-4:])), h))
    (g, h), (f, e) = sides
    is_same = left is right
    unit_bytes = g.itemsize * group.n_batches * group.members[0].n_inner * g.shape[1]
    n_units = max(1, most // (unit_bytes * (len(g) + len(f))))
    n_parts = -(-group.n_units // n_units)
    size = -(-group.n_units // n_parts)

    def part(g: Array, h: Array) -> Array:
        return jnp.einsum("icbto,ibtk->icbok", g, h)

    if n_parts == 1:
        first = part(g, h)
        return _product(first, first if is_same else part(f, e), traced=traced)
    missing = n_parts * size - group.n_units
    g, f = (
        jnp.moveaxis(
            jnp.pad(a, [(0, 0)] * 4 + [(0, missing)]).reshape(*a.shape[:-1], n_parts, size), -2, 0
        )
        for a in (g, f)
    )

    def add(k: Array, total: Array) -> Array:
        first = part(g[k], h)
        return total + _product(first, first if is_same else part(f[k], e), traced=traced)

    start = jax.eval_shape(lambda: add(jnp.zeros((), int), jnp.zeros(())))
    return jax.lax.fori_loop(0, n_parts, add, jnp.zeros(start.shape, start.dtype))


def _mix(kernel: Array, cotangents: Array) -> Array:
    """Σ_u K[i,j,b,t,u] g[j,d,b,u,o] as (i, j, d, b, t, o)."""
    n_positions = kernel.shape[-1]
    if n_positions > 8:
        return jnp.einsum("ijbtu,jdbuo->ijdbto", kernel, cotangents)
    # A sum over few positions is faster as one fused loop than as tiny matrix products.
    terms = [
        kernel[:, :, None, :, :, u, None] * cotangents[None, :, :, :, u, None]
        for u in range(n_positions)
    ]
    return sum(terms[1:], terms[0])


def _gram(left: Array, right: Array) -> Array:
    return left.reshape(len(left), -1) @ right.reshape(len(right), -1).T


def _activation_kernel(group: Group, k: int, left: Factors, right: Factors) -> Array:
    """What multiplies the cotangents' products, (i, j, b, t, u)."""
    total = None
    for m, member in enumerate(group.members):
        if member.kind == "contraction":
            g, h = left.activations[k][m], right.activations[k][m]
            assert g is not None
            assert h is not None
            term = (
                _gram(g, h)[:, :, None, None, None]
                if group.is_plain
                else jnp.einsum("ibtk,jbuk->ijbtu", g, h)
            )
        else:
            sides = (left, right)
            term = _index_kernel(
                group, member, *[(s.activations[k][m], s.weights[k][m]) for s in sides]
            )
            term = term.astype(left.cotangents[k].dtype)
        total = term if total is None else total + term
    assert total is not None
    return total


def _index_kernel(group: Group, member: Member, *sides: tuple[Array | None, Array | None]) -> Array:
    """For two positions, how often they use the same parameter entries, (i, j, 1, t, u)."""
    (rows, v), (others, w) = sides
    if rows is None or others is None:
        rows = others = addition_ids(group, member)[None]
    others = jnp.where(others < 0, -2, others)  # none is not equal to none
    equal = rows[:, None, :, None, :, None] == others[None, :, None, :, None, :]
    if v is not None and w is not None:
        equal = equal * v[:, None, :, None, :, None] * w[None, :, None, :, None, :]
    return (equal.sum((2, 3)) if member.depth() > 1 else equal[:, :, 0, 0])[:, :, None]
