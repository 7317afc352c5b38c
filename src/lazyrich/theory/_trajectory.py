"""Where gradient descent and flow start, what decides them, and what they record."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

from lazyrich._base import real_scalars, require_finite, require_positive

from ._displacement import Motion, motion
from ._loss import Objective, floating_problem, require_sound
from ._weight_moments import Statistics, displacement, equivalent_weights, statistics


class Dials(NamedTuple):
    """Scalars of the training; each may be traced, and arrays of them go through ``vmap``.

    Attributes:
        alpha: α, output scale, dimensionless; large is lazy.
        epsilon: ε, strength of the quadratic part of the activation, dimensionless.
        learning_rate: η₀ in units of N/α², so that the step on the weights is
            η = learning_rate · N/α² (§8.1) and infinite width has a limit. Flow time
            is learning_rate × steps.
        momentum: μ of heavy-ball momentum, v ← μv + ∇, w ← w − ηv; 0 is plain descent.

    Example:
        >>> float(Dials(alpha=0.5, epsilon=0.1).rate)
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
    """Gradient descent or flow at its save points.

    Attributes:
        steps: save points, optimizer steps (for the flow: flow time).
        train_loss: the objective's mean squared error, label units²; not finite from
            the point of divergence on.
        query_loss: the same on the query objective, or None if there is none.
        observed: what ``observe`` returned, with a leading axis of save points.
        status: a ``Status`` as a number: ``ok``, ``diverged`` if a loss stopped being
            finite, or ``out_of_steps`` if the solver of the flow gave up.
        motion: what ``observe_motion`` returned, with a leading axis of save points.

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
    motion: PyTree = None

    def finite_part(self) -> "Trajectory":
        """The save points before the first loss that is not finite; all of them if ok."""
        is_finite = np.isfinite(np.asarray(self.train_loss))
        n_finite = len(is_finite) if is_finite.all() else int(np.argmin(is_finite))
        return jax.tree.map(lambda leaf: leaf[:n_finite] if jnp.ndim(leaf) else leaf, self)


class Problem(NamedTuple):
    """What is trained: the start, the loss and the scalars, as arrays of one floating type."""

    start: Statistics | Float[Array, "N d"]
    objective: Objective
    query: Objective | None
    dials: Dials


class Start(NamedTuple):
    """The moments at the start, and weight rows that have them: at most D + 1 of them."""

    moments: Statistics
    rows: Float[Array, "r d"]


class Recording(NamedTuple):
    """What is recorded at a save point; hashable, so that it can be static under ``jit``."""

    centered: bool
    observe: Callable[[Statistics], PyTree]
    observe_motion: Callable[[Motion], PyTree] | None

    def at(
        self, problem: Problem, start: Start, displacements: Float[Array, "r d"]
    ) -> tuple[PyTree, ...]:
        """Train loss, query loss, observation, observed motion, for displaced rows."""
        scales = {"alpha": problem.dials.alpha, "epsilon": problem.dials.epsilon}
        change = displacement(start.rows, displacements)
        stats = jax.tree.map(jnp.add, start.moments, change)
        # The trained function depends on the change alone where it is centred (Eq. 7).
        trained = change if self.centered else stats
        query_loss = None if problem.query is None else problem.query.loss(trained, **scales)
        train_loss = problem.objective.loss(trained, **scales)
        if self.observe_motion is None:
            return train_loss, query_loss, self.observe(stats), None
        observed_motion = self.observe_motion(motion(start.rows, displacements))
        return train_loss, query_loss, self.observe(stats), observed_motion


def identity(stats: Statistics) -> Statistics:
    """The default of ``observe``."""
    return stats


def sound_problem(
    start: Statistics | Float[Array, "N d"],
    objective: Objective,
    query: Objective | None,
    dials: Dials,
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
    require_finite(**dials._asdict())
    require_positive(alpha=dials.alpha, learning_rate=dials.learning_rate)
    return Problem(start, objective, query, floating_dials(dials, jax.tree.leaves(start)[0]))


def floating_dials(dials: Dials, array: Array) -> Dials:
    """The dials as scalars of an array's type."""
    return Dials(*real_scalars(array, **dials._asdict()))


def start_of(start: Statistics | Float[Array, "N d"]) -> Start:
    """The start as moments and rows; computed once, outside of the loops."""
    if isinstance(start, Statistics):
        return Start(start, equivalent_weights(start))
    stats = statistics(start)
    width, dim = start.shape
    return Start(stats, start if width <= dim + 1 else equivalent_weights(stats))
