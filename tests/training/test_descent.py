"""Oracle: hand-written gradient descent in NumPy, and linear regression in closed form."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import committee

from lazyrich._ground import InputError, Status
from lazyrich.nets import CommitteeParams, committee_machine, scale_output
from lazyrich.training import descend, log_steps

DIM, WIDTH, N_TRAIN = 5, 8, 30


def problem(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_TRAIN, DIM)) / np.sqrt(DIM)
    y = 0.5 * (x @ rng.normal(size=DIM)) ** 2
    return x, y, rng.normal(size=(WIDTH, DIM)), rng.normal(size=WIDTH)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weights_and_readouts_follow_the_formulas(momentum):
    x, y, weights, readouts = problem(0)
    alpha, epsilon, rate, n_steps = 1.5, 0.2, 0.05, 400
    expected = committee.gradient_descent(
        weights,
        x,
        y,
        alpha=alpha,
        epsilon=epsilon,
        learning_rate=rate,
        n_steps=n_steps,
        momentum=momentum,
        readouts=readouts,
        train_readouts=True,
    )
    params0 = CommitteeParams(jnp.asarray(weights), jnp.asarray(readouts))
    run = descend(
        scale_output(committee_machine(epsilon), params0, alpha),
        params0,
        x=jnp.asarray(x),
        y=jnp.asarray(y),
        optimizer=optax.sgd(rate * WIDTH / alpha**2, momentum=momentum or None),
        save_steps=[0, 1, 7, n_steps],
    )
    # Rounding of float64 over hundreds of steps of a contracting map
    np.testing.assert_allclose(run.params.weights, expected[0], atol=1e-10)
    np.testing.assert_allclose(run.params.readouts, expected[1], atol=1e-10)
    np.testing.assert_allclose(run.train_loss[:-1], expected[2][[0, 1, 7]], rtol=1e-10)
    assert expected[2][-1] < 0.5 * expected[2][0]
    assert run.status == Status.ok


def test_a_linear_model_reaches_the_least_squares_solution():
    x, y, _, _ = problem(1)
    run = descend(
        lambda w, x: x @ w,
        jnp.zeros(DIM),
        x=jnp.asarray(x),
        y=jnp.asarray(y),
        optimizer=optax.sgd(1.0),
        save_steps=[3000],
        observe=lambda w: w[0],
    )
    exact = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(run.params, exact, atol=1e-8)
    np.testing.assert_allclose(run.observed[-1], exact[0], atol=1e-8)


def test_a_diverging_run_says_so_and_keeps_its_finite_part():
    x, y, weights, _ = problem(2)
    run = descend(
        committee_machine(0.3),
        CommitteeParams(jnp.asarray(weights)),
        x=jnp.asarray(x),
        y=jnp.asarray(y),
        optimizer=optax.sgd(1e4),
        save_steps=[0, 1, 2000],
    )
    assert run.status == Status.diverged
    assert jnp.isfinite(run.train_loss[0])
    assert not jnp.isfinite(run.train_loss[-1])


@pytest.mark.parametrize("n_steps, n_saves", [(1, 2), (10, 2), (1000, 50), (100_000, 160)])
def test_a_save_plan_runs_from_start_to_end_and_is_dense_at_first(n_steps, n_saves):
    steps = log_steps(n_steps, n_saves)
    assert steps[0] == 0
    assert steps[-1] == n_steps
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= n_saves
    ratios = steps[2:] / steps[1:-1]
    wanted = n_steps ** (1 / max(n_saves - 2, 1))
    # Once steps are far apart rounding no longer shows, and ratios are all alike.
    assert (np.abs(ratios[steps[1:-1] > 100] / wanted - 1) < 0.02).all()


def test_bad_input_gets_one_sentence():
    with pytest.raises(InputError, match="save plan of 1 points"):
        log_steps(10, 1)
    with pytest.raises(InputError, match="x holds 1 entries that are NaN"):
        descend(
            lambda w, x: w * x,
            jnp.array(0.0),
            x=jnp.array([1.0, jnp.nan]),
            y=jnp.ones(2),
            optimizer=optax.sgd(0.1),
            save_steps=[1],
        )
