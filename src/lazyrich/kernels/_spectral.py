"""Eigenvalues of a kernel, and its inverse where it has one.

A measured kernel is known to rounding only, so an eigenvalue far below the largest is
not told apart from zero. One rule for the whole room: modes at or below
``cutoff × λ_max`` are the kernel's null space, and nothing is ever learned there.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, ScalarLike

from lazyrich._ground import real_scalars

from ._arrays import NEGATIVE, default_cutoff, kernel_arrays
from ._checks import require_nonnegative


class ConditionReport(NamedTuple):
    """How far the inverse of a kernel can be trusted.

    Attributes:
        largest: λ_max, in the kernel's units.
        smallest: λ_min; clearly negative only if the matrix is no kernel.
        cutoff: eigenvalues at or below this are treated as zero, in the kernel's units.
        rank: how many eigenvalues are above the cutoff.
        condition_number: (λ_max + ridge) / (λ_min,kept + ridge) over the kept modes;
            the whole matrix's if ridge is above the cutoff. At least 1.
        is_singular: whether modes are dropped, so that ridgeless regression does not
            pass through every target.
        is_psd: whether no eigenvalue is below −cutoff.
    """

    largest: Float[Array, "*b"]
    smallest: Float[Array, "*b"]
    cutoff: Float[Array, "*b"]
    rank: Int[Array, "*b"]
    condition_number: Float[Array, "*b"]
    is_singular: Bool[Array, "*b"]
    is_psd: Bool[Array, "*b"]


def scalars_of(
    kernel: Any, matrix: Array, ridge: ScalarLike, cutoff: ScalarLike | None
) -> tuple[Array, Array]:
    """Ridge and cutoff in the matrix's type; the default cutoff is of the kernel as given.

    Raises:
        InputError: if one of them is negative, not finite or not a single number.
    """
    require_nonnegative(ridge=ridge, cutoff=cutoff)
    if cutoff is None:
        cutoff = default_cutoff(kernel, matrix)
    ridge, cutoff = real_scalars(matrix, ridge=ridge, cutoff=cutoff)
    return ridge, cutoff


def decompose(kernel: Array, cutoff: ScalarLike) -> tuple[Array, Array]:
    """Eigenvalues (ascending) and eigenvectors of a symmetric kernel.

    A kernel that was traced could not be refused: both are NaN if it is not finite, or
    has negative eigenvalues beyond rounding.
    """
    is_finite = jnp.isfinite(kernel).all()
    eigenvalues, vectors = jnp.linalg.eigh(jnp.where(is_finite, kernel, 0))
    allowed = jnp.maximum(
        NEGATIVE * jnp.linalg.norm(eigenvalues), cutoff * jnp.maximum(eigenvalues[-1], 0)
    )
    is_sound = is_finite & (eigenvalues[0] >= -allowed)
    nan = jnp.where(is_sound, 0, jnp.nan).astype(kernel.dtype)
    return eigenvalues + nan, vectors + nan


def eigenmodes(kernel: Array, cutoff: ScalarLike) -> tuple[Array, Array, Array]:
    """Eigenvalues (ascending, null modes exactly zero), eigenvectors, which modes count."""
    eigenvalues, vectors = decompose(kernel, cutoff)
    null = eigenvalues <= cutoff * jnp.maximum(eigenvalues[-1], 0)
    return jnp.where(null, 0, eigenvalues), vectors, ~null


def inverse_weights(eigenvalues: Array, kept: Array, ridge: Array, cutoff: Array) -> Array:
    """1/(λ + ridge) on every mode that can be inverted, zero on the others."""
    shifted = eigenvalues + ridge
    can = kept | (shifted > cutoff * (eigenvalues[-1] + ridge))
    return jnp.where(can, 1 / jnp.where(can, shifted, 1), 0)


@jax.custom_jvp
def regularised_inverse(kernel: Array, ridge: Array, cutoff: Array) -> Array:
    """(K + ridge·I)⁻¹, a pseudo-inverse where that is singular."""
    eigenvalues, vectors, kept = eigenmodes(kernel, cutoff)
    return (vectors * inverse_weights(eigenvalues, kept, ridge, cutoff)) @ vectors.T


@regularised_inverse.defjvp
def _regularised_inverse_jvp(primals, tangents):
    """The derivative of the spectral function by its divided differences.

    Differentiating eigenvectors would divide by differences of eigenvalues, which are
    zero for every degenerate pair; the inverse itself is smooth there.
    """
    kernel, ridge, cutoff = primals
    dkernel, dridge, _ = tangents
    eigenvalues, vectors, kept = eigenmodes(kernel, cutoff)
    weights = inverse_weights(eigenvalues, kept, ridge, cutoff)
    on = weights > 0
    # Both modes inverted: −1/(λᵢλⱼ). One of them null (λ = 0): 1/λᵢ². Both null: 0.
    safe = jnp.where(on, eigenvalues, 1)
    mixed = jnp.where(on, weights / safe, 0)
    slopes = jnp.where(
        on[:, None] & on[None, :],
        -weights[:, None] * weights[None, :],
        jnp.where(on[:, None], mixed[:, None], mixed[None, :]) * (on[:, None] ^ on[None, :]),
    )
    rotated = vectors.T @ ((dkernel + dkernel.T) / 2) @ vectors
    change = vectors @ (slopes * rotated) @ vectors.T
    shift = (vectors * (-(weights**2) * dridge)) @ vectors.T
    return (vectors * weights) @ vectors.T, change + shift


@jax.jit
def invert(kernel: Array, ridge: Array, cutoff: Array) -> Array:
    """The room's one inverse of a kernel, ridge and cutoff in the kernel's dtype."""
    return regularised_inverse((kernel + kernel.T) / 2, ridge, cutoff)


@jax.jit
def null_space(kernel: Array, ridge: Array, cutoff: Array) -> Array:
    """The eigenvectors that ``invert`` leaves out, the other columns zero; no gradient."""
    symmetric = jax.lax.stop_gradient((kernel + kernel.T) / 2)
    eigenvalues, vectors, kept = eigenmodes(symmetric, cutoff)
    weights = inverse_weights(eigenvalues, kept, ridge, cutoff)
    return vectors * (weights == 0)


def condition_report(
    kernel: Float[Array, "n n"], *, ridge: ScalarLike = 0.0, cutoff: ScalarLike | None = None
) -> ConditionReport:
    """Rank, extreme eigenvalues and condition number of a kernel before it is inverted.

    Args:
        kernel: K, symmetric.
        ridge: what is added to the diagonal, in the kernel's units.
        cutoff: relative to the largest eigenvalue; None means ten times the machine epsilon of
            the kernel's dtype, below which rounding alone makes eigenvalues.

    Returns:
        A ConditionReport; a zero kernel has rank 0 and condition number NaN unless
        there is a ridge.

    Raises:
        InputError: if the kernel is not square, not finite or not symmetric, or ridge or
            cutoff is negative.

    Example:
        >>> report = condition_report(jnp.diag(jnp.array([4.0, 1.0, 0.0])))
        >>> int(report.rank), float(report.condition_number), bool(report.is_singular)
        (2, 4.0, True)
    """
    [matrix] = kernel_arrays(kernel, is_definite=False)
    return _report(matrix, *scalars_of(kernel, matrix, ridge, cutoff))


@jax.jit
def _report(kernel: Array, ridge: Array, relative: Array) -> ConditionReport:
    eigenvalues = jnp.linalg.eigvalsh((kernel + kernel.T) / 2)
    largest, smallest = eigenvalues[-1], eigenvalues[0]
    absolute = relative * jnp.maximum(largest, 0)
    kept = eigenvalues > absolute
    weights = inverse_weights(jnp.where(kept, eigenvalues, 0), kept, ridge, relative)
    return ConditionReport(
        largest=largest,
        smallest=smallest,
        cutoff=absolute,
        rank=kept.sum(),
        condition_number=jnp.where(
            (weights > 0).any(), (jnp.maximum(largest, 0) + ridge) * weights.max(), jnp.nan
        ),
        is_singular=(weights == 0).any(),
        is_psd=smallest >= -absolute,
    )
