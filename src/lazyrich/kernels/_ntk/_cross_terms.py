"""Products between two uses of one parameter that share some of its entries.

The letters are those of the contraction; c, t, o, k belong to the left use. If the uses
are turned, the cotangent of each meets the activation of the other.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._factors import Factors
from ._plan import Cross, Plan


class _Side(NamedTuple):
    """One use: g (rows, c, positions, units), h (rows, positions, k), or numbers of table
    rows (rows, positions) with −1 for none, and how many table rows there are.
    """

    g: Array
    h: Array
    n_table: int


def cross_term(plan: Plan, cross: Cross, left: Factors, right: Factors, *, traced: bool) -> Array:
    """Σ over the shared parameter entries of one use's Jacobian times the other's.

    Returns:
        (i, j) if traced, else (i, c, j, d).
    """
    first = _side(plan, *cross.left, left)
    second = _side(plan, *cross.right, right)
    (units, inner), (other_units, other_inner) = cross.overlap.left, cross.overlap.right
    if cross.overlap.is_turned:
        near = _cotangents_with(first.g, units, second, other_units)
        far = _cotangents_with(second.g, other_inner, first, inner)
        outputs = "icjtu,jciut->ij" if traced else "icjtu,jdiut->icjd"
        return jnp.einsum(outputs, near, far)
    kernel = _kernel(first, inner, second, other_inner)
    g, f = _chosen(first.g, units, 3), _chosen(second.g, other_units, 3)
    if traced:
        return jnp.einsum("ijtu,ijtu->ij", kernel, jnp.einsum("icto,jcuo->ijtu", g, f))
    pairs = jnp.einsum("icto,jduo->icjdtu", g, f)
    return (kernel[:, None, :, None] * pairs).sum((4, 5))


def _side(plan: Plan, k: int, m: int, factors: Factors) -> _Side:
    """A member's factors, with its weights in the cotangents and depth as more positions."""
    group = plan.groups[k]
    member = group.members[m]
    h, weights = factors.activations[k][m], factors.weights[k][m]
    assert h is not None
    g = jnp.broadcast_to(factors.cotangents[k], (len(h), *factors.cotangents[k].shape[-4:]))
    g = g[:, :, 0]
    if member.kind == "contraction":
        return _Side(g, h[:, 0], 0)
    if weights is not None:
        g = jnp.concatenate([g * weights[:, None, n, :, None] for n in range(h.shape[1])], 2)
    elif h.shape[1] > 1:
        g = jnp.concatenate([g] * h.shape[1], 2)
    return _Side(g, h.reshape(len(h), -1), member.entries[0].site.n_table)


def _chosen(values: Array, indices: np.ndarray, axis: int) -> Array:
    """Some entries along an axis; all of them as they are."""
    if len(indices) == values.shape[axis] and (indices == np.arange(len(indices))).all():
        return values
    return jnp.take(values, indices, axis)


def _cotangents_with(g: Array, units: np.ndarray, other: _Side, inner: np.ndarray) -> Array:
    """Σ over shared entries of the cotangent of one use and the activation of the other.

    Returns:
        (i, c, j, t, u) for g (i, c, t, o) and the other's activation (j, u, k).
    """
    if not other.n_table:
        return jnp.einsum("icto,juo->icjtu", _chosen(g, units, 3), _chosen(other.h, inner, 2))
    return jnp.moveaxis(_looked_up(g, units, other, inner), (3, 4), (2, 4))


def _looked_up(values: Array, places: np.ndarray, other: _Side, inner: np.ndarray) -> Array:
    """Entries of (..., o) for the table rows (j, u) that were read, (..., j, u).

    Rows ``inner`` of the table stand at ``places`` of the values, others nowhere.
    """
    where = np.full(other.n_table + 1, -1)
    where[inner] = places
    chosen = jnp.asarray(where)[other.h]
    return jnp.where(chosen >= 0, jnp.take(values, jnp.maximum(chosen, 0), -1), 0)


def _kernel(first: _Side, inner: np.ndarray, second: _Side, other_inner: np.ndarray) -> Array:
    """Σ over shared entries of both activations, (i, j, t, u)."""
    if first.n_table and second.n_table:
        ids = []
        for side, rows in ((first, inner), (second, other_inner)):
            names = np.full(side.n_table + 1, -1)
            names[rows] = np.arange(len(rows))
            ids.append(jnp.asarray(names)[side.h])
        equal = ids[0][:, None, :, None] == ids[1][None, :, None, :]
        return (equal & (ids[0][:, None, :, None] >= 0)).astype(first.g.dtype)
    if second.n_table:
        return _looked_up(first.h, inner, second, other_inner).transpose(0, 2, 1, 3)
    if first.n_table:
        return _looked_up(second.h, other_inner, first, inner).transpose(2, 0, 3, 1)
    h, e = _chosen(first.h, inner, 2), _chosen(second.h, other_inner, 2)
    return jnp.einsum("itk,juk->ijtu", h, e)
