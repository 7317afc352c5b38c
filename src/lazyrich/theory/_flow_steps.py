"""Gradient flow on weight rows up to any time, as a state from which it continues exactly."""

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree, ScalarLike

from lazyrich.numerics import RungeKuttaChebyshev

MAX_STEPS = 16_384
"""Steps of the solver after which a flow fails."""

_SOLVER = RungeKuttaChebyshev()
_FIRST_STEP = 0.01  # that of diffrax's own loop


class FlowState(NamedTuple):
    """The state of the solver, and its last step for the times inside of it.

    Attributes:
        t: the time that is reached.
        t_next: where the next step is to end.
        displacements: displacement of the weight rows at ``t``.
        memory: of the solver.
        control: of the step size.
        t_before: where the last step began.
        last_step: what interpolates between ``t_before`` and ``t``.
        n_steps: of the solver, tried so far.

    Example:
        >>> FlowSteps(jnp.zeros((1, 1)), lambda change: 1 - change, 0.1, 10.0, 1e-4, 1e-6).start().t
        Array(0., ...)
    """

    t: Float[Array, ""]
    t_next: Float[Array, ""]
    displacements: Float[Array, "r d"]
    memory: PyTree
    control: PyTree
    t_before: Float[Array, ""]
    last_step: dict[str, Array]
    n_steps: Int[Array, ""]


class FlowSteps(NamedTuple):
    """Gradient flow on the rows of a committee machine, in steps of ``learning_rate``.

    The steps of the solver do not depend on the times that are asked for: a flow that stops
    anywhere and continues later is the same flow.

    Attributes:
        rows: the weights at the start, or those of the equivalent machine.
        velocity: the rows' velocity, from their displacement.
        learning_rate: flow time of one step.
        t_end: last flow time.
        rtol: relative tolerance of a solver step, on the displacement.
        atol: absolute tolerance.

    Example:
        >>> steps = FlowSteps(jnp.zeros((1, 1)), lambda change: 1 - change, 0.1, 10.0, 1e-4, 1e-6)
        >>> state = steps.advance(steps.start(), 0, 10)
        >>> round(steps.displacement(state, 10).item(), 3), round(float(1 - jnp.exp(-1)), 3)
        (0.632, 0.632)
    """

    rows: Float[Array, "r d"]
    velocity: Callable[[Array], Array]
    learning_rate: ScalarLike
    t_end: ScalarLike
    rtol: Array | float
    atol: Array | float

    def start(self) -> FlowState:
        """The state at time 0."""
        end = jnp.asarray(self.t_end, float)
        begin = jnp.zeros_like(end)
        zeros = jnp.zeros(self.rows.shape, jnp.result_type(self.rows, end))
        term = self._term()
        order = _SOLVER.error_order(term)
        t_next, control = self._controller().init(
            term, begin, end, zeros, _FIRST_STEP, None, _SOLVER.func, order
        )
        t_next = jnp.minimum(t_next, end)
        memory = _SOLVER.init(term, begin, t_next, zeros, None)
        last_step = {"y0": zeros, "y1": zeros, "k0": zeros, "k1": zeros}
        state = FlowState(begin, t_next, zeros, memory, control, begin, last_step, jnp.asarray(0))
        # Types that a state read from a file has too.
        return jax.tree.map(lambda a: jax.lax.convert_element_type(a, jnp.asarray(a).dtype), state)

    def advance(self, state: FlowState, first_step: ScalarLike, n_steps: ScalarLike) -> FlowState:
        """The state once the time of that step is reached, or the solver has failed."""
        time = self._time(first_step + n_steps)
        end = jnp.asarray(self.t_end, float)
        below_end = _just_below(end)  # once, not in every step

        def is_short(state: FlowState) -> Bool[Array, ""]:
            return (state.t < time) & (state.n_steps < MAX_STEPS)

        def one_step(state: FlowState) -> FlowState:
            return self._solver_step(state, end, below_end)

        return jax.lax.while_loop(is_short, one_step, state)

    def displacement(self, state: FlowState, step: ScalarLike) -> Array:
        """The displacement of the rows at that step; infinite if the solver has failed before."""
        between = _SOLVER.interpolation_cls(t0=state.t_before, t1=state.t, **state.last_step)
        return jnp.where(self.is_reached(state, step), between.evaluate(self._time(step)), jnp.inf)

    def is_reached(self, state: FlowState, step: ScalarLike) -> Bool[Array, ""]:
        """Whether the solver has reached the time of that step."""
        return state.t >= self._time(step)

    def _time(self, step: ScalarLike) -> Array:
        return jnp.asarray(self.learning_rate, float) * step

    def _term(self) -> diffrax.ODETerm:
        return diffrax.ODETerm(lambda t, displacements, args: self.velocity(displacements))

    def _controller(self) -> diffrax.PIDController:
        return diffrax.PIDController(rtol=self.rtol, atol=self.atol)

    def _solver_step(self, state: FlowState, end: Array, below_end: Array) -> FlowState:
        """One step of diffrax's own loop."""
        term = self._term()
        displacements, error, last_step, memory, _ = _SOLVER.step(
            term, state.t, state.t_next, state.displacements, None, state.memory, made_jump=False
        )
        error = jnp.where(jnp.isnan(error), jnp.inf, error)
        is_kept, t, t_next, _, control, _ = self._controller().adapt_step_size(
            state.t,
            state.t_next,
            state.displacements,
            displacements,
            None,
            error,
            _SOLVER.error_order(term),
            state.control,
        )
        t = jnp.minimum(t, end)
        # The last step must not be too short: go to the end, or half of the way to it.
        is_last = t_next > below_end
        t_next = jnp.where(is_last, jnp.where(is_kept, end, t + 0.5 * (end - t)), t_next)
        after = (displacements, memory, state.t, last_step)
        before = (state.displacements, state.memory, state.t_before, state.last_step)
        displacements, memory, t_before, last_step = jax.tree.map(
            lambda new, old: jnp.where(is_kept, new, old), after, before
        )
        return FlowState(
            t, t_next, displacements, memory, control, t_before, last_step, state.n_steps + 1
        )


def _just_below(end: Array) -> Array:
    """A hundred numbers below, in a loop: unrolled it was a third of what is compiled."""
    return jax.lax.fori_loop(0, 100, lambda _, at: jnp.nextafter(at, -jnp.inf), end)
