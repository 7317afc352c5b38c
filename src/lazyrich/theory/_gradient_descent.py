"""Gradient descent on the committee machine, exactly, at a cost that does not grow with width.

Every weight row moves by the same affine map w_i → w_i − c(g + εG w_i), with c = 2ηα/N
and the residual moments g, G that depend on (w̄, M) only. Hence the first two moments
of the rows close, and any machine trains like its equivalent of D + 1 units, with whose
rows the loop computes. Heavy-ball momentum closes for the same reason.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from lazyrich._base import Status, full_precision, require_steps

from ._descent_steps import DescentState, DescentSteps
from ._displacement import DisplacementMoments
from ._loss import Objective
from ._trajectory import (
    DynamicHyperparameters,
    Problem,
    Recording,
    Trajectory,
    identity,
    sound_problem,
    start_of,
)
from ._weight_moments import WeightMoments


def gradient_descent(
    start: WeightMoments | Float[Array, "N d"],
    objective: Objective,
    *,
    hyperparameters: DynamicHyperparameters,
    eval_steps: Sequence[int] | np.ndarray,
    query: Objective | None = None,
    centered: bool = True,
    observe: Callable[[WeightMoments], PyTree] = identity,
    observe_displacement: Callable[[DisplacementMoments], PyTree] | None = None,
) -> Trajectory:
    """Full-batch gradient descent on the committee machine, exact for any width.

    Computes with the rows of the equivalent machine of D + 1 units, or of the machine
    itself if it is smaller. The loop carries their displacement from the start, so that a
    lazy network (large α, small displacement) loses no digits. Runs under ``jit`` and ``vmap``
    over the hyperparameters, the start and the data; one diverged run leaves the others alone.

    Args:
        start: weights, one row for each unit; or w̄₀ and M₀ of a machine
            (``weight_moments``) or of infinitely many units (``infinite_width``). Give a
            machine of fewer than D units by its weights: rounding in M₀ grows.
        objective: the training loss.
        hyperparameters: α, ε, learning rate and momentum.
        eval_steps: step numbers to record, increasing, 0 = before the first step.
        query: a second loss to record, such as the test loss; never trained on.
        centered: train α[f(θ) − f(θ₀)] (Eq. 7) rather than αf(θ).
        observe: what else to record at each evaluation step, from the current w̄ and M; the
            moments themselves by default (s·D² numbers). Pass the same function
            again to reuse the compiled loop.
        observe_displacement: what to record of the weights' ``DisplacementMoments``;
            None records nothing.

    Returns:
        Losses and observations at the evaluation steps, with a status.

    Raises:
        InputError: if shapes disagree, numbers are not finite, or the evaluation steps are
            not increasing whole numbers from 0.

    Example:
        >>> from lazyrich.theory import EmpiricalLoss, infinite_width
        >>> x = jax.random.normal(jax.random.key(0), (20, 4)) / 2
        >>> trajectory = gradient_descent(
        ...     infinite_width(4), EmpiricalLoss(x, x[:, 0] ** 2),
        ...     hyperparameters=DynamicHyperparameters(alpha=1.0, epsilon=0.5),
        ...     eval_steps=np.array([0, 10, 1000]))
        >>> bool(trajectory.train_loss[2] < 0.01 * trajectory.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5 and §8.1; the closure is derived in docs/theory.md.
    """
    problem = sound_problem(start, objective, query, hyperparameters)
    has_momentum = not (
        isinstance(hyperparameters.momentum, int | float) and hyperparameters.momentum == 0
    )
    recording = Recording(centered, observe, observe_displacement)
    steps = require_steps(eval_steps)
    return _descend(problem, steps, has_momentum=has_momentum, recording=recording)


@partial(jax.jit, static_argnames=("has_momentum", "recording"))
@full_precision
def _descend(
    problem: Problem, steps: Int[Array, " s"], *, has_momentum: bool, recording: Recording
) -> Trajectory:
    hyperparameters = problem.hyperparameters
    start = start_of(problem.start)
    gradient = problem.objective.gradient_from(
        start.rows,
        centered=recording.centered,
        alpha=hyperparameters.alpha,
        epsilon=hyperparameters.epsilon,
    )

    momentum = hyperparameters.momentum if has_momentum else None
    descent = DescentSteps(start.rows, gradient, hyperparameters.rate, momentum)

    def segment(
        state: DescentState, n_steps: ScalarLike
    ) -> tuple[DescentState, tuple[PyTree, ...]]:
        state = descent.advance(state, 0, n_steps)
        return state, recording.at(problem, start, state.displacements)

    _, (train_loss, query_loss, observed, observed_displacement) = jax.lax.scan(
        segment, descent.start(), jnp.diff(steps, prepend=0)
    )
    status = jnp.where(jnp.isfinite(train_loss).all(), Status.ok, Status.diverged)
    return Trajectory(steps, train_loss, query_loss, observed, status, observed_displacement)
