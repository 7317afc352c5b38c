"""The mean squared error on a sample, or in expectation, and its gradient on weight rows.

The gradient on a weight row is ∝ ⟨r (1 + ε w_i·x) x⟩ = g + εG w_i with the residual
r = f − y, which needs only the two moments g = ⟨r x⟩ and G = ⟨r x xᵀ⟩. Averaged over the
training set they give gradient descent; averaged over x ~ N(0, I/D) they give the
limit of infinitely many points.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import (
    InputError,
    full_precision,
    real_arrays,
    require_finite,
    require_instance,
    require_positive,
    require_shapes,
)

from ._loss_terms import quadratic_loss_terms
from ._weight_moments import (
    WeightMoments,
    committee_output,
    moment_change,
    require_symmetric,
    weight_moments,
)

# XLA spreads a product of this size over the cores of a CPU and loses time by it (a
# step at P=550, D=100 took 340 µs on two cores, 265 µs on one); two halves are left alone.
_MIN_SPLIT, _MAX_SPLIT = 300, 1200


Gradient = Callable[[Float[Array, "r d"]], Float[Array, "r d"]]
"""⟨r (1 + ε w_i·x) x⟩ for each row, in label units, as a function of the displacements."""


class ResidualMoments(NamedTuple):
    """The two moments of the residual that decide the gradient, in label units.

    Attributes:
        first: g = ⟨r x⟩.
        second: G = ⟨r x xᵀ⟩, symmetric.

    Example:
        >>> loss = EmpiricalLoss(jnp.array([[2.0]]), jnp.array([1.0]))
        >>> still = WeightMoments(jnp.zeros(1), jnp.zeros((1, 1)))  # f = 0, so r = −1
        >>> loss.residual_moments(still, alpha=1.0, epsilon=0.0).second.tolist()
        [[-4.0]]
    """

    first: Float[Array, " d"]
    second: Float[Array, "d d"]


@runtime_checkable
class Objective(Protocol):
    """A mean squared error as a function of the two moments, and its gradient on weight rows.

    ``EmpiricalLoss`` and ``PopulationLoss`` are two; a pytree with these three methods is
    another.

    Example:
        >>> isinstance(PopulationLoss(jnp.eye(2)), Objective)
        True
    """

    def loss(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """⟨(f − y)²⟩ in label units²."""
        ...

    def residual_moments(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """⟨r x⟩ and ⟨r x xᵀ⟩ in label units."""
        ...

    def gradient_from(
        self,
        rows: Float[Array, "r d"],
        *,
        alpha: ScalarLike,
        epsilon: ScalarLike,
        centered: bool,
    ) -> Gradient:
        """The gradient on weights that started at ``rows``, as a function of displacements."""
        ...


class EmpiricalLoss(NamedTuple):
    """Mean squared error on given points, (1/P) Σ (f(x_μ) − y_μ)², without a factor ½.

    For the centred network pass the displacement of the moments from the start.

    Attributes:
        x: inputs.
        y: labels, any numbers, in label units.

    Example:
        >>> loss = EmpiricalLoss(jnp.array([[2.0]]), jnp.array([1.0]))
        >>> still = WeightMoments(jnp.zeros(1), jnp.zeros((1, 1)))  # f = 0
        >>> float(loss.loss(still, alpha=1.0, epsilon=0.0))
        1.0
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]

    def residual(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, " n"]:
        """f − y on each point, in label units."""
        return committee_output(stats, self.x, alpha=alpha, epsilon=epsilon) - self.y

    def loss(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """Mean squared error over the points, in label units²."""
        return jnp.square(self.residual(stats, alpha=alpha, epsilon=epsilon)).mean()

    @full_precision
    def residual_moments(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """g = Xᵀr/P and G = Xᵀ diag(r) X/P."""
        weighted = self.residual(stats, alpha=alpha, epsilon=epsilon) / len(self.y)
        return ResidualMoments(weighted @ self.x, self.x.T @ (weighted[:, None] * self.x))

    @full_precision
    def gradient_from(
        self,
        rows: Float[Array, "r d"],
        *,
        alpha: ScalarLike,
        epsilon: ScalarLike,
        centered: bool,
    ) -> Gradient:
        """Backpropagation, in the form that keeps the digits of small displacements."""
        n_points = len(self.y)
        hidden = rows @ self.x.T
        slope = 1 + epsilon * hidden
        targets = self.y
        if not centered:
            targets = targets - alpha * (hidden + 0.5 * epsilon * jnp.square(hidden)).mean(0)
        cuts = [n_points // 2] if _MIN_SPLIT <= n_points <= _MAX_SPLIT else []
        parts = list(
            zip(
                jnp.split(self.x, cuts),
                jnp.split(targets, cuts),
                jnp.split(slope, cuts, axis=1),
                strict=True,
            )
        )
        # A pytree: what is computed here, once, can be kept and handed to compiled functions.
        return Partial(_backpropagated, parts, alpha, epsilon)


@full_precision
def _backpropagated(
    parts: list[tuple[Array, Array, Array]],
    alpha: ScalarLike,
    epsilon: ScalarLike,
    displacements: Float[Array, "r d"],
) -> Float[Array, "r d"]:
    n_points = sum(len(x) for x, *_ in parts)
    sums = []
    for x, target, slope in parts:
        change = displacements @ x.T
        # φ(h + δ) − φ(h) = δ(1 + εh) + (ε/2)δ², without cancellation for small δ.
        output = (change * (slope + 0.5 * epsilon * change)).mean(0)
        residual = (alpha * output - target) / n_points
        sums.append((residual * (slope + epsilon * change)) @ x)
    return functools.reduce(jnp.add, sums)


class PopulationLoss(NamedTuple):
    """Expected squared error over x ~ N(0, I/D), the limit P → ∞, for a quadratic target.

    The target is y = ½ xᵀ B⋆ x; one direction has B⋆ = β⋆β⋆ᵀ, several have Σ_k β_kβ_kᵀ.
    The loss is the total of Eq. 6.

    Attributes:
        target_matrix: B⋆, symmetric.

    Example:
        >>> loss = PopulationLoss(jnp.array([[2.0]]))
        >>> solved = WeightMoments(jnp.zeros(1), jnp.array([[2.0]]))
        >>> float(loss.loss(solved, alpha=1.0, epsilon=1.0))
        0.0

    References:
        Kumar et al. (2024), Eq. 6.
    """

    target_matrix: Float[Array, "d d"]

    def loss(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> Float[Array, ""]:
        """Eq. 6, the sum of its three terms, in label units²."""
        terms = quadratic_loss_terms(stats, self.target_matrix, alpha=alpha, epsilon=epsilon)
        return terms.total

    def residual_moments(
        self, stats: WeightMoments, *, alpha: ScalarLike, epsilon: ScalarLike
    ) -> ResidualMoments:
        """g = αw̄/D and G = (2B + Tr(B) I)/(2D²) with B = αεM − B⋆ (Wick's theorem)."""
        dim = len(self.target_matrix)
        gap = alpha * epsilon * stats.second_moment - self.target_matrix
        isotropic = jnp.trace(gap) * jnp.eye(dim, dtype=gap.dtype)
        return ResidualMoments(
            alpha * stats.mean_weight / dim, (2 * gap + isotropic) / (2 * dim**2)
        )

    def gradient_from(
        self,
        rows: Float[Array, "r d"],
        *,
        alpha: ScalarLike,
        epsilon: ScalarLike,
        centered: bool,
    ) -> Gradient:
        """g + εG w_i from the population's moments."""

        @full_precision
        def gradient(displacements: Float[Array, "r d"]) -> Float[Array, "r d"]:
            weights = rows + displacements
            trained = moment_change(rows, displacements) if centered else weight_moments(weights)
            g, G = self.residual_moments(trained, alpha=alpha, epsilon=epsilon)
            return g + epsilon * weights @ G

        return gradient


def floating_problem(**parts: Any) -> tuple[Any, ...]:
    """WeightMoments, weights and objectives with all numbers as arrays of one floating type.

    Args:
        **parts: by name; objectives that are not of this package, and None, are left as
            they are.
    """
    given = {}
    for part, value in parts.items():
        if isinstance(value, WeightMoments | EmpiricalLoss | PopulationLoss):
            given |= {f"{part}.{field}": entry for field, entry in value._asdict().items()}
        elif part == "start":
            given[part] = value
    arrays = dict(zip(given, real_arrays(**given), strict=True))
    return tuple(
        value._replace(**{field: arrays[f"{part}.{field}"] for field in value._fields})
        if isinstance(value, WeightMoments | EmpiricalLoss | PopulationLoss)
        else arrays.get(part, value)
        for part, value in parts.items()
    )


def require_sound(objective: Objective, start: WeightMoments | Float[Array, "N d"]) -> None:
    """Refuse shapes that disagree, empty data, and entries that are not finite.

    Raises:
        InputError: naming what disagrees.
    """
    require_instance(Objective, objective=objective)
    if isinstance(start, WeightMoments):
        require_shapes("d dd", mean_weight=start.mean_weight, second_moment=start.second_moment)
        require_finite(mean_weight=start.mean_weight, second_moment=start.second_moment)
        require_symmetric(second_moment=start.second_moment)
        mean_weight = start.mean_weight
    else:
        require_shapes("Nd", weights=start)
        require_positive(width=start.shape[0])
        require_finite(weights=start)
        mean_weight = start[0]
    if isinstance(objective, EmpiricalLoss):
        require_shapes("nd n d", x=objective.x, y=objective.y, weight_row=mean_weight)
        require_finite(x=objective.x, y=objective.y)
        if jnp.size(objective.y) == 0:
            raise InputError("x and y hold no points; give at least one training point.")
    elif isinstance(objective, PopulationLoss):
        require_shapes("dd d", target_matrix=objective.target_matrix, weight_row=mean_weight)
        require_finite(target_matrix=objective.target_matrix)
        require_symmetric(target_matrix=objective.target_matrix)
