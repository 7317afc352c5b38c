"""Gradient flow of the committee machine's statistics: descent at vanishing learning rate."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, ScalarLike

from lazyrich._ground import InputError, Status, require_finite, require_positive

from ._chebyshev import RungeKuttaChebyshev
from ._dynamics import Dials, Trajectory, _itself, floating_dials, require_dials, start_of
from ._flow_steps import MAX_STEPS
from ._motion import Motion, motion
from ._objective import Objective, floating_problem, require_sound
from ._statistics import Statistics, displacement

_MAX_DENSE_STEPS = 1024


def gradient_flow(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    *,
    dials: Dials,
    save_t: Sequence[float] | np.ndarray | Float[Array, " s"],
    query: Objective | None = None,
    centered: bool = True,
    observe: Callable[[Statistics], Any] = _itself,
    observe_motion: Callable[[Motion], Any] | None = None,
    rtol: float = 1e-3,
) -> Trajectory:
    """Gradient flow on the committee machine, exact for any width, at save points.

    The limit of ``gradient_descent`` at vanishing learning rate, in flow time
    t = learning_rate × steps: dw̄/dt = −(2/α)(g + εGw̄) and
    dM/dt = −(2/α)[g w̄ᵀ + w̄ gᵀ + ε(GM + MG)]. Tens to hundreds of times faster than
    the steps it stands for. The dials' learning rate and momentum play no part.

    Args:
        start: weights, or w̄₀ and M₀, as for ``gradient_descent``.
        objective: the training loss; a ``PopulationLoss`` gives the limit P → ∞.
        dials: α and ε.
        save_t: flow times to record, not negative, increasing.
        query: a second loss to record, never trained on.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        observe: what else to record at each save point; the statistics by default.
        observe_motion: what to record of the weights' displacement, from its ``Motion``;
            None records nothing.
        rtol: relative tolerance of a solver step, on the displacement of the rows.

    Returns:
        Losses and observations; ``steps`` holds the flow times. Save points after a
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
        ...     dials=Dials(alpha=1.0, epsilon=0.5), save_t=np.array([0.0, 10.0, 1000.0]))
        >>> bool(flow.train_loss[2] < 0.01 * flow.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    start, objective, query = floating_problem(start=start, objective=objective, query=query)
    _require_flow(start, objective, query, dials)
    dials = floating_dials(dials, jax.tree.leaves(start)[0])
    times = _require_times(save_t)
    return _flow(
        *(start, objective, dials, times, query, rtol),
        centered=centered,
        observe=observe,
        observe_motion=observe_motion,
    )


def flow_interpolant(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    *,
    dials: Dials,
    t_end: ScalarLike,
    centered: bool = True,
    rtol: float = 1e-3,
) -> Callable[[ScalarLike], Statistics]:
    """Gradient flow as a function of time: w̄ and M at any t in [0, t_end].

    Args:
        start: weights, or w̄₀ and M₀, as for ``gradient_descent``.
        objective: the training loss.
        dials: α and ε.
        t_end: last flow time, above zero.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        rtol: relative tolerance of a solver step.

    Returns:
        A function from flow time to the statistics, jit- and vmap-safe. Not finite
        from where the solver gave up, if it did.

    Raises:
        InputError: as ``gradient_flow``.

    Example:
        >>> from lazyrich.theory import PopulationLoss, infinite_width
        >>> at = flow_interpolant(
        ...     infinite_width(2), PopulationLoss(jnp.diag(jnp.array([2.0, 0.0]))),
        ...     dials=Dials(alpha=1.0, epsilon=1.0), t_end=100.0)
        >>> [round(float(v), 3) for v in jnp.diag(at(100.0).second_moment)]
        [3.0, 1.0]
    """
    start, objective = floating_problem(start=start, objective=objective)
    _require_flow(start, objective, None, dials)
    dials = floating_dials(dials, jax.tree.leaves(start)[0])
    require_finite(t_end=t_end)
    require_positive(t_end=t_end)
    solution = _solve(
        start,
        objective,
        dials,
        diffrax.SaveAt(dense=True),
        t_end,
        rtol,
        centered=centered,
        max_steps=_MAX_DENSE_STEPS,
    )

    stats0, rows = start_of(start)

    def at(t: ScalarLike) -> Statistics:
        moved = solution.evaluate(jnp.asarray(t))
        return jax.tree.map(jnp.add, stats0, displacement(rows, moved))

    return at


@partial(jax.jit, static_argnames=("centered", "observe", "observe_motion"))
@jax.default_matmul_precision("highest")  # GPUs would round float32 products to TF32
def _flow(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    dials: Dials,
    times: Array,
    query: Objective | None,
    rtol: ScalarLike,
    *,
    centered: bool,
    observe: Callable[[Statistics], Any],
    observe_motion: Callable[[Motion], Any] | None,
) -> Trajectory:
    scales = {"alpha": dials.alpha, "epsilon": dials.epsilon}
    stats0, rows = start_of(start)

    def record(t, moved, args):
        del t, args
        gone = displacement(rows, moved)
        stats = jax.tree.map(jnp.add, stats0, gone)
        seen = gone if centered else stats
        query_loss = None if query is None else query.loss(seen, **scales)
        shift = None if observe_motion is None else observe_motion(motion(rows, moved))
        return objective.loss(seen, **scales), query_loss, observe(stats), shift

    solution = _solve(
        start,
        objective,
        dials,
        diffrax.SaveAt(ts=times, fn=record),
        times[-1],
        rtol,
        centered=centered,
        max_steps=MAX_STEPS,
    )
    train_loss, query_loss, observed, shift = cast(tuple, solution.ys)
    gave_up = jnp.where(
        solution.result == diffrax.RESULTS.max_steps_reached, Status.out_of_steps, Status.diverged
    )
    is_ok = (solution.result == diffrax.RESULTS.successful) & jnp.isfinite(train_loss).all()
    status = jnp.where(is_ok, Status.ok, gave_up)
    return Trajectory(times, train_loss, query_loss, observed, status, shift)


def _solve(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    dials: Dials,
    saveat: diffrax.SaveAt,
    t_end: ScalarLike,
    rtol: ScalarLike,
    *,
    centered: bool,
    max_steps: int,
) -> diffrax.Solution:
    pace = jnp.divide(2, dials.alpha)
    rows = start_of(start)[1]
    pull = objective.pull_from(rows, alpha=dials.alpha, epsilon=dials.epsilon, centered=centered)

    def field(t, moved, args):
        del t, args
        return -pace * pull(moved)

    tolerance = jnp.asarray(rtol)
    # A displacement counts as zero far below what the target asks of it, about 1/α.
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        RungeKuttaChebyshev(),
        t0=0.0,
        t1=t_end,
        dt0=None,
        y0=jnp.zeros_like(rows),
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(
            rtol=tolerance, atol=1e-2 * tolerance / dials.alpha
        ),
        max_steps=max_steps,
        throw=False,
    )


def _require_flow(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    query: Objective | None,
    dials: Dials,
) -> None:
    require_sound(objective, start)
    if query is not None:
        require_sound(query, start)
    require_dials(dials)


def _require_times(save_t: Any) -> Float[Array, " s"]:
    times = np.asarray(save_t, dtype=float)
    if times.ndim != 1 or times.size == 0 or times[0] < 0 or not (np.diff(times) > 0).all():
        raise InputError(
            f"save_t is {save_t!r}; it must be a one-dimensional array of flow times "
            "that increase from zero or above."
        )
    require_finite(save_t=times)
    return jnp.asarray(times)
