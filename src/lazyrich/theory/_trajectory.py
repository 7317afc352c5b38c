"""Initial values, settings and records of gradient descent and flow."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from lazyrich._base import (
    InputError,
    concrete,
    real_scalars,
    require_finite,
    require_instance,
    require_nonnegative,
    require_positive,
)

from ._displacement import DisplacementMoments, displacement_moments
from ._loss import Objective, floating_problem, require_sound
from ._weight_moments import WeightMoments, equivalent_weights, moment_change, weight_moments


class DynamicHyperparameters(NamedTuple):
    """Scalars of the training; each may be traced, and arrays of them go through ``vmap``.

    Attributes:
        alpha: α, output scale, dimensionless; large is lazy.
        epsilon: ε, strength of the quadratic part of the activation, dimensionless.
        learning_rate: η₀ in units of N/α², so that the step on the weights is
            η = learning_rate · N/α² (§8.1) and infinite width has a limit. Flow time
            is learning_rate × steps.
        momentum: μ of heavy-ball momentum, v ← μv + ∇, w ← w − ηv; 0 is plain descent.

    Example:
        >>> float(DynamicHyperparameters(alpha=0.5, epsilon=0.1).rate)
        4.0
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
    """Gradient descent or flow at its evaluation steps.

    Attributes:
        steps: evaluation steps, optimizer steps (for the flow: flow time).
        train_loss: the objective's mean squared error, label units²; not finite from
            the point of divergence on.
        query_loss: the same on the query objective, or None if there is none.
        observed: what ``observe`` returned, with a leading axis of evaluation steps.
        status: a ``Status`` as a number: ``ok``, ``diverged`` if a loss stopped being
            finite, or ``out_of_steps`` if the solver of the flow gave up.
        displacement_moments: what ``observe_displacement`` returned; leading axis: evaluations.

    Example:
        >>> losses = jnp.array([1.0, jnp.inf])
        >>> diverged = Trajectory(jnp.arange(2), losses, None, None, jnp.array(1))
        >>> diverged.finite_part().train_loss.tolist()
        [1.0]
    """

    steps: Array
    train_loss: Float[Array, " s"]
    query_loss: Float[Array, " s"] | None
    observed: PyTree
    status: Int[Array, ""]
    displacement_moments: PyTree = None

    def finite_part(self) -> "Trajectory":
        """The evaluation steps before the first loss that is not finite; all of them if ok."""
        is_finite = np.isfinite(np.asarray(self.train_loss))
        n_finite = len(is_finite) if is_finite.all() else int(np.argmin(is_finite))
        return jax.tree.map(lambda leaf: leaf[:n_finite] if jnp.ndim(leaf) else leaf, self)


class Problem(NamedTuple):
    """What is trained: the start, the loss and the scalars, as arrays of one floating type."""

    start: WeightMoments | Float[Array, "N d"]
    objective: Objective
    query: Objective | None
    hyperparameters: DynamicHyperparameters


class Start(NamedTuple):
    """The moments at the start, and weight rows that have them: at most D + 1 of them."""

    moments: WeightMoments
    rows: Float[Array, "r d"]


class Recording(NamedTuple):
    """What is recorded at a evaluation step; hashable, so that it can be static under ``jit``."""

    centered: bool
    observe: Callable[[WeightMoments], PyTree]
    observe_displacement: Callable[[DisplacementMoments], PyTree] | None

    def at(
        self, problem: Problem, start: Start, displacements: Float[Array, "r d"]
    ) -> tuple[PyTree, ...]:
        """Train loss, query loss, and what is observed, for displaced rows."""
        scales = {
            "alpha": problem.hyperparameters.alpha,
            "epsilon": problem.hyperparameters.epsilon,
        }
        change = moment_change(start.rows, displacements)
        stats = jax.tree.map(jnp.add, start.moments, change)
        # The trained function depends on the change alone where it is centred (Eq. 7).
        trained = change if self.centered else stats
        query_loss = None if problem.query is None else problem.query.loss(trained, **scales)
        train_loss = problem.objective.loss(trained, **scales)
        if self.observe_displacement is None:
            return train_loss, query_loss, self.observe(stats), None
        observed_displacement = self.observe_displacement(
            displacement_moments(start.rows, displacements)
        )
        return train_loss, query_loss, self.observe(stats), observed_displacement


def identity(stats: WeightMoments) -> WeightMoments:
    """The default of ``observe``."""
    return stats


def sound_problem(
    start: WeightMoments | Float[Array, "N d"],
    objective: Objective,
    query: Objective | None,
    hyperparameters: DynamicHyperparameters,
) -> Problem:
    """A problem in one floating type.

    Raises:
        InputError: if shapes disagree, data are empty, or a number is not finite or out of
            its range.
    """
    start, objective, query = floating_problem(start=start, objective=objective, query=query)
    require_sound(objective, start)
    if query is not None:
        require_sound(query, start)
    require_hyperparameters(hyperparameters)
    require_positive(learning_rate=hyperparameters.learning_rate)
    return Problem(
        start,
        objective,
        query,
        floating_hyperparameters(hyperparameters, jax.tree.leaves(start)[0]),
    )


def require_hyperparameters(hyperparameters: DynamicHyperparameters) -> None:
    """Refuse scalars that are not finite or out of their range.

    Raises:
        InputError: naming the first of them.
    """
    require_instance(DynamicHyperparameters, hyperparameters=hyperparameters)
    require_finite(**hyperparameters._asdict())
    require_positive(alpha=hyperparameters.alpha)
    require_nonnegative(momentum=hyperparameters.momentum)
    momentum = concrete(hyperparameters.momentum)
    if momentum is not None and (momentum >= 1).any():
        raise InputError(f"momentum is {hyperparameters.momentum}; it must be below one.")


def floating_hyperparameters(
    hyperparameters: DynamicHyperparameters, array: Array
) -> DynamicHyperparameters:
    """The hyperparameters as scalars of an array's type."""
    return DynamicHyperparameters(*real_scalars(array, **hyperparameters._asdict()))


def start_of(start: WeightMoments | Float[Array, "N d"]) -> Start:
    """The start as moments and rows; computed once, outside of the loops."""
    if isinstance(start, WeightMoments):
        return Start(start, equivalent_weights(start))
    stats = weight_moments(start)
    width, dim = start.shape
    return Start(stats, start if width <= dim + 1 else equivalent_weights(stats))
