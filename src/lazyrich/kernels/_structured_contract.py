"""From factors to the kernel of two sets of rows.

Letters: i, j rows; c, d outputs; b batches; t, u positions; o units; k contracted.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._structured import Factors
from ._structured_plan import Group, Member, Plan
from ._structured_shared import Cross, cross_term


def contract(plan: Plan, left: Factors, right: Factors, *, traced: bool) -> Array | None:
    """The kernel of some rows against others.

    Args:
        plan: the plan that made the factors.
        left: factors of the rows i.
        right: factors of the rows j.
        traced: whether to sum over equal outputs.

    Returns:
        Θ, (i, j) if traced, else (i, j, c, d); None if no parameter reaches the output.
        Axes of rows of length one stand for terms that are the same for every pair.
    """
    # Accelerators would round the factors to fewer digits; the kernel is to be exact.
    with jax.default_matmul_precision("highest"):
        terms = (_traced_terms if traced else _full_terms)(plan, left, right)
        terms += [_cross(plan, cross, left, right, traced=traced) for cross in plan.crosses]
    return sum(terms[1:], terms[0]) if terms else None


def _traced_terms(plan: Plan, left: Factors, right: Factors) -> list[Array]:
    terms = []
    for k, group in enumerate(plan.groups):
        g, h = left.cotangents[k], right.cotangents[k]
        kernel = _activation_kernel(group, k, left, right)
        if group.is_constant:
            weights = jnp.einsum("cbto,cbuo->btu", g, h)
            terms.append(jnp.einsum("ijbtu,btu->ij", kernel, weights))
        elif group.is_plain:
            terms.append(kernel[:, :, 0, 0, 0] * _gram(g, h))
        else:
            pairs = jnp.einsum("icbto,jcbuo->ijbtu", g, h)
            terms.append((kernel * pairs).sum((2, 3, 4)))
    for k, param in enumerate(plan.explicit):
        g, h = left.jacobians[k], right.jacobians[k]
        terms.append(jnp.vdot(g, h) if param in plan.constant else _gram(g, h))
    return terms


def _full_terms(plan: Plan, left: Factors, right: Factors) -> list[Array]:
    terms = []
    plain = []
    for k, group in enumerate(plan.groups):
        g, h = left.cotangents[k], right.cotangents[k]
        kernel = _activation_kernel(group, k, left, right)
        if group.is_constant:
            weights = jnp.einsum("cbto,dbuo->btucd", g, h)
            terms.append(jnp.tensordot(kernel, weights, 3))
        elif group.is_plain:
            pairs = jnp.einsum("ico,jdo->icjd", g[:, :, 0, 0], h[:, :, 0, 0])
            plain.append(kernel[:, :, 0, 0, 0][:, None, :, None] * pairs)
        else:
            mixed = _mix(kernel, h)
            plain.append(jnp.einsum("icbto,ijdbto->icjd", g, mixed))
    for k, param in enumerate(plan.explicit):
        g, h = left.jacobians[k], right.jacobians[k]
        if param in plan.constant:
            terms.append((g @ h.T)[None, None])
        else:
            plain.append(jnp.einsum("icp,jdp->icjd", g, h))
    if plain:
        terms.append(sum(plain[1:], plain[0]).transpose(0, 2, 1, 3))
    return terms


def _cross(plan: Plan, cross: Cross, left: Factors, right: Factors, *, traced: bool) -> Array:
    sides = []
    for factors, (k, m) in ((left, cross.left), (right, cross.right)):
        group, site = plan.groups[k], plan.groups[k].members[m].site
        h, weight = factors.activations[k][m], factors.weights[k][m]
        assert h is not None
        h = h if site.kind == "lookup" else h[:, 0]
        g = factors.cotangents[k][..., 0, :, :]
        if group.is_constant:
            g = jnp.broadcast_to(g, (len(h), *g.shape))
        scale = site.scale.sign if weight is None else weight[:, None, None, None]
        sides.append((site, g * scale, h))
    sites, cotangents, activations = zip(*sides, strict=True)
    return cross_term(
        sites, cotangents, activations, is_transposed=cross.is_transposed, is_traced=traced
    )


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
        g, h = left.activations[k][m], right.activations[k][m]
        term = _member_kernel(group, member, g, h, left.cotangents[0].dtype)
        v, w = left.weights[k][m], right.weights[k][m]
        if v is not None and w is not None:
            term = term * (v[:, None] * w)[:, :, None, None, None]
        total = term if total is None else total + term
    assert total is not None
    return total


def _member_kernel(
    group: Group, member: Member, left: Array | None, right: Array | None, dtype: jnp.dtype
) -> Array:
    if left is None or right is None:
        assert member.same is not None
        return jnp.asarray(member.same[np.ix_(group.live, group.live)], dtype)[None, None, None]
    if member.site.kind == "lookup":
        first = left[:, None, :, None]
        equal = (first == right[None, :, None, :]) & (first >= 0)
        return equal[:, :, None].astype(dtype)
    if group.is_plain:
        return _gram(left, right)[:, :, None, None, None]
    return jnp.einsum("ibtk,jbuk->ijbtu", left, right)
