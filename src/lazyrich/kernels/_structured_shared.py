"""Parameters that enter several times: the products between different entries.

The Jacobian of a shared parameter is a sum over its entries, and the kernel holds the
products of all pairs of them. Two entries through the same matrix, or through a matrix
and its transpose (a tied embedding), can be multiplied without forming Jacobians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._trace import Program
from ._trace_sites import Site


@dataclass(frozen=True)
class Cross:
    """A pair of different entries of one parameter.

    Attributes:
        left: group and member of the entry on the left.
        right: group and member of the entry on the right.
        is_transposed: whether the units of one are the contracted axes of the other.
    """

    left: tuple[int, int]
    right: tuple[int, int]
    is_transposed: bool


def orientation(program: Program, left: Site, right: Site) -> bool | None:
    """Whether two entries are transposed to each other; None if they are not comparable."""
    if "addition" in (left.kind, right.kind):
        return None
    if "batch" in left.roles or "batch" in right.roles:
        return None
    first, second = _places(program, left), _places(program, right)
    if first.shape == second.shape and (first == second).all():
        return False
    if first.shape == second.T.shape and (first == second.T).all():
        return True
    return None


def cross_cost(program: Program, left: Site, right: Site, pairs: int, c: int) -> int:
    """Multiplications for each pair of rows and of the c (or c², in full) outputs."""
    units, inner = _places(program, left).shape
    return pairs * (c * (units + inner) + c * c)


def cross_term(
    sites: tuple[Site, Site],
    cotangents: tuple[Array, Array],
    activations: tuple[Array, Array],
    *,
    is_transposed: bool,
    is_traced: bool,
) -> Array:
    """Σ over the parameter of one entry's Jacobian times the other's, (i, j[, c, d]).

    Args:
        sites: the two entries.
        cotangents: g of both, (rows, c, positions, units).
        activations: h of both, (rows, positions, k), with their scales; the indices
            (rows, positions) of a lookup.
        is_transposed: see `Cross`.
        is_traced: whether to sum over equal outputs.
    """
    g, f = cotangents
    h, e = (
        jax.nn.one_hot(a, site.n_table, dtype=g.dtype) if a.ndim == 2 else a
        for a, site in zip(activations, sites, strict=True)
    )
    outputs = "icjtu,ijctu->ij" if is_traced else "icjtu,ijdtu->ijcd"
    if is_transposed:
        near = jnp.einsum("icto,juo->icjtu", g, e)
        far = jnp.einsum("itk,jduk->ijdtu", h, f)
        return jnp.einsum(outputs, near, far)
    kernel = jnp.einsum("itk,juk->ijtu", h, e)
    mixed = jnp.einsum("ijtu,jduo->ijdto", kernel, f)
    pattern = "icto,ijcto->ij" if is_traced else "icto,ijdto->ijcd"
    return jnp.einsum(pattern, g, mixed)


def all_pairs(sites: Sequence[tuple[tuple[int, int], Site]], program: Program) -> list[Cross]:
    """Both orders of every pair of different entries of one parameter."""
    crosses = []
    for left, first in sites:
        for right, second in sites:
            turned = orientation(program, first, second) if left != right else None
            if turned is not None:
                crosses.append(Cross(left, right, turned))
    return crosses


def _places(program: Program, site: Site) -> np.ndarray:
    """Which parameter entries act, (units, contracted), in the order of the factors."""
    places = site.view.places(program)
    assert site.unit_axes is not None
    units = [site.unit_axes[label] for label in site.axes if label in site.unit_axes]
    short = [a for a in range(places.ndim) if a not in units and a not in site.inner_axes]
    n_units = int(np.prod([places.shape[axis] for axis in units]))
    return places.transpose(*units, *site.inner_axes, *short).reshape(n_units, -1)
