"""The test loss of the committee machine in three terms (Eq. 6)."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import InputError, full_precision, real_scalars, require_finite

from ._target import target_matrix
from ._weight_moments import WeightMoments, floating


class LossTerms(NamedTuple):
    """The three terms of the test loss, Eq. 6, in label units².

    Attributes:
        variance: error in the overall scale of the quadratic part, ¼(Tr A)²/D² with
            A = αεM − B; zero when the mean output is the mean label.
        misalignment: error in the quadratic part as a whole, ‖A‖_F²/(2D²).
        linear: power in the linear functions, α²‖w̄‖²/D, all of it error.

    Example:
        >>> float(LossTerms(jnp.array(0.5), jnp.array(1.0), jnp.array(0.25)).total)
        1.75

    References:
        Kumar et al. (2024), Eq. 6.
    """

    variance: Float[Array, "*b"]
    misalignment: Float[Array, "*b"]
    linear: Float[Array, "*b"]

    @property
    def total(self) -> Float[Array, "*b"]:
        """The test loss ⟨(y − f)²⟩ itself."""
        return self.variance + self.misalignment + self.linear


@full_precision
def loss_terms(
    stats: WeightMoments,
    directions: Float[Array, "*k d"],
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    start: WeightMoments | None = None,
) -> LossTerms:
    """Variance, misalignment and linear power of the test loss, Eq. 6.

    The exact mean of (y − f)² over x ~ N(0, I/D), of any network with these weight_moments,
    readouts trained or not. Eq. 6 is for the network that is not centred; for the centred
    network α[f(θ) − f(θ₀)] it holds with w̄ − w̄₀ and M − M₀, so give ``start`` (the
    terms of the uncentred moments would not sum to the loss).

    Args:
        stats: w̄ and M, or a history of them with any leading axes.
        directions: β⋆ of shape (d,), or one row for each direction.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.
        start: w̄₀ and M₀ of a centred network; None for one that is not centred.

    Returns:
        The three terms, with the leading axes of ``stats``, none negative; NaN where the
        statistics are (a run that has diverged).

    Raises:
        InputError: if α, ε or the directions are not finite, or if the shapes disagree.

    Example:
        >>> beta = jnp.array([2.0, 0.0])
        >>> solved = WeightMoments(jnp.zeros(2), jnp.outer(beta, beta))
        >>> float(loss_terms(solved, beta, alpha=1.0, epsilon=1.0).total)
        0.0
        >>> [float(term) for term in loss_terms(solved, beta, alpha=2.0, epsilon=1.0)]
        [1.0, 2.0, 0.0]

    References:
        Kumar et al. (2024), Eq. 6 and, with readouts, Eqs. 21 and 22.
    """
    require_finite(alpha=alpha, epsilon=epsilon)
    target = target_matrix(directions)
    stats = floating(stats)
    require_weight_moments(stats, len(target))
    mean_weight, second_moment = stats
    alpha, epsilon = real_scalars(second_moment, alpha=alpha, epsilon=epsilon)
    if start is not None:
        start = floating(start)
        require_weight_moments(start, len(target))
        if start.mean_weight.ndim > 1 and start.mean_weight.shape != mean_weight.shape:
            raise InputError(
                f"mean_weight has shape {mean_weight.shape} and that of the start "
                f"{start.mean_weight.shape}; give one start, or one for each."
            )
        mean_weight, second_moment = mean_weight - start.mean_weight, second_moment - start[1]
    trained = WeightMoments(mean_weight, second_moment)
    return quadratic_loss_terms(trained, target, alpha=alpha, epsilon=epsilon)


def quadratic_loss_terms(
    stats: WeightMoments, target: Float[Array, "d d"], *, alpha: ScalarLike, epsilon: ScalarLike
) -> LossTerms:
    """Eq. 6 for the target y = ½ xᵀBx given by its matrix; nothing is checked."""
    dim = float(len(target))
    excess = alpha * epsilon * stats.second_moment - target
    return LossTerms(
        variance=jnp.square(jnp.trace(excess, axis1=-2, axis2=-1) / dim) / 4,
        misalignment=jnp.square(excess / dim).sum((-2, -1)) / 2,
        linear=jnp.square(alpha * stats.mean_weight).sum(-1) / dim,
    )


def require_weight_moments(stats: WeightMoments, dim: int) -> None:
    """Refuse statistics whose last axes are not D and D × D, leading axes alike."""
    mean_shape, moment_shape = stats.mean_weight.shape, stats.second_moment.shape
    if mean_shape[-1:] != (dim,) or moment_shape != (*mean_shape, dim):
        raise InputError(
            f"The shapes mean_weight {mean_shape}, second_moment {moment_shape} disagree with "
            f"{dim} inputs; wanted (..., {dim}) and (..., {dim}, {dim}) with the same leading axes."
        )
