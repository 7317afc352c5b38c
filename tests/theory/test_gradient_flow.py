"""Oracle: SciPy's DOP853 at tight tolerance on the flow of the weights, float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee
from scipy.integrate import solve_ivp

from lazyrich._base import InputError, Status
from lazyrich.theory import (
    DynamicHyperparameters,
    EmpiricalLoss,
    PopulationLoss,
    flow_interpolant,
    gradient_descent,
    gradient_flow,
    weight_moments,
)
from lazyrich.theory._flow_steps import _just_below

DIM, WIDTH, N_TRAIN = 6, 11, 40
ALPHA, EPSILON = 0.7, 0.3


def problem(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_TRAIN, DIM)) / np.sqrt(DIM)
    return x, 0.5 * (x @ rng.normal(size=DIM)) ** 2, rng.normal(size=(WIDTH, DIM))


def weight_flow(weights0, x, y, times):
    """Flow of the weights: dw/dt = −(N/α²)∇ (1/P)Σ(f − f₀ − y)²."""
    subtracted = committee.output(weights0, x, alpha=ALPHA, epsilon=EPSILON)

    def field(t, flat):
        weights = flat.reshape(weights0.shape)
        hidden = x @ weights.T
        residual = committee.output(weights, x, alpha=ALPHA, epsilon=EPSILON) - subtracted - y
        push = (residual[:, None] * (1 + EPSILON * hidden)).T @ x / len(y)
        return (-2 / ALPHA * push).ravel()

    solved = solve_ivp(
        field, (0, times[-1]), weights0.ravel(), "DOP853", times, rtol=1e-11, atol=1e-12
    )
    return solved.y.T.reshape(len(times), *weights0.shape)


def test_the_flow_of_the_statistics_is_the_flow_of_the_weights():
    x, y, weights = problem(0)
    times = np.array([0.5, 3.0, 40.0, 600.0])
    expected = weight_flow(weights, x, y, times)
    flow = gradient_flow(
        weight_moments(jnp.asarray(weights)),
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
        eval_t=times,
        rtol=1e-9,
    )
    assert flow.status == Status.ok
    second = np.einsum("snd,sne->sde", expected, expected) / WIDTH
    # 10⁴ × the tolerance of a step, for the thousands of steps taken
    np.testing.assert_allclose(flow.observed.second_moment, second, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(flow.observed.mean_weight, expected.mean(1), rtol=1e-5, atol=1e-5)
    assert flow.train_loss[-1] < 0.01 * flow.train_loss[0]


def test_the_default_tolerance_keeps_the_loss_within_a_percent():
    x, y, weights = problem(1)
    start, times = weight_moments(jnp.asarray(weights)), np.geomspace(1, 600, 30)
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    hyperparameters = DynamicHyperparameters(ALPHA, EPSILON)
    default = gradient_flow(start, objective, hyperparameters=hyperparameters, eval_t=times)
    tight = gradient_flow(
        start, objective, hyperparameters=hyperparameters, eval_t=times, rtol=1e-9
    )
    np.testing.assert_allclose(default.train_loss, tight.train_loss, rtol=1e-2)


def test_gradient_descent_tends_to_the_flow_at_first_order():
    x, y, weights = problem(2)
    start = weight_moments(jnp.asarray(weights))
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    flow = gradient_flow(
        start,
        objective,
        hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
        eval_t=[8.0],
        rtol=1e-10,
    ).observed.second_moment[-1]
    n_steps = np.array([32, 128, 512, 2048])
    gaps = [
        float(
            jnp.abs(
                gradient_descent(
                    start,
                    objective,
                    hyperparameters=DynamicHyperparameters(ALPHA, EPSILON, 8 / n),
                    eval_steps=[int(n)],
                ).observed.second_moment[-1]
                - flow
            ).max()
        )
        for n in n_steps
    ]
    slope = np.polyfit(np.log(n_steps), np.log(gaps), 1)[0]
    assert -1.1 < slope < -0.95  # Euler's method is of first order; the coarsest step bends it


def test_the_dense_solution_passes_through_the_eval_steps():
    x, y, weights = problem(3)
    start = weight_moments(jnp.asarray(weights))
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    times = np.array([0.0, 1.7, 23.0, 300.0])
    hyperparameters = DynamicHyperparameters(ALPHA, EPSILON)
    at = flow_interpolant(start, objective, hyperparameters=hyperparameters, t_end=300.0, rtol=1e-5)
    saved = gradient_flow(
        start, objective, hyperparameters=hyperparameters, eval_t=times, rtol=1e-5
    )
    dense = jax.vmap(at)(jnp.asarray(times))
    np.testing.assert_allclose(dense.second_moment, saved.observed.second_moment, atol=1e-9)
    np.testing.assert_array_equal(at(0.0).mean_weight, start.mean_weight)


def test_population_flow_learns_the_target_and_only_the_target():
    """Its fixed point is M − M₀ = ββᵀ/(αε), w̄ = w̄₀ (after Eq. 6), if M₀ allows it."""
    rng = np.random.default_rng(4)
    beta = jnp.asarray(rng.normal(size=DIM))
    start = weight_moments(jnp.asarray(rng.normal(size=(50, DIM))))
    flow = gradient_flow(
        start,
        PopulationLoss(jnp.outer(beta, beta)),
        hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
        eval_t=[3000.0],
        rtol=1e-8,
    )
    learned = ALPHA * EPSILON * (flow.observed.second_moment[-1] - start.second_moment)
    np.testing.assert_allclose(learned, jnp.outer(beta, beta), atol=1e-5)
    np.testing.assert_allclose(flow.observed.mean_weight[-1], start.mean_weight, atol=1e-5)


def test_vmap_over_alpha_is_the_loop():
    x, y, weights = problem(5)
    start = weight_moments(jnp.asarray(weights))
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))

    def one(alpha):
        return gradient_flow(
            start,
            objective,
            hyperparameters=DynamicHyperparameters(alpha, EPSILON),
            eval_t=np.array([1.0, 30.0]),
        ).train_loss

    alphas = jnp.array([0.3, 1.0, 8.0])
    np.testing.assert_allclose(
        jax.vmap(one)(alphas), jnp.stack([one(a) for a in alphas]), rtol=1e-9
    )


def test_a_flow_that_needs_too_many_steps_says_so(monkeypatch):
    monkeypatch.setattr("lazyrich.theory._gradient_flow.MAX_STEPS", 5)
    x, y, weights = problem(6)
    flow = gradient_flow(
        weight_moments(jnp.asarray(weights)),
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(ALPHA, 0.31),
        eval_t=[0.001, 1e5],
        observe=lambda stats: None,
    )
    assert flow.status == Status.out_of_steps
    assert len(flow.finite_part().train_loss) == 1


@pytest.mark.parametrize("times", [[3.0, 1.0], [-1.0], [], [0.0, np.nan]])
def test_times_that_do_not_increase_get_one_sentence(times):
    x, y, weights = problem(7)
    with pytest.raises(InputError, match="eval_t"):
        gradient_flow(
            weight_moments(jnp.asarray(weights)),
            EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
            hyperparameters=DynamicHyperparameters(ALPHA, EPSILON),
            eval_t=times,
        )


@pytest.mark.parametrize("end", [1e-300, 0.1, 1.0, 2.0**20, 1e6])
def test_the_last_step_begins_a_hundred_numbers_before_the_end(end):
    with jax.enable_x64(True):
        found = float(_just_below(jnp.asarray(end)))
    wanted = end
    for _ in range(100):
        wanted = np.nextafter(wanted, -np.inf)
    assert found == wanted
