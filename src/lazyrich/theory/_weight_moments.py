"""The committee machine as a function of the first two moments of its weights (§5, §12)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike
from scipy.linalg import helmert

from lazyrich._base import (
    InputError,
    concrete,
    full_precision,
    real_arrays,
    real_scalars,
    require_finite,
    require_instance,
    require_positive,
    require_shapes,
    require_whole,
)

# Asymmetry relative to the largest entry that rounding explains, as of measured kernels.
_ASYMMETRY = 1e-3


class WeightMoments(NamedTuple):
    """The sufficient statistics of a committee machine, Eq. 4.

    The network function, its tangent kernel, its test loss and its gradient descent
    depend on the weights through these two moments alone.

    Attributes:
        mean_weight: w̄, first moment of the weight rows, dimensionless.
        second_moment: M, second moment of the weight rows (not centred on w̄),
            symmetric, dimensionless.

    Example:
        >>> WeightMoments(jnp.zeros(2), jnp.eye(2)).second_moment.shape
        (2, 2)

    References:
        Kumar et al. (2024), Eq. 4.
    """

    mean_weight: Float[Array, "*b d"]
    second_moment: Float[Array, "*b d d"]


def floating(stats: WeightMoments) -> WeightMoments:
    """Moments given as any numbers, as arrays of one floating type.

    Raises:
        InputError: if they are no ``WeightMoments``, no real numbers, or M is not symmetric.
    """
    require_instance(WeightMoments, stats=stats)
    stats = WeightMoments(*real_arrays(**stats._asdict()))
    require_symmetric(second_moment=stats.second_moment)
    return stats


def require_symmetric(**matrices: Array) -> None:
    """Refuse matrices (*b, d, d) that are not symmetric; of other shapes nothing is said."""
    for name, matrix in matrices.items():
        known = concrete(matrix)
        if known is None or known.ndim < 2 or known.shape[-1] != known.shape[-2]:
            continue
        known = np.where(np.isfinite(known), known, 0)
        gap = np.abs(known / 2 - np.swapaxes(known, -1, -2) / 2).max(initial=0)
        if gap > _ASYMMETRY * np.abs(known / 2).max(initial=0):
            raise InputError(
                f"{name} is not symmetric, two of its entries differ by {2 * gap:.4g}; give a "
                "sum of outer products of vectors with themselves."
            )


def whole_dim(dim: int) -> int:
    """D as Python's own number, whose products do not overflow.

    Raises:
        InputError: if it is not a whole number above zero.
    """
    require_positive(dim=dim)
    require_whole(dim=dim)
    return int(dim)


def require_rows(**arrays: Array) -> None:
    """Refuse arrays without a row, over which no mean can be taken."""
    for name, array in arrays.items():
        if array.shape[0] == 0:
            raise InputError(f"{name} has shape {array.shape}; give one row or more.")


@full_precision
def weight_moments(
    weights: Float[Array, "N d"], readouts: Float[Array, " N"] | None = None
) -> WeightMoments:
    """The moments w̄ and M of given weights, Eq. 4 (Eq. 22 with readouts).

    Args:
        weights: one row w_i per hidden unit, dimensionless.
        readouts: v_i per hidden unit; None means that all are one.

    Returns:
        w̄ = (1/N) Σ v_i w_i and M = (1/N) Σ v_i w_i w_iᵀ.

    Raises:
        InputError: if the shapes disagree, or there are no rows.

    Example:
        >>> weights = jnp.array([[1.0, 0.0], [0.0, 3.0]])
        >>> weight_moments(weights).second_moment.tolist()
        [[0.5, 0.0], [0.0, 4.5]]

    References:
        Kumar et al. (2024), Eqs. 4 and 22.
    """
    [weights, *rest] = real_arrays(
        weights=weights, **({} if readouts is None else {"readouts": readouts})
    )
    require_shapes("Nd", weights=weights)
    require_rows(weights=weights)
    weighted = weights
    if rest:
        require_shapes("Nd N", weights=weights, readouts=rest[0])
        weighted = weights * rest[0][:, None]
    return WeightMoments(weighted.mean(0), weighted.T @ weights / len(weights))


def infinite_width(dim: int, *, weight_scale: ScalarLike = 1.0) -> WeightMoments:
    """The moments of infinitely many weights w ~ N(0, σ²I): w̄ = 0, M = σ²I (§5).

    Args:
        dim: D, number of inputs.
        weight_scale: σ, standard deviation of every weight, dimensionless.

    Returns:
        w̄ and M, in the precision that JAX works in.

    Raises:
        InputError: if D is not a whole number above zero, or σ is not finite.

    Example:
        >>> infinite_width(2, weight_scale=2.0).second_moment.tolist()
        [[4.0, 0.0], [0.0, 4.0]]

    References:
        Kumar et al. (2024), §5.
    """
    dim = whole_dim(dim)
    require_finite(weight_scale=weight_scale)
    [scale] = real_scalars(jnp.zeros(()), weight_scale=weight_scale)
    return WeightMoments(jnp.zeros(dim, scale.dtype), scale**2 * jnp.eye(dim, dtype=scale.dtype))


@full_precision
def moment_change(rows: Float[Array, "r d"], displacements: Float[Array, "r d"]) -> WeightMoments:
    """The change of w̄ and M when weight rows move, without cancellation for small changes.

    ΔM = ⟨Δ(w₀ + Δ/2)ᵀ⟩ + ⟨(w₀ + Δ/2)Δᵀ⟩.

    Args:
        rows: w₀, the weights at the start.
        displacements: Δ, the displacement of each row.

    Returns:
        The moments of ``rows + displacements`` less those of ``rows``.

    Raises:
        InputError: if the shapes disagree.

    Example:
        >>> moment_change(jnp.array([[2.0]]), jnp.array([[1.0]])).second_moment.tolist()
        [[5.0]]
    """
    rows, displacements = real_arrays(rows=rows, displacements=displacements)
    require_shapes("rd rd", rows=rows, displacements=displacements)
    require_rows(rows=rows)
    half = displacements.T @ (rows + 0.5 * displacements) / len(rows)
    return WeightMoments(displacements.mean(0), half + half.T)


@full_precision
def equivalent_weights(stats: WeightMoments) -> Float[Array, "r d"]:
    """Weights of a machine of D + 1 units that has given moments.

    Function, kernel, loss and gradient descent depend on the weights through w̄ and M
    alone, so every committee machine, however wide, trains exactly like this one. The
    dynamics use these rows rather than (w̄, M): M then stays a second moment in spite of
    rounding, which the map on (w̄, M) amplifies when M has low rank.

    Args:
        stats: w̄ and M, with M − w̄w̄ᵀ positive semi-definite.

    Returns:
        D + 1 rows u_i with (1/(D+1)) Σ u_i = w̄ and (1/(D+1)) Σ u_i u_iᵀ = M. Modes of
        M − w̄w̄ᵀ below D × machine epsilon of the largest count as zero.

    Raises:
        InputError: if M − w̄w̄ᵀ has a negative eigenvalue: no weights have such moments.

    Example:
        >>> rows = equivalent_weights(infinite_width(2, weight_scale=2.0))
        >>> moments = weight_moments(rows)
        >>> rows.shape, bool(jnp.allclose(moments.second_moment, 4 * jnp.eye(2), atol=1e-5))
        ((3, 2), True)
    """
    mean, second = floating(stats)
    require_shapes("d dd", mean_weight=mean, second_moment=second)
    dim = len(mean)
    spread, modes = jnp.linalg.eigh(second - jnp.outer(mean, mean))
    noise = 10 * dim * jnp.finfo(spread.dtype).eps * jnp.max(jnp.abs(second))
    _require_spread(spread, noise)
    root = jnp.sqrt(jnp.where(spread > noise / 10, spread, 0)) * modes
    # Orthonormal columns that sum to zero: they have the spread and do not change the mean.
    contrasts = jnp.asarray(helmert(dim + 1).T, root.dtype)
    return mean + jnp.sqrt(dim + 1.0).astype(root.dtype) * contrasts @ root.T


def _require_spread(spread: Array, noise: Array) -> None:
    known, allowed = concrete(spread), concrete(noise)
    if known is None or allowed is None:
        return
    if known.min() < -allowed:
        raise InputError(
            f"second_moment less the square of mean_weight has the eigenvalue {known.min():.3g}; "
            "no weights have such moments, give M = ⟨w wᵀ⟩ itself, not its centred form."
        )


@full_precision
def committee_output(
    stats: WeightMoments,
    x: Float[Array, "n d"],
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
) -> Float[Array, " n"]:
    """The network function from its moments, f = α w̄·x + (αε/2) xᵀMx (after Eq. 4).

    Linear in the moments, so the centred network α[f(θ) − f(θ₀)] is the output of their
    displacement (w̄ − w̄₀, M − M₀), free of cancellation.

    Args:
        stats: w̄ and M, or their displacement from the start.
        x: inputs.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ(h) = h + (ε/2) h².

    Returns:
        f, one value for each row, in label units; NaN where moments or inputs are.

    Raises:
        InputError: if the shapes disagree, or α or ε is not finite.

    Example:
        >>> stats = infinite_width(2)
        >>> committee_output(stats, jnp.array([[3.0, 4.0]]), alpha=1.0, epsilon=0.1).tolist()
        [1.25]

    References:
        Kumar et al. (2024), Eqs. 3 and 21.
    """
    require_instance(WeightMoments, stats=stats)
    require_finite(alpha=alpha, epsilon=epsilon)
    x, mean, second = real_arrays(
        x=x, mean_weight=stats.mean_weight, second_moment=stats.second_moment
    )
    require_shapes("nd d dd", x=x, mean_weight=mean, second_moment=second)
    alpha, epsilon = real_scalars(x, alpha=alpha, epsilon=epsilon)
    field = x @ (0.5 * alpha * epsilon * second) + alpha * mean
    return (field * x).sum(-1)


@full_precision
def polynomial_target(
    directions: Float[Array, "*k d"], x: Float[Array, "n d"]
) -> Float[Array, " n"]:
    """The target y = ½(β⋆·x)², Eq. 3; for several directions y = ½ Σ_k (β_k·x)² (§15.1).

    The paper writes β₁·x + β₂·x in §15.1; a sum of squares is meant.

    Args:
        directions: β⋆ of shape (d,), or one row for each direction.
        x: inputs.

    Returns:
        y, one value for each row, in label units, never negative.

    Raises:
        InputError: if the shapes disagree.

    Example:
        >>> polynomial_target(jnp.array([1.0, 0.0]), jnp.array([[3.0, 4.0]])).tolist()
        [4.5]

    References:
        Kumar et al. (2024), Eq. 3 and §15.1.
    """
    directions, x = real_arrays(directions=directions, x=x)
    rows = jnp.atleast_2d(directions)
    require_shapes("kd nd", directions=rows, x=x)
    return 0.5 * jnp.square(x @ rows.T).sum(-1)
