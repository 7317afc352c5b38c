"""Gradient descent on the committee machine, exactly, at a cost that knows no width.

Every weight row moves by the same affine map w_i → w_i − c(g + εG w_i), with c = 2ηα/N
and the residual moments g, G that depend on (w̄, M) only. Hence the first two moments
of the rows close, and any machine trains like its equivalent of D + 1 units, on whose
rows the loops run. Heavy-ball momentum closes for the same reason.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike

from lazyrich._ground import (
    Status,
    real_scalars,
    require_finite,
    require_positive,
    require_steps,
)

from ._descent_steps import DescentSteps
from ._motion import Motion, motion
from ._objective import Objective, ResidualMoments, floating_problem, require_sound
from ._statistics import Statistics, displacement, equivalent_weights, statistics


class Dials(NamedTuple):
    """The scalars that decide how the machine trains; arrays of them go through ``vmap``.

    Attributes:
        alpha: α, output scale, dimensionless; large is lazy.
        epsilon: ε, strength of the quadratic part of the activation, dimensionless.
        learning_rate: η₀ in units of N/α², so that the step on the weights is
            η = learning_rate · N/α² (§8.1) and infinite width has a limit. Flow time
            is learning_rate × steps.
        momentum: μ of heavy-ball momentum, v ← μv + ∇, w ← w − ηv; 0 is plain descent.
    """

    alpha: ScalarLike
    epsilon: ScalarLike
    learning_rate: ScalarLike = 1.0
    momentum: ScalarLike = 0.0

    @property
    def rate(self) -> Array:
        """c = 2ηα/N = 2 · learning_rate/α, the factor of the map on the weights."""
        return jnp.divide(jnp.multiply(2, self.learning_rate), self.alpha)


class Trajectory(NamedTuple):
    """What gradient descent or flow left at its save points.

    Attributes:
        steps: save points, optimizer steps (for the flow: flow time).
        train_loss: the objective's mean squared error, label units²; not finite from
            the point of divergence on.
        query_loss: the same on the query objective, or None if there is none.
        observed: what ``observe`` returned, with a leading axis of save points.
        status: a ``Status`` as a number: ``ok``, ``diverged`` if a loss stopped being
            finite, or ``out_of_steps`` if the solver of the flow gave up.
        motion: what ``observe_motion`` returned, with a leading axis of save points.
    """

    steps: Array
    train_loss: Float[Array, " s"]
    query_loss: Float[Array, " s"] | None
    observed: Any
    status: Int[Array, ""]
    motion: Any = None

    def finite_part(self) -> "Trajectory":
        """The save points before the first loss that is not finite; all of them if ok."""
        is_finite = np.isfinite(np.asarray(self.train_loss))
        kept = len(is_finite) if is_finite.all() else int(np.argmin(is_finite))
        return jax.tree.map(lambda leaf: leaf[:kept] if jnp.ndim(leaf) else leaf, self)


def _increment(
    stats: Statistics, moments: ResidualMoments, rate: Array, epsilon: ScalarLike
) -> Statistics:
    """Change of (w̄, M) in one step of w_i → w_i − p_i with p_i = c(g + εG w_i)."""
    g, G = rate * moments.first, rate * epsilon * moments.second
    mean_push = g + G @ stats.mean_weight
    push_weight = G @ stats.second_moment  # ⟨p wᵀ⟩ without its rank-one part
    side = jnp.outer(0.5 * (mean_push + G @ stats.mean_weight) - stats.mean_weight, g)
    second = push_weight @ G - (push_weight + push_weight.T) + side + side.T
    return Statistics(-mean_push, second)


def _add(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.mean_weight + b.mean_weight, a.second_moment + b.second_moment)


def gradient_step(
    stats: Statistics, objective: Objective, *, dials: Dials, origin: Statistics | None = None
) -> Statistics:
    """One step of full-batch gradient descent on all weights, as a map of (w̄, M).

    With c = 2ηα/N and A = I − cεG: w̄⁺ = Aw̄ − cg and
    M⁺ = AMA − c(Aw̄ gᵀ + g w̄ᵀA) + c² g gᵀ. The formula, for reading and for one step:
    ``gradient_descent`` runs on weight rows, which rounding cannot lead astray, and has
    momentum.

    Args:
        stats: w̄ and M before the step.
        objective: what is lowered.
        dials: α, ε and the learning rate.
        origin: w̄₀ and M₀ of the network that is subtracted (centred, Eq. 7); None
            trains the network as it is.

    Returns:
        w̄ and M after the step.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> objective = EmpiricalLoss(jnp.eye(2), jnp.array([0.5, 0.0]))
        >>> start = infinite_width(2)
        >>> after = gradient_step(start, objective, dials=Dials(1.0, 0.1), origin=start)
        >>> after.mean_weight.tolist()
        [0.5, 0.0]

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    stats, objective, origin = floating_problem(stats=stats, objective=objective, origin=origin)
    dials = floating_dials(dials, stats.second_moment)
    moments = _moments(stats, objective, dials, origin)
    return _add(stats, _increment(stats, moments, dials.rate, dials.epsilon))


def gradient_velocity(
    stats: Statistics, objective: Objective, *, dials: Dials, origin: Statistics | None = None
) -> Statistics:
    """Rate of change of (w̄, M) in flow time t = learning_rate × steps.

    dw̄/dt = −(2/α)(g + εGw̄) and dM/dt = −(2/α)[g w̄ᵀ + w̄ gᵀ + ε(GM + MG)], the limit of
    ``gradient_step`` at vanishing learning rate.

    Args:
        stats: w̄ and M.
        objective: what is lowered.
        dials: α and ε.
        origin: w̄₀ and M₀ of the network that is subtracted (centred, Eq. 7), or None.

    Returns:
        dw̄/dt and dM/dt.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> objective = EmpiricalLoss(jnp.eye(2), jnp.array([0.5, 0.25]))
        >>> start = infinite_width(2)
        >>> speed = gradient_velocity(start, objective, dials=Dials(1.0, 0.1), origin=start)
        >>> speed.mean_weight.tolist()
        [0.5, 0.25]
    """
    stats, objective, origin = floating_problem(stats=stats, objective=objective, origin=origin)
    dials = floating_dials(dials, stats.second_moment)
    g, G = _moments(stats, objective, dials, origin)
    pulled = dials.epsilon * G @ stats.second_moment + jnp.outer(g, stats.mean_weight)
    pace = jnp.divide(2, dials.alpha)
    return Statistics(
        -pace * (g + dials.epsilon * G @ stats.mean_weight), -pace * (pulled + pulled.T)
    )


def _moments(
    stats: Statistics, objective: Objective, dials: Dials, origin: Statistics | None
) -> ResidualMoments:
    seen = stats if origin is None else jax.tree.map(jnp.subtract, stats, origin)
    return objective.residual_moments(seen, alpha=dials.alpha, epsilon=dials.epsilon)


def _itself(stats: Statistics) -> Statistics:
    return stats


def gradient_descent(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    *,
    dials: Dials,
    save_steps: Sequence[int] | np.ndarray,
    query: Objective | None = None,
    centered: bool = True,
    observe: Callable[[Statistics], Any] = _itself,
    observe_motion: Callable[[Motion], Any] | None = None,
) -> Trajectory:
    """Full-batch gradient descent on the committee machine, exact for any width.

    Runs on the rows of the equivalent machine of D + 1 units, or of the machine itself
    if it is smaller. The loop carries their displacement from the start, so that a lazy
    network (large α, small motion) loses no digits. Runs under ``jit`` and ``vmap``
    over the dials, the start and the data; one diverged run leaves the others alone.

    Args:
        start: weights, one row for each unit; or w̄₀ and M₀ of a machine
            (``statistics``) or of infinitely many units (``infinite_width``). A machine
            of fewer than D units is better given by its weights: rounding in M₀ grows.
        objective: the training loss.
        dials: α, ε, learning rate and momentum.
        save_steps: step numbers to record, increasing, 0 = before the first step.
        query: a second loss to record, such as the test loss; never trained on.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        observe: what else to record at each save point, from the current w̄ and M; the
            statistics themselves by default (s·D² numbers). Pass the same function
            again to reuse the compiled loop.
        observe_motion: what to record of the weights' displacement, from its ``Motion``;
            None records nothing.

    Returns:
        Losses and observations at the save points, with a status.

    Raises:
        InputError: if shapes disagree, numbers are not finite, or the save steps are
            not increasing whole numbers from 0.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> x = jax.random.normal(jax.random.key(0), (20, 4)) / 2
        >>> trajectory = gradient_descent(
        ...     infinite_width(4), EmpiricalLoss(x, x[:, 0] ** 2),
        ...     dials=Dials(alpha=1.0, epsilon=0.5), save_steps=np.array([0, 10, 1000]))
        >>> bool(trajectory.train_loss[2] < 0.01 * trajectory.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5 and §8.1; the closure is derived in docs/theory.md.
    """
    start, objective, query = floating_problem(start=start, objective=objective, query=query)
    require_sound(objective, start)
    if query is not None:
        require_sound(query, start)
    require_dials(dials)
    steps = require_steps(save_steps)
    has_momentum = not (isinstance(dials.momentum, int | float) and dials.momentum == 0)
    return _descend(
        start,
        objective,
        floating_dials(dials, jax.tree.leaves(start)[0]),
        steps,
        query,
        has_momentum=has_momentum,
        centered=centered,
        observe=observe,
        observe_motion=observe_motion,
    )


@partial(jax.jit, static_argnames=("has_momentum", "centered", "observe", "observe_motion"))
@jax.default_matmul_precision("highest")  # GPUs would round float32 products to TF32
def _descend(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    dials: Dials,
    steps: Int[Array, " s"],
    query: Objective | None,
    *,
    has_momentum: bool,
    centered: bool,
    observe: Callable[[Statistics], Any],
    observe_motion: Callable[[Motion], Any] | None,
) -> Trajectory:
    stats0, rows = start_of(start)
    scales = {"alpha": dials.alpha, "epsilon": dials.epsilon}
    pull = objective.pull_from(rows, centered=centered, **scales)

    steps_of = DescentSteps(rows, pull, dials.rate, dials.momentum if has_momentum else None)

    def segment(state, n_steps):
        state = steps_of.advance(state, 0, n_steps)
        gone = displacement(rows, state.moved)
        stats = _add(stats0, gone)
        seen = gone if centered else stats
        query_loss = None if query is None else query.loss(seen, **scales)
        moved = None if observe_motion is None else observe_motion(motion(rows, state.moved))
        return state, (objective.loss(seen, **scales), query_loss, observe(stats), moved)

    _, (train_loss, query_loss, observed, moved) = jax.lax.scan(
        segment, steps_of.start(), jnp.diff(steps, prepend=0)
    )
    status = jnp.where(jnp.isfinite(train_loss).all(), Status.ok, Status.diverged)
    return Trajectory(steps, train_loss, query_loss, observed, status, moved)


def start_of(start: Statistics | Float[Array, "N d"]) -> tuple[Statistics, Array]:
    """The statistics at the start, and rows to run on: never more than D + 1 of them."""
    if isinstance(start, Statistics):
        return start, equivalent_weights(start)
    stats = statistics(start)
    width, dim = start.shape
    return stats, start if width <= dim + 1 else equivalent_weights(stats)


def floating_dials(dials: Dials, array: Array) -> Dials:
    """The dials as scalars of an array's type."""
    return Dials(*real_scalars(array, **dials._asdict()))


def require_dials(dials: Dials) -> None:
    """Refuse dials that are not finite, an α or ε of zero, a rate or momentum out of range.

    Raises:
        InputError: naming the dial.
    """
    require_finite(**dials._asdict())
    require_positive(alpha=dials.alpha, learning_rate=dials.learning_rate)
