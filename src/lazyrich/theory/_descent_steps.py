"""Gradient descent on weight rows a few steps at a time, as a state and what moves it on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ._loss import Gradient


class DescentState(NamedTuple):
    """All that descent needs to go on.

    Attributes:
        moved: displacement of the weight rows from the start.
        velocity: of heavy-ball momentum, in units of a step; None without momentum.

    Example:
        >>> steps = DescentSteps(jnp.zeros((1, 1)), lambda moved: moved - 1, 0.5)
        >>> steps.start().moved.tolist(), steps.start().velocity
        ([[0.0]], None)
    """

    moved: Float[Array, "r d"]
    velocity: Float[Array, "r d"] | None


class DescentSteps(NamedTuple):
    """Full-batch gradient descent on the rows of a committee machine.

    Attributes:
        rows: the weights at the start, or those of the equivalent machine.
        pull: how far each row is pulled, from the rows' displacement
            (``Objective.pull_from``).
        rate: c = 2ηα/N, ``Dials.rate``.
        momentum: μ; None is plain descent.

    Example:
        >>> steps = DescentSteps(jnp.zeros((1, 1)), lambda moved: moved - 1, 0.5)
        >>> steps.displacement(steps.advance(steps.start(), 0, 2), 2).item()
        0.75
    """

    rows: Float[Array, "r d"]
    pull: Gradient
    rate: ScalarLike
    momentum: ScalarLike | None = None

    def start(self) -> DescentState:
        """The state before the first step."""
        still = jnp.zeros_like(self.rows)
        return DescentState(still, None if self.momentum is None else still)

    def advance(
        self, state: DescentState, first_step: ScalarLike, n_steps: ScalarLike
    ) -> DescentState:
        """The state after so many more steps."""

        def step(_: ScalarLike, state: DescentState) -> DescentState:
            moved, velocity = state
            update = self.rate * self.pull(moved)
            if velocity is not None and self.momentum is not None:
                update = velocity = jnp.multiply(self.momentum, velocity) + update
            return DescentState(moved - update, velocity)

        return jax.lax.fori_loop(first_step, first_step + n_steps, step, state)

    def displacement(self, state: DescentState, step: ScalarLike) -> Array:
        """How far the rows have gone, now that so many steps are made."""
        del step
        return state.moved
