"""Gradient flow of the committee machine's moments: descent at vanishing learning rate."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, ScalarLike
from numpy.typing import ArrayLike

from lazyrich._base import (
    InputError,
    Status,
    full_precision,
    host_array,
    real_scalars,
    require_finite,
    require_positive,
)
from lazyrich.numerics import RungeKuttaChebyshev

from ._displacement import DisplacementMoments
from ._flow_steps import MAX_STEPS
from ._loss import Objective
from ._trajectory import (
    DynamicHyperparameters,
    Problem,
    Recording,
    Start,
    Trajectory,
    identity,
    sound_problem,
    start_of,
)
from ._weight_moments import WeightMoments, moment_change

_MAX_DENSE_STEPS = 1024


def gradient_flow(
    start: WeightMoments | Float[Array, "N d"],
    objective: Objective,
    *,
    hyperparameters: DynamicHyperparameters,
    eval_t: Sequence[float] | np.ndarray | Float[Array, " s"],
    query: Objective | None = None,
    centered: bool = True,
    observe: Callable[[WeightMoments], PyTree] = identity,
    observe_displacement: Callable[[DisplacementMoments], PyTree] | None = None,
    rtol: float = 1e-3,
) -> Trajectory:
    """Gradient flow on the committee machine, exact for any width, at evaluation steps.

    The limit of ``gradient_descent`` at vanishing learning rate, in flow time
    t = learning_rate × steps: dw̄/dt = −(2/α)(g + εGw̄) and
    dM/dt = −(2/α)[g w̄ᵀ + w̄ gᵀ + ε(GM + MG)]. Tens to hundreds of times faster than
    the steps that it approximates. The hyperparameters' learning rate and momentum are not used.

    Args:
        start: weights, or w̄₀ and M₀, as for ``gradient_descent``.
        objective: the training loss; a ``PopulationLoss`` gives the limit P → ∞.
        hyperparameters: α and ε.
        eval_t: flow times to record, not negative, increasing.
        query: a second loss to record, never trained on.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        observe: what else to record at each evaluation step; the moments by default.
        observe_displacement: what to record of the weights' ``DisplacementMoments``;
            None records nothing.
        rtol: relative tolerance of a solver step, on the displacement of the rows.

    Returns:
        Losses and observations; ``steps`` holds the flow times. Evaluation steps after a
        failure of the solver are not finite, and the status says ``out_of_steps`` or
        ``diverged``.

    Raises:
        InputError: if shapes disagree, numbers are not finite, or the times do not
            increase from zero or above.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> x = jax.random.normal(jax.random.key(0), (20, 4)) / 2
        >>> flow = gradient_flow(
        ...     infinite_width(4), EmpiricalLoss(x, x[:, 0] ** 2),
        ...     hyperparameters=DynamicHyperparameters(alpha=1.0, epsilon=0.5),
        ...     eval_t=np.array([0.0, 10.0, 1000.0]))
        >>> bool(flow.train_loss[2] < 0.01 * flow.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    problem = sound_problem(start, objective, query, hyperparameters)
    require_finite(rtol=rtol)
    require_positive(rtol=rtol)
    recording = Recording(centered, observe, observe_displacement)
    return _flow(problem, _require_times(eval_t), rtol, recording=recording)


@full_precision
def flow_interpolant(
    start: WeightMoments | Float[Array, "N d"],
    objective: Objective,
    *,
    hyperparameters: DynamicHyperparameters,
    t_end: ScalarLike,
    centered: bool = True,
    rtol: float = 1e-3,
) -> Callable[[ScalarLike], WeightMoments]:
    """Gradient flow as a function of time: w̄ and M at any t in [0, t_end].

    Args:
        start: weights, or w̄₀ and M₀, as for ``gradient_descent``.
        objective: the training loss.
        hyperparameters: α and ε.
        t_end: last flow time, above zero.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        rtol: relative tolerance of a solver step.

    Returns:
        A function from flow time to the weight_moments, jit- and vmap-safe. Its values are not
        finite outside of [0, t_end], nor after the time at which the solver failed, if it did.

    Raises:
        InputError: as ``gradient_flow``.

    Example:
        >>> from lazyrich.theory import PopulationLoss, infinite_width
        >>> at = flow_interpolant(
        ...     infinite_width(2), PopulationLoss(jnp.diag(jnp.array([2.0, 0.0]))),
        ...     hyperparameters=DynamicHyperparameters(alpha=1.0, epsilon=1.0), t_end=100.0)
        >>> [round(float(v), 3) for v in jnp.diag(at(100.0).second_moment)]
        [3.0, 1.0]

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    problem = sound_problem(start, objective, None, hyperparameters)
    require_finite(t_end=t_end, rtol=rtol)
    require_positive(t_end=t_end, rtol=rtol)
    initial = start_of(problem.start)
    [t_end] = real_scalars(initial.rows, t_end=t_end)
    saveat = diffrax.SaveAt(dense=True)
    velocity = _velocity(problem, initial, centered=centered)
    solution = _solve(
        velocity, initial, saveat, t_end, _controller(problem, rtol), _MAX_DENSE_STEPS
    )

    def at(t: ScalarLike) -> WeightMoments:
        [t] = real_scalars(initial.rows, t=t)
        displacements = solution.evaluate(t)
        return jax.tree.map(jnp.add, initial.moments, moment_change(initial.rows, displacements))

    return at


@partial(jax.jit, static_argnames=("recording",))
@full_precision
def _flow(
    problem: Problem, times: Float[Array, " s"], rtol: ScalarLike, *, recording: Recording
) -> Trajectory:
    initial = start_of(problem.start)

    def record(t: ScalarLike, displacements: Array, args: None) -> tuple[PyTree, ...]:
        del t, args
        return recording.at(problem, initial, displacements)

    saveat = diffrax.SaveAt(ts=times, fn=record)
    velocity = _velocity(problem, initial, centered=recording.centered)
    controller = _controller(problem, rtol)
    solution = _solve(velocity, initial, saveat, times[-1], controller, MAX_STEPS)
    train_loss, query_loss, observed, observed_displacement = cast(tuple, solution.ys)
    failure = jnp.where(
        solution.result == diffrax.RESULTS.max_steps_reached, Status.out_of_steps, Status.diverged
    )
    is_ok = (solution.result == diffrax.RESULTS.successful) & jnp.isfinite(train_loss).all()
    status = jnp.where(is_ok, Status.ok, failure)
    return Trajectory(times, train_loss, query_loss, observed, status, observed_displacement)


Velocity = Callable[[ScalarLike, Float[Array, "r d"], None], Float[Array, "r d"]]
"""dΔ/dt from flow time, displacements and no further arguments, as diffrax calls it."""


def _velocity(problem: Problem, start: Start, *, centered: bool) -> Velocity:
    hyperparameters = problem.hyperparameters
    gradient = problem.objective.gradient_from(
        start.rows, alpha=hyperparameters.alpha, epsilon=hyperparameters.epsilon, centered=centered
    )
    rate = jnp.divide(2, hyperparameters.alpha)

    def velocity(t: ScalarLike, displacements: Array, args: None) -> Array:
        del t, args
        return -rate * gradient(displacements)

    return velocity


def _controller(problem: Problem, rtol: ScalarLike) -> diffrax.PIDController:
    """A displacement counts as zero far below what the target needs, about 1/α."""
    tolerance = jnp.asarray(rtol)
    return diffrax.PIDController(
        rtol=tolerance, atol=1e-2 * tolerance / problem.hyperparameters.alpha
    )


def _solve(
    velocity: Velocity,
    start: Start,
    saveat: diffrax.SaveAt,
    t_end: ScalarLike,
    controller: diffrax.PIDController,
    max_steps: int,
) -> diffrax.Solution:
    return diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        RungeKuttaChebyshev(),
        t0=0.0,
        t1=t_end,
        dt0=None,
        y0=jnp.zeros_like(start.rows),
        saveat=saveat,
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )


def _require_times(eval_t: ArrayLike) -> Float[Array, " s"]:
    times = host_array("eval_t", eval_t)
    if times.ndim != 1 or times.size == 0 or times[0] < 0 or not (np.diff(times) > 0).all():
        raise InputError(
            f"eval_t is {eval_t!r}; it must be a one-dimensional array of flow times "
            "that increase from zero or above."
        )
    require_finite(eval_t=times)
    return jnp.asarray(times)
