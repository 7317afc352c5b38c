"""Gradient descent on the committee machine, exactly, on its statistics alone.

Every weight row moves by the same affine map w_i → w_i − c(g + εG w_i), with c = 2ηα/N
and the residual moments g, G that depend on (w̄, M) only. Hence the first two moments
of the rows close, at a cost that does not know the width. Heavy-ball momentum closes
too: (w_i, v_i) moves affinely, so the moments of the pair do.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, ScalarLike

from lazyrich._ground import Status, require_finite, require_positive, require_steps

from ._objective import Objective, ResidualMoments, require_sound
from ._statistics import Statistics


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
    """

    steps: Array
    train_loss: Float[Array, " s"]
    query_loss: Float[Array, " s"] | None
    observed: Any
    status: Int[Array, ""]

    def finite_part(self) -> "Trajectory":
        """The save points before the first loss that is not finite; all of them if ok."""
        is_finite = np.isfinite(np.asarray(self.train_loss))
        kept = len(is_finite) if is_finite.all() else int(np.argmin(is_finite))
        return jax.tree.map(lambda leaf: leaf[:kept] if jnp.ndim(leaf) else leaf, self)


class Momenta(NamedTuple):
    """Moments of the rows' velocities v_i, besides those of the rows w_i.

    Attributes:
        mean: v̄ = (1/N) Σ v_i.
        cross: (1/N) Σ w_i v_iᵀ.
        second: (1/N) Σ v_i v_iᵀ.
    """

    mean: Float[Array, " d"]
    cross: Float[Array, "d d"]
    second: Float[Array, "d d"]


def velocity(stats: Statistics, moments: ResidualMoments, epsilon: ScalarLike) -> Statistics:
    """Rate of change of (w̄, M) per unit of c under gradient flow.

    dw̄ = −(g + εGw̄), dM = −[g w̄ᵀ + w̄ gᵀ + ε(GM + MG)].
    """
    g, G = moments.first, jnp.multiply(epsilon, moments.second)
    pushed = G @ stats.second_moment + jnp.outer(g, stats.mean_weight)
    return Statistics(-(g + G @ stats.mean_weight), -(pushed + pushed.T))


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


def _increment_with_momentum(
    stats: Statistics, momenta: Momenta, moments: ResidualMoments, dials: Dials
) -> tuple[Statistics, Momenta]:
    """Change of (w̄, M), and the new momenta, in one step v ← μv + p, w ← w − v."""
    g, G = dials.rate * moments.first, dials.rate * dials.epsilon * moments.second
    mu = jnp.asarray(dials.momentum)
    pulled = G @ stats.mean_weight
    push_weight = G @ stats.second_moment + jnp.outer(g, stats.mean_weight)
    push_push = push_weight @ G + jnp.outer(g + pulled, g)
    push_velocity = G @ momenta.cross + jnp.outer(g, momenta.mean)
    mean = mu * momenta.mean + g + pulled
    second = mu**2 * momenta.second + mu * (push_velocity + push_velocity.T) + push_push
    weight_velocity = mu * momenta.cross + push_weight.T
    change = Statistics(-mean, second - weight_velocity - weight_velocity.T)
    return change, Momenta(mean, weight_velocity - second, second)


def _add(a: Statistics, b: Statistics) -> Statistics:
    return Statistics(a.mean_weight + b.mean_weight, a.second_moment + b.second_moment)


def gradient_step(
    stats: Statistics, objective: Objective, *, dials: Dials, origin: Statistics | None = None
) -> Statistics:
    """One step of full-batch gradient descent on all weights, as a map of (w̄, M).

    With c = 2ηα/N and A = I − cεG: w̄⁺ = Aw̄ − cg and
    M⁺ = AMA − c(Aw̄ gᵀ + g w̄ᵀA) + c² g gᵀ. The momentum of ``dials`` is not used: it
    needs a memory, see ``gradient_descent``.

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
    moved = stats if origin is None else jax.tree.map(jnp.subtract, stats, origin)
    moments = objective.residual_moments(moved, alpha=dials.alpha, epsilon=dials.epsilon)
    return _add(stats, _increment(stats, moments, dials.rate, dials.epsilon))


def _itself(stats: Statistics) -> Statistics:
    return stats


def gradient_descent(
    start: Statistics,
    objective: Objective,
    *,
    dials: Dials,
    save_steps: Sequence[int] | np.ndarray,
    query: Objective | None = None,
    centered: bool = True,
    observe: Callable[[Statistics], Any] = _itself,
) -> Trajectory:
    """Full-batch gradient descent on the committee machine, exact for any width.

    The loop carries the displacement from the start, so that a lazy network (large α,
    small motion) loses no digits. Runs under ``jit`` and ``vmap`` over the dials, the
    start and the data; one diverged run leaves the others alone.

    Args:
        start: w̄₀ and M₀ of given weights (``statistics``) or of infinitely many
            (``infinite_width``).
        objective: the training loss.
        dials: α, ε, learning rate and momentum.
        save_steps: step numbers to record, increasing, 0 = before the first step.
        query: a second loss to record, such as the test loss; never trained on.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        observe: what else to record at each save point, from the current w̄ and M; the
            statistics themselves by default (s·D² numbers). Pass the same function
            again to reuse the compiled loop.

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
    require_sound(objective, start)
    if query is not None:
        require_sound(query, start)
    require_dials(dials)
    steps = require_steps(save_steps)
    has_momentum = not (isinstance(dials.momentum, int | float) and dials.momentum == 0)
    return _descend(
        start,
        objective,
        dials,
        steps,
        query,
        has_momentum=has_momentum,
        centered=centered,
        observe=observe,
    )


@partial(jax.jit, static_argnames=("has_momentum", "centered", "observe"))
@jax.default_matmul_precision("highest")  # GPUs would round float32 products to TF32
def _descend(
    start: Statistics,
    objective: Objective,
    dials: Dials,
    steps: Int[Array, " s"],
    query: Objective | None,
    *,
    has_momentum: bool,
    centered: bool,
    observe: Callable[[Statistics], Any],
) -> Trajectory:
    scales = {"alpha": dials.alpha, "epsilon": dials.epsilon}

    def step(carry):
        moved, momenta = carry
        stats = _add(start, moved)
        moments = objective.residual_moments(moved if centered else stats, **scales)
        if momenta is None:
            change = _increment(stats, moments, dials.rate, dials.epsilon)
        else:
            change, momenta = _increment_with_momentum(stats, momenta, moments, dials)
        return _add(moved, change), momenta

    def segment(carry, n_steps):
        carry = jax.lax.fori_loop(0, n_steps, lambda _, c: step(c), carry)
        stats = _add(start, carry[0])
        seen = carry[0] if centered else stats
        query_loss = None if query is None else query.loss(seen, **scales)
        return carry, (objective.loss(seen, **scales), query_loss, observe(stats))

    still = jax.tree.map(jnp.zeros_like, start)
    momenta = Momenta(still.mean_weight, still.second_moment, still.second_moment)
    _, (train_loss, query_loss, observed) = jax.lax.scan(
        segment, (still, momenta if has_momentum else None), jnp.diff(steps, prepend=0)
    )
    status = jnp.where(jnp.isfinite(train_loss).all(), Status.ok, Status.diverged)
    return Trajectory(steps, train_loss, query_loss, observed, status)


def require_dials(dials: Dials) -> None:
    """Refuse dials that are not finite, an α or ε of zero, a rate or momentum out of range.

    Raises:
        InputError: naming the dial.
    """
    require_finite(**dials._asdict())
    require_positive(alpha=dials.alpha, learning_rate=dials.learning_rate)
