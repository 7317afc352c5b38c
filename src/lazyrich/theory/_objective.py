"""What gradient descent lowers, seen through the statistics: on a sample, or in expectation.

The gradient of the mean squared error with respect to every weight row needs only two
moments of the residual r = f − y: g = ⟨r x⟩ and G = ⟨r x xᵀ⟩. Averaged over the
training set they give gradient descent; averaged over x ~ N(0, I/D) they give the
limit of infinitely many points.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._ground import InputError, require_finite, require_shapes

from ._statistics import Statistics, committee_output


class ResidualMoments(NamedTuple):
    """The two moments of the residual that a weight row feels, in label units.

    Attributes:
        first: g = ⟨r x⟩.
        second: G = ⟨r x xᵀ⟩, symmetric.
    """

    first: Float[Array, " d"]
    second: Float[Array, "d d"]


@runtime_checkable
class Objective(Protocol):
    """A mean squared error as a function of the statistics."""

    def loss(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """⟨(f − y)²⟩ in label units²."""
        ...

    def residual_moments(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """⟨r x⟩ and ⟨r x xᵀ⟩ in label units."""
        ...


class EmpiricalLoss(NamedTuple):
    """Mean squared error on given points, (1/P) Σ (f(x_μ) − y_μ)², without a factor ½.

    For the centred network pass the statistics' displacement from the start.

    Attributes:
        x: inputs.
        y: labels, any numbers, in label units.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]

    def residual(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, " n"]:
        """f − y on each point, in label units."""
        return committee_output(stats, self.x, alpha=alpha, epsilon=epsilon) - self.y

    def loss(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """Mean squared error over the points, in label units²."""
        return jnp.square(self.residual(stats, alpha=alpha, epsilon=epsilon)).mean()

    def residual_moments(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """g = Xᵀr/P and G = Xᵀ diag(r) X/P."""
        weighted = self.residual(stats, alpha=alpha, epsilon=epsilon) / len(self.y)
        return ResidualMoments(weighted @ self.x, self.x.T @ (weighted[:, None] * self.x))


class PopulationLoss(NamedTuple):
    """Expected squared error over x ~ N(0, I/D), the limit P → ∞, for a quadratic target.

    The target is y = ½ xᵀ B⋆ x; one direction has B⋆ = β⋆β⋆ᵀ, several have Σ_k β_kβ_kᵀ.
    The loss is the total of Eq. 6.

    Attributes:
        target_matrix: B⋆, symmetric.
    """

    target_matrix: Float[Array, "d d"]

    def loss(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """Eq. 6: ¼(Tr B/D)² + |B|²/(2D²) + α²|w̄|²/D with B = αεM − B⋆, in label units²."""
        dim = len(self.target_matrix)
        gap = alpha * epsilon * stats.second_moment - self.target_matrix
        return (
            0.25 * (jnp.trace(gap) / dim) ** 2
            + jnp.square(gap).sum() / (2 * dim**2)
            + jnp.square(alpha * stats.mean_weight).sum() / dim
        )

    def residual_moments(
        self, stats: Statistics, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """g = αw̄/D and G = (2B + Tr(B) I)/(2D²) with B = αεM − B⋆ (Wick's theorem)."""
        dim = len(self.target_matrix)
        gap = alpha * epsilon * stats.second_moment - self.target_matrix
        isotropic = jnp.trace(gap) * jnp.eye(dim, dtype=gap.dtype)
        return ResidualMoments(
            alpha * stats.mean_weight / dim, (2 * gap + isotropic) / (2 * dim**2)
        )


def require_sound(objective: Objective, start: Statistics) -> None:
    """Refuse shapes that disagree, empty data, and entries that are not finite.

    Raises:
        InputError: naming what disagrees.
    """
    require_shapes("d dd", mean_weight=start.mean_weight, second_moment=start.second_moment)
    require_finite(mean_weight=start.mean_weight, second_moment=start.second_moment)
    if isinstance(objective, EmpiricalLoss):
        require_shapes("nd n d", x=objective.x, y=objective.y, mean_weight=start.mean_weight)
        require_finite(x=objective.x, y=objective.y)
        if jnp.size(objective.y) == 0:
            raise InputError("x and y hold no points; give at least one training point.")
    elif isinstance(objective, PopulationLoss):
        require_shapes("dd d", target_matrix=objective.target_matrix, mean_weight=start.mean_weight)
        require_finite(target_matrix=objective.target_matrix)
