"""One step of gradient descent, and the velocity of gradient flow, as maps of (w̄, M)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from lazyrich._base import full_precision, require_instance

from ._loss import Objective, ResidualMoments, floating_problem, require_sound
from ._trajectory import (
    DynamicHyperparameters,
    floating_hyperparameters,
    require_hyperparameters,
)
from ._weight_moments import WeightMoments


@full_precision
def gradient_step(
    stats: WeightMoments,
    objective: Objective,
    *,
    hyperparameters: DynamicHyperparameters,
    origin: WeightMoments | None = None,
) -> WeightMoments:
    """One step of full-batch gradient descent on all weights, as a map of (w̄, M).

    With c = 2ηα/N and A = I − cεG: w̄⁺ = Aw̄ − cg and
    M⁺ = AMA − c(Aw̄ gᵀ + g w̄ᵀA) + c² g gᵀ. For single steps: ``gradient_descent`` computes
    with weight rows, on which rounding errors do not grow, and has momentum.

    Args:
        stats: w̄ and M before the step.
        objective: the loss.
        hyperparameters: α, ε and the learning rate.
        origin: w̄₀ and M₀ of the network that is subtracted (centred, Eq. 7); None
            trains the network as it is.

    Returns:
        w̄ and M after the step.

    Raises:
        InputError: if a moment, label or input is no real number or not finite, if shapes
            disagree, or if α is not above zero.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> objective = EmpiricalLoss(jnp.eye(2), jnp.array([0.5, 0.0]))
        >>> start = infinite_width(2)
        >>> scales = DynamicHyperparameters(1.0, 0.1)
        >>> after = gradient_step(start, objective, hyperparameters=scales, origin=start)
        >>> after.mean_weight.tolist()
        [0.5, 0.0]

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    stats, objective, hyperparameters, origin = _sound(stats, objective, hyperparameters, origin)
    moments = _moments(stats, objective, hyperparameters, origin)
    change = _increment(stats, moments, hyperparameters.rate, hyperparameters.epsilon)
    return jax.tree.map(jnp.add, stats, change)


@full_precision
def gradient_velocity(
    stats: WeightMoments,
    objective: Objective,
    *,
    hyperparameters: DynamicHyperparameters,
    origin: WeightMoments | None = None,
) -> WeightMoments:
    """Rate of change of (w̄, M) in flow time t = learning_rate × steps.

    dw̄/dt = −(2/α)(g + εGw̄) and dM/dt = −(2/α)[g w̄ᵀ + w̄ gᵀ + ε(GM + MG)], the limit of
    ``gradient_step`` at vanishing learning rate.

    Args:
        stats: w̄ and M.
        objective: the loss.
        hyperparameters: α and ε.
        origin: w̄₀ and M₀ of the network that is subtracted (centred, Eq. 7), or None.

    Returns:
        dw̄/dt and dM/dt, each in the units of its moment.

    Raises:
        InputError: if a moment, label or input is no real number or not finite, if shapes
            disagree, or if α is not above zero.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> objective = EmpiricalLoss(jnp.eye(2), jnp.array([0.5, 0.25]))
        >>> start = infinite_width(2)
        >>> scales = DynamicHyperparameters(1.0, 0.1)
        >>> velocity = gradient_velocity(start, objective, hyperparameters=scales, origin=start)
        >>> velocity.mean_weight.tolist()
        [0.5, 0.25]

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    stats, objective, hyperparameters, origin = _sound(stats, objective, hyperparameters, origin)
    g, G = _moments(stats, objective, hyperparameters, origin)
    half = hyperparameters.epsilon * G @ stats.second_moment + jnp.outer(g, stats.mean_weight)
    rate = jnp.divide(2, hyperparameters.alpha)
    return WeightMoments(
        -rate * (g + hyperparameters.epsilon * G @ stats.mean_weight), -rate * (half + half.T)
    )


def _sound(
    stats: WeightMoments,
    objective: Objective,
    hyperparameters: DynamicHyperparameters,
    origin: WeightMoments | None,
) -> tuple[WeightMoments, Objective, DynamicHyperparameters, WeightMoments | None]:
    """The arguments as arrays of one floating type, refused as ``gradient_descent`` does."""
    require_instance(WeightMoments, stats=stats)
    stats, objective, origin = floating_problem(stats=stats, objective=objective, origin=origin)
    require_sound(objective, stats)
    if origin is not None:
        require_instance(WeightMoments, origin=origin)
        require_sound(objective, origin)
    require_hyperparameters(hyperparameters)
    return stats, objective, floating_hyperparameters(hyperparameters, stats[1]), origin


def _moments(
    stats: WeightMoments,
    objective: Objective,
    hyperparameters: DynamicHyperparameters,
    origin: WeightMoments | None,
) -> ResidualMoments:
    trained = stats if origin is None else jax.tree.map(jnp.subtract, stats, origin)
    return objective.residual_moments(
        trained, alpha=hyperparameters.alpha, epsilon=hyperparameters.epsilon
    )


def _increment(
    stats: WeightMoments, moments: ResidualMoments, rate: Array, epsilon: ScalarLike
) -> WeightMoments:
    """Change of (w̄, M) in one step of w_i → w_i − p_i with p_i = c(g + εG w_i)."""
    g, G = rate * moments.first, rate * epsilon * moments.second
    mean_update = g + G @ stats.mean_weight
    update_weight = G @ stats.second_moment  # ⟨p wᵀ⟩ without its rank-one part
    rank_one = jnp.outer(0.5 * (mean_update + G @ stats.mean_weight) - stats.mean_weight, g)
    second = update_weight @ G - (update_weight + update_weight.T) + rank_one + rank_one.T
    return WeightMoments(-mean_update, second)
