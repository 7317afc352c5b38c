"""Oracle: diffrax's own loop and the whole descent, of which these are parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich.theory import (
    DescentSteps,
    DynamicHyperparameters,
    EmpiricalLoss,
    FlowSteps,
    equivalent_weights,
    gradient_descent,
    gradient_flow,
    moment_change,
    weight_moments,
)

DIM, WIDTH, N_TRAIN = 5, 12, 20
TIMES = np.array([0, 1, 3, 10, 47, 300])


def problem():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(N_TRAIN, DIM)) / np.sqrt(DIM))
    y = 0.5 * (x @ rng.normal(size=DIM)) ** 2
    start = weight_moments(jnp.asarray(rng.normal(size=(WIDTH, DIM))))
    return start, equivalent_weights(start), EmpiricalLoss(x, y)


def paused(steps):
    """Mean and second moment at the times, with a stop at every one and between them."""

    @jax.jit
    def advance(state, first, n):
        return steps.advance(state, first, n)

    state, done, moments = steps.start(), 0, []
    for time in TIMES:
        for part in (time // 2, time):
            state = advance(state, done, max(int(part) - done, 0))
            done = max(done, int(part))
        moments.append(moment_change(steps.rows, steps.displacement(state, time)))
    return moments


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_descent_in_pieces_is_descent(momentum):
    start, rows, objective = problem()
    hyperparameters = DynamicHyperparameters(1.3, 0.4, 0.2, momentum)
    whole = gradient_descent(start, objective, hyperparameters=hyperparameters, eval_steps=TIMES)
    gradient = objective.gradient_from(rows, alpha=1.3, epsilon=0.4, centered=True)
    pieces = paused(DescentSteps(rows, gradient, hyperparameters.rate, momentum or None))
    for k, displacements in enumerate(pieces):
        wanted = whole.observed.second_moment[k] - start.second_moment
        np.testing.assert_allclose(displacements.second_moment, wanted, rtol=0, atol=1e-12)


def test_flow_in_pieces_is_flow():
    start, rows, objective = problem()
    rtol, alpha, rate = 1e-3, 1.3, 0.7
    whole = gradient_flow(
        start,
        objective,
        hyperparameters=DynamicHyperparameters(alpha, 0.4),
        eval_t=rate * TIMES,
        rtol=rtol,
    )
    gradient = objective.gradient_from(rows, alpha=alpha, epsilon=0.4, centered=True)
    steps = FlowSteps(
        rows,
        lambda displacements: -2 / alpha * gradient(displacements),
        rate,
        rate * TIMES[-1],
        rtol,
        rtol / 100 / alpha,
    )
    for k, displacements in enumerate(paused(steps)):
        wanted = whole.observed.second_moment[k] - start.second_moment
        np.testing.assert_allclose(displacements.second_moment, wanted, rtol=0, atol=1e-12)


def test_a_flow_that_gives_up_is_infinite_from_there():
    steps = FlowSteps(
        jnp.ones((1, 1)), lambda displacements: 1 + jnp.square(displacements), 1.0, 10.0, 1e-3, 1e-5
    )
    state = jax.jit(steps.advance)(steps.start(), 0, 1)  # tan(t) is finite up to π/2
    np.testing.assert_allclose(steps.displacement(state, 1), np.tan(1.0), rtol=1e-3)
    state = jax.jit(steps.advance)(state, 1, 1)
    assert not steps.is_reached(state, 2)
    assert np.isinf(steps.displacement(state, 2)).all()
