"""Gradient descent on weight rows a few steps at a time, as a state and its update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ._loss import Gradient


class DescentState(NamedTuple):
    """The state between two steps of gradient descent.

    Attributes:
        displacements: displacement of the weight rows from the start.
        velocity: of heavy-ball momentum, in units of a step; None without momentum.

    Example:
        >>> DescentSteps(jnp.zeros((1, 1)), lambda change: change - 1, 0.5).start().velocity is None
        True
    """

    displacements: Float[Array, "r d"]
    velocity: Float[Array, "r d"] | None


class DescentSteps(NamedTuple):
    """Full-batch gradient descent on the rows of a committee machine.

    Attributes:
        rows: the weights at the start, or those of the equivalent machine.
        gradient: the gradient on each row as a function of the rows' displacement
            (``Objective.gradient_from``).
        rate: c = 2ηα/N, ``DynamicHyperparameters.rate``.
        momentum: μ; None is plain descent.

    Example:
        >>> steps = DescentSteps(jnp.zeros((1, 1)), lambda change: change - 1, 0.5)
        >>> steps.displacement(steps.advance(steps.start(), 0, 2), 2).item()
        0.75
    """

    rows: Float[Array, "r d"]
    gradient: Gradient
    rate: ScalarLike
    momentum: ScalarLike | None = None

    def start(self) -> DescentState:
        """The state before the first step."""
        zeros = jnp.zeros_like(self.rows)
        return DescentState(zeros, None if self.momentum is None else zeros)

    def advance(
        self, state: DescentState, first_step: ScalarLike, n_steps: ScalarLike
    ) -> DescentState:
        """The state after so many more steps."""

        def step(_: ScalarLike, state: DescentState) -> DescentState:
            displacements, velocity = state
            update = self.rate * self.gradient(displacements)
            if velocity is not None and self.momentum is not None:
                update = velocity = jnp.multiply(self.momentum, velocity) + update
            return DescentState(displacements - update, velocity)

        return jax.lax.fori_loop(first_step, first_step + n_steps, step, state)

    def displacement(self, state: DescentState, step: ScalarLike) -> Array:
        """The displacement of the rows after so many steps."""
        del step
        return state.displacements
