"""The inverse of a kernel where it has one, with one rule for its null space.

A measured kernel is known to rounding only, so an eigenvalue far below the largest cannot be
distinguished from zero. Eigenvalues at or below ``cutoff × λ_max`` belong to the null space, on
which the pseudo-inverse is zero.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, ScalarLike

from lazyrich._base import InputError, full_precision, given_rounding

NEGATIVE = 1e-4
"""The most negative eigenvalue relative to ‖K‖_F that rounding explains: a thousand times
float32's."""


def rounding_cutoff(given: object, matrix: Float[Array, "n n"]) -> float:
    """Ten times the rounding of a kernel, as it was given and as it is computed with.

    Rounding lifts null eigenvalues to 0.3–1.7 times epsilon·λ_max (committee machine, 550
    and 1000 rows, both precisions). The common n·epsilon would, in single precision, drop
    quadratic modes that Figure 1's kernel does have at 10⁻⁵ of the largest.

    Args:
        given: the kernel, or numbers that it was computed from, in the type they came in.
        matrix: the kernel in the type of the computation.

    Returns:
        The cutoff relative to λ_max: 2.2e-15 in float64, 1.2e-6 in float32, more for half types.

    Raises:
        InputError: if the numbers are of a type of eight bits, whose rounding is above λ_max.

    Example:
        >>> float(f"{rounding_cutoff([[1]], jnp.eye(1, dtype=jnp.float32)):.1e}")
        1.2e-06
    """
    cutoff = 10 * max(given_rounding(given), float(jnp.finfo(matrix.dtype).eps))
    if cutoff >= 1:
        raise InputError(
            f"The numbers are of the type {getattr(given, 'dtype', 'given')}, too coarse to tell "
            "eigenvalues from rounding; compute them in half precision or better."
        )
    return cutoff


def decompose(
    kernel: Float[Array, "n n"], cutoff: ScalarLike
) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues (ascending) and eigenvectors of a symmetric kernel.

    A kernel that is being traced could not be refused: both are NaN if it is not finite, or
    has negative eigenvalues beyond rounding.

    Args:
        kernel: K, symmetric.
        cutoff: relative to λ_max; negative eigenvalues of this size are allowed.

    Returns:
        λ (n,), in the kernel's units, and one eigenvector a column (n, n).

    Example:
        >>> decompose(jnp.diag(jnp.array([4.0, 1.0])), 1e-6)[0].tolist()
        [1.0, 4.0]
    """
    is_finite = jnp.isfinite(kernel).all()
    eigenvalues, vectors = jnp.linalg.eigh(jnp.where(is_finite, kernel, 0))
    allowed = jnp.maximum(
        NEGATIVE * jnp.linalg.norm(eigenvalues), cutoff * jnp.maximum(eigenvalues[-1], 0)
    )
    is_sound = is_finite & (eigenvalues[0] >= -allowed)
    nan = jnp.where(is_sound, 0, jnp.nan).astype(kernel.dtype)
    return eigenvalues + nan, vectors + nan


def eigenmodes(
    kernel: Float[Array, "n n"], cutoff: ScalarLike
) -> tuple[Float[Array, " n"], Float[Array, "n n"], Bool[Array, " n"]]:
    """Eigenvalues and eigenvectors of a kernel, and which of them are not null.

    Args:
        kernel: K, symmetric.
        cutoff: relative to λ_max.

    Returns:
        λ (n,), ascending, null ones exactly zero; one eigenvector a column (n, n); whether
        each eigenvalue is above the cutoff (n,). NaN as ``decompose``.

    Example:
        >>> eigenvalues, _, is_kept = eigenmodes(jnp.diag(jnp.array([1.0, 1e-9])), 1e-6)
        >>> eigenvalues.tolist(), is_kept.tolist()
        ([0.0, 1.0], [False, True])
    """
    eigenvalues, vectors = decompose(kernel, cutoff)
    null = eigenvalues <= cutoff * jnp.maximum(eigenvalues[-1], 0)
    return jnp.where(null, 0, eigenvalues), vectors, ~null


def inverse_eigenvalues(
    eigenvalues: Float[Array, " n"],
    is_kept: Bool[Array, " n"],
    ridge: ScalarLike,
    cutoff: ScalarLike,
) -> Float[Array, " n"]:
    """1/(λ + ridge) where that can be inverted, zero elsewhere.

    Args:
        eigenvalues: λ, ascending, from ``eigenmodes``.
        is_kept: whether each is above the cutoff.
        ridge: added to every eigenvalue, in the kernel's units.
        cutoff: relative to λ_max + ridge; a null eigenvalue counts where the ridge is above it.

    Returns:
        The eigenvalues of the pseudo-inverse, in the kernel's inverse units.

    Example:
        >>> eigenvalues, is_kept = jnp.array([0.0, 2.0]), jnp.array([False, True])
        >>> inverse_eigenvalues(eigenvalues, is_kept, 0.0, 1e-6).tolist()
        [0.0, 0.5]
    """
    shifted = eigenvalues + ridge
    can = is_kept | (shifted > cutoff * (eigenvalues[-1] + ridge))
    return jnp.where(can, 1 / jnp.where(can, shifted, 1), 0)


@jax.custom_jvp
def _regularised_inverse(kernel: Array, ridge: Array, cutoff: Array) -> Array:
    """(K + ridge·I)⁻¹, a pseudo-inverse where that is singular."""
    eigenvalues, vectors, is_kept = eigenmodes(kernel, cutoff)
    return (vectors * inverse_eigenvalues(eigenvalues, is_kept, ridge, cutoff)) @ vectors.T


@_regularised_inverse.defjvp
def _regularised_inverse_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """The derivative of the spectral function by its divided differences.

    Differentiating eigenvectors would divide by differences of eigenvalues, which are
    zero for every degenerate pair; the inverse itself is smooth there.
    """
    kernel, ridge, cutoff = primals
    dkernel, dridge, _ = tangents
    eigenvalues, vectors, is_kept = eigenmodes(kernel, cutoff)
    weights = inverse_eigenvalues(eigenvalues, is_kept, ridge, cutoff)
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
@full_precision
def pseudo_inverse(
    kernel: Float[Array, "n n"], ridge: Float[Array, ""], cutoff: Float[Array, ""]
) -> Float[Array, "n n"]:
    """(K + ridge·I)⁻¹ on the modes that can be inverted, zero on the null space.

    Differentiable in kernel and ridge, also where eigenvalues coincide.

    Args:
        kernel: K; its symmetric part is inverted.
        ridge: added to the diagonal, in the kernel's units and dtype.
        cutoff: relative to λ_max, in the kernel's dtype; see ``rounding_cutoff``.

    Returns:
        The pseudo-inverse, symmetric; NaN as ``decompose``, zero for a zero kernel.

    Example:
        >>> zero, cutoff = jnp.array(0.0), jnp.array(1e-6)
        >>> pseudo_inverse(jnp.diag(jnp.array([4.0, 0.0])), zero, cutoff).tolist()
        [[0.25, 0.0], [0.0, 0.0]]
    """
    return _regularised_inverse((kernel + kernel.T) / 2, ridge, cutoff)


@jax.jit
@full_precision
def null_space(
    kernel: Float[Array, "n n"], ridge: Float[Array, ""], cutoff: Float[Array, ""]
) -> Float[Array, "n n"]:
    """The eigenvectors on which ``pseudo_inverse`` is zero; without a gradient.

    Args:
        kernel: K; its symmetric part counts.
        ridge: added to the diagonal, in the kernel's units and dtype.
        cutoff: relative to λ_max, in the kernel's dtype.

    Returns:
        One eigenvector a column; the columns of the other eigenvectors are zero.

    Example:
        >>> zero, cutoff = jnp.array(0.0), jnp.array(1e-6)
        >>> jnp.abs(null_space(jnp.diag(jnp.array([4.0, 0.0])), zero, cutoff)).tolist()
        [[0.0, 0.0], [1.0, 0.0]]
    """
    symmetric = jax.lax.stop_gradient((kernel + kernel.T) / 2)
    eigenvalues, vectors, is_kept = eigenmodes(symmetric, cutoff)
    weights = inverse_eigenvalues(eigenvalues, is_kept, ridge, cutoff)
    return vectors * (weights == 0)
