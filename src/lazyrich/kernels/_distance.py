"""How hard a task is for a kernel, and how far kernel and parameters have moved (§10)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import InputError, full_precision, real_arrays, require_finite
from lazyrich.numerics import null_space, pseudo_inverse

from ._arrays import Scaled, kernel_arrays, scaled_back, unit_of, unit_scaled, within_range
from ._conditioning import scalars_of


def kernel_distance(
    kernel0: Float[Array, "*shape"], kernel: Float[Array, "*shape"]
) -> Float[Array, ""]:
    """The relative movement of a kernel, ‖K − K₀‖_F / ‖K₀‖_F.

    Zero for a lazy network. A mere rescaling counts: K = 2K₀ is at distance 1.

    Args:
        kernel0: K₀, at the start; any shape, such as (n, m) or (n, m, c, c).
        kernel: K, later, on the same points.

    Returns:
        The distance, dimensionless, zero or above; NaN or infinite if K₀ is zero.

    Raises:
        InputError: if the shapes differ, an entry is not finite, or the distance is
            beyond the range of its type.

    Example:
        >>> float(kernel_distance(jnp.eye(4), 2 * jnp.eye(4)))
        1.0
    """
    kernel0, kernel = real_arrays(kernel0=kernel0, kernel=kernel)
    if kernel0.shape != kernel.shape:
        raise InputError(
            f"The kernels have shapes {kernel0.shape} and {kernel.shape}; take both on the same "
            "points."
        )
    require_finite(kernel0=kernel0, kernel=kernel)
    return relative_change([kernel0], [kernel])


def relative_change(starts: Sequence[Array], ends: Sequence[Array]) -> Array:
    """‖end − start‖/‖start‖ over all entries of some arrays.

    Differences and squares of large or small entries leave the type's range, and those of
    half types lose their digits: each side is scaled to entries of order one before it is
    squared.
    """
    return within_range(_relative_change(tuple(starts), tuple(ends)))


@jax.jit
@full_precision
def _relative_change(starts: tuple[Array, ...], ends: tuple[Array, ...]) -> Scaled:
    start, end = (
        jnp.concatenate(
            [jnp.ravel(a).astype(jnp.promote_types(a.dtype, jnp.float32)) for a in side]
        )
        for side in (starts, ends)
    )
    unit = unit_of(start, end)
    change, change_unit = unit_scaled(end / unit - start / unit)
    start, start_unit = unit_scaled(start)
    ratio = jnp.linalg.norm(change) / jnp.linalg.norm(start)
    return scaled_back(ratio, change_unit, unit / start_unit)


def difficulty(
    kernel: Float[Array, "n n"],
    targets: Float[Array, "n *c"],
    *,
    ridge: ScalarLike = 0.0,
    cutoff: ScalarLike | None = None,
) -> Float[Array, ""]:
    """How hard a task is for a kernel, yᵀ(K + ridge·I)⁻¹y, Eq. 8.

    Args:
        kernel: K on the training rows.
        targets: y in label units; several outputs are summed.
        ridge: added to the diagonal, in the kernel's units.
        cutoff: eigenvalues at or below cutoff·λ_max are treated as zero; None means
            ten times the machine epsilon of the kernel's dtype.

    Returns:
        The difficulty in label units² per unit of the kernel, zero or above (zero for
        zero targets); infinite if ridge is zero and the targets have power in the
        kernel's null space (a share of ‖y‖² above the cutoff), because no movement of
        the parameters fits them.

    Raises:
        InputError: if shapes disagree, something is not finite, the kernel is not
            symmetric or not positive semidefinite beyond rounding, ridge or cutoff is
            negative, or the result is beyond the range of its type.

    Example:
        >>> float(difficulty(jnp.diag(jnp.array([4.0, 1.0])), jnp.array([2.0, 3.0])))
        10.0

    References:
        Kumar et al. (2024), Eq. 8.
    """
    matrix, targets = kernel_arrays(kernel, targets)
    misses, power = _difficulty(matrix, targets, *scalars_of(kernel, matrix, ridge, cutoff))
    return jnp.where(misses, jnp.inf, within_range(power))


@jax.jit
@full_precision
def _difficulty(kernel: Array, targets: Array, ridge: Array, cutoff: Array) -> tuple[Array, Scaled]:
    kernel, unit = unit_scaled(kernel)
    targets, label_unit = unit_scaled(targets)
    ridge = ridge / unit
    null_power = jnp.sum((null_space(kernel, ridge, cutoff).T @ targets) ** 2)
    misses = null_power > cutoff * jnp.sum(targets**2)
    power = jnp.sum(targets * (pseudo_inverse(kernel, ridge, cutoff) @ targets))
    return misses, scaled_back(power, label_unit, label_unit / unit)


def lazy_parameter_change(
    kernel: Float[Array, "n n"],
    targets: Float[Array, "n *c"],
    *,
    cutoff: ScalarLike | None = None,
) -> Float[Array, ""]:
    """How far the lazy network moves in the end, ‖θ_∞ − θ₀‖² = yᵀK⁺y, Eq. 9.

    An equality for the linearised, centred network trained by gradient descent on the
    mean squared error until it rests, K being its tangent kernel (with the α²/N of
    Eq. 2 included). Unlike the difficulty it stays finite for a singular K: the network
    then stops at the best fit that it can reach.

    Args:
        kernel: K on the training rows.
        targets: y in label units; for a network that is not centred, y − f(θ₀). With
            several outputs every column has this kernel, and the movements are summed.
        cutoff: eigenvalues at or below cutoff·λ_max are treated as zero; None means
            ten times the machine epsilon of the kernel's dtype.

    Returns:
        The *squared* distance in parameter units², zero or above.

    Raises:
        InputError: as ``difficulty``.

    Example:
        >>> kernel = jnp.array([[4.0, 0.0], [0.0, 0.0]])
        >>> float(lazy_parameter_change(kernel, jnp.array([2.0, 3.0])))
        1.0

    References:
        Kumar et al. (2024), Eq. 9, which prints "∼".
    """
    matrix, targets = kernel_arrays(kernel, targets)
    return within_range(_difficulty(matrix, targets, *scalars_of(kernel, matrix, 0.0, cutoff))[1])
