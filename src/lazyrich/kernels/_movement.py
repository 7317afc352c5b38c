"""How hard a task is for a kernel, and how far things have moved (§10)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._ground import InputError, require_finite

from ._checks import require_kernel, require_nonnegative
from ._spectral import invert, null_space, relative_cutoff


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
        InputError: if the shapes differ or an entry is not finite.

    Example:
        >>> float(kernel_distance(jnp.eye(3), 2 * jnp.eye(3)))
        1.0
    """
    if jnp.shape(kernel0) != jnp.shape(kernel):
        raise InputError(
            f"The kernels have shapes {jnp.shape(kernel0)} and {jnp.shape(kernel)}; take both "
            "on the same points."
        )
    require_finite(kernel0=kernel0, kernel=kernel)
    # Squares of large or small float32 entries leave its range; ratios do not.
    scale = jax.lax.stop_gradient(jnp.abs(kernel0).max())
    scale = jnp.where(scale > 0, scale, 1)
    change, start = (kernel - kernel0) / scale, kernel0 / scale
    return jnp.linalg.norm(change.ravel()) / jnp.linalg.norm(start.ravel())


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
            n × machine epsilon of the kernel's dtype.

    Returns:
        The difficulty in label units² per unit of the kernel, zero or above (zero for
        zero targets); infinite if ridge is zero and the targets have power in the
        kernel's null space (a share of ‖y‖² above the cutoff), because no movement of
        the parameters fits them.

    Raises:
        InputError: if shapes disagree, something is not finite, or ridge or cutoff is
            negative.

    Example:
        >>> float(difficulty(jnp.diag(jnp.array([4.0, 1.0])), jnp.array([2.0, 3.0])))
        10.0

    References:
        Kumar et al. (2024), Eq. 8.
    """
    kernel, targets = jnp.asarray(kernel), jnp.asarray(targets)
    require_kernel(kernel, targets)
    require_nonnegative(ridge=ridge)
    null_power = jnp.sum((null_space(kernel, ridge, cutoff).T @ targets) ** 2)
    misses = null_power > relative_cutoff(kernel, cutoff) * jnp.sum(targets**2)
    solution = invert(kernel, ridge, cutoff) @ targets
    return jnp.where(misses, jnp.inf, jnp.sum(targets * solution))


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
            n × machine epsilon of the kernel's dtype.

    Returns:
        The *squared* distance in parameter units², zero or above.

    Raises:
        InputError: if shapes disagree, something is not finite, or cutoff is negative.

    Example:
        >>> kernel = jnp.array([[4.0, 0.0], [0.0, 0.0]])
        >>> float(lazy_parameter_change(kernel, jnp.array([2.0, 3.0])))
        1.0

    References:
        Kumar et al. (2024), Eq. 9, which prints "∼".
    """
    kernel, targets = jnp.asarray(kernel), jnp.asarray(targets)
    require_kernel(kernel, targets)
    return jnp.sum(targets * (invert(kernel, 0.0, cutoff) @ targets))
