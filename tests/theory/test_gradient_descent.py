"""Oracle: gradient descent on the weights themselves, in float64 NumPy and through autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee

from lazyrich._base import InputError, Status
from lazyrich.models import CommitteeParams, committee_machine, scale_output
from lazyrich.theory import (
    DynamicHyperparameters,
    EmpiricalLoss,
    PopulationLoss,
    WeightMoments,
    gradient_descent,
    gradient_step,
    gradient_velocity,
    infinite_width,
    polynomial_target,
    weight_moments,
)

DIM, WIDTH, N_TRAIN = 6, 11, 40

# Rounding of float64, amplified over thousands of steps of a contracting map.
EXACT = 1e-10


def problem(seed, n_directions=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_TRAIN, DIM)) / np.sqrt(DIM)
    directions = rng.normal(size=(n_directions, DIM))
    weights = rng.normal(size=(WIDTH, DIM))
    return x, 0.5 * ((x @ directions.T) ** 2).sum(1), weights, directions


@pytest.mark.parametrize("n_directions", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("centered", [True, False])
def test_the_statistics_follow_the_weights_for_thousands_of_steps(centered, momentum, n_directions):
    x, y, weights, _ = problem(0, n_directions)
    alpha, epsilon, rate, n_steps = 0.7, 0.3, 0.2 * (1 - momentum), 3000
    final, _, losses = committee.gradient_descent(
        weights,
        x,
        y,
        alpha=alpha,
        epsilon=epsilon,
        learning_rate=rate,
        n_steps=n_steps + 1,
        centered=centered,
        momentum=momentum,
    )
    before_last = committee.gradient_descent(
        weights,
        x,
        y,
        alpha=alpha,
        epsilon=epsilon,
        learning_rate=rate,
        n_steps=n_steps,
        centered=centered,
        momentum=momentum,
    )[0]
    saves = np.array([0, 1, 2, 10, 100, n_steps, n_steps + 1])
    run = gradient_descent(
        weight_moments(jnp.asarray(weights)),
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(alpha, epsilon, rate, momentum),
        eval_steps=saves,
        centered=centered,
    )
    np.testing.assert_allclose(run.train_loss[:-1], losses[saves[:-1]], rtol=EXACT, atol=EXACT)
    for k, expected in [(-2, before_last), (-1, final)]:
        np.testing.assert_allclose(
            run.observed.second_moment[k], expected.T @ expected / WIDTH, atol=EXACT
        )
        np.testing.assert_allclose(run.observed.mean_weight[k], expected.mean(0), atol=EXACT)
    assert losses[-1] < 0.1 * losses[0]  # the comparison covers learning, not a standstill


@pytest.mark.parametrize("width", [2, 4, DIM, DIM + 1, 50])
def test_narrow_and_wide_machines_are_followed_from_their_weights(width):
    x, y, _, _ = problem(10)
    weights = np.random.default_rng(11).normal(size=(width, DIM))
    final, _, losses = committee.gradient_descent(
        weights,
        x,
        y,
        alpha=0.7,
        epsilon=0.3,
        learning_rate=0.2,
        n_steps=3000,
        centered=False,
    )
    run = gradient_descent(
        jnp.asarray(weights),
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(0.7, 0.3, 0.2),
        eval_steps=[10, 2999, 3000],
        centered=False,
    )
    np.testing.assert_allclose(run.train_loss[:2], losses[[10, 2999]], rtol=1e-8)
    np.testing.assert_allclose(run.observed.second_moment[-1], final.T @ final / width, atol=1e-8)


def test_rounding_does_not_lead_a_machine_of_two_units_astray():
    """Iterating the map on (w̄, M) in float32 leaves the moments of two units; rows do not.

    D=40, N=2, P=120 (Figure 4): M has rank two, and the map amplifies what rounding adds
    to it, until M has negative eigenvalues and the loss is far from that of the weights.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40)) / np.sqrt(40)
    y = 0.5 * (x @ rng.normal(size=40)) ** 2
    weights = rng.normal(size=(2, 40))
    _, _, losses = committee.gradient_descent(
        weights,
        x,
        y,
        alpha=1.0,
        epsilon=0.25,
        learning_rate=0.5,
        n_steps=5001,
        centered=False,
    )
    single = [jnp.asarray(a, jnp.float32) for a in (weights, x, y)]
    objective, hyperparameters = EmpiricalLoss(*single[1:]), DynamicHyperparameters(1.0, 0.25, 0.5)
    run = gradient_descent(
        single[0],
        objective,
        hyperparameters=hyperparameters,
        eval_steps=[1000, 5000],
        centered=False,
    )
    np.testing.assert_allclose(run.train_loss, losses[[1000, 5000]], rtol=1e-3)
    mapped = jax.lax.fori_loop(
        0,
        5000,
        lambda _, stats: gradient_step(stats, objective, hyperparameters=hyperparameters),
        weight_moments(single[0]),
    )
    gap = objective.loss(mapped, alpha=1.0, epsilon=0.25) / losses[5000] - 1
    assert not abs(gap) < 0.1


def test_the_ordinary_training_of_the_weights_agrees():
    x, y, weights, _ = problem(1)
    alpha, epsilon, rate = 2.0, 0.2, 0.5
    saves = np.array([0, 1, 50, 2000])
    params0 = CommitteeParams(jnp.asarray(weights))
    predict = scale_output(committee_machine(epsilon), params0, alpha)

    def loss(params):
        return jnp.square(predict(params, jnp.asarray(x)) - jnp.asarray(y)).mean()

    def step(params, _):
        gradient = jax.grad(loss)(params)
        step_size = rate * WIDTH / alpha**2
        return jax.tree.map(lambda p, g: p - step_size * g, params, gradient), loss(params)

    after, losses = jax.lax.scan(step, params0, None, length=2000)
    losses = jnp.append(losses, loss(after))[saves]
    exact = gradient_descent(
        weight_moments(params0.weights),
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(alpha, epsilon, rate),
        eval_steps=saves,
    )
    np.testing.assert_allclose(losses, exact.train_loss, rtol=EXACT)
    np.testing.assert_allclose(
        weight_moments(after.weights).second_moment, exact.observed.second_moment[-1], atol=EXACT
    )


def test_the_printed_map_is_the_map():
    x, y, weights, _ = problem(2)
    alpha, epsilon, rate = 1.3, 0.4, 0.3
    start = weight_moments(jnp.asarray(weights))
    stats = WeightMoments(start.mean_weight + 0.1, start.second_moment + 0.2)
    c = 2 * rate / alpha
    w, M = np.asarray(stats.mean_weight), np.asarray(stats.second_moment)
    moved_w, moved_M = w - start.mean_weight, M - start.second_moment
    residual = (
        alpha * x @ moved_w + 0.5 * alpha * epsilon * np.einsum("nd,de,ne->n", x, moved_M, x) - y
    )
    g, G = residual @ x / N_TRAIN, np.einsum("n,nd,ne->de", residual, x, x) / N_TRAIN
    A = np.eye(DIM) - c * epsilon * G
    after = gradient_step(
        stats,
        EmpiricalLoss(jnp.asarray(x), jnp.asarray(y)),
        hyperparameters=DynamicHyperparameters(alpha, epsilon, rate),
        origin=start,
    )
    np.testing.assert_allclose(after.mean_weight, A @ w - c * g, atol=1e-13)
    cross = np.outer(A @ w, g)
    expected = A @ M @ A - c * (cross + cross.T) + c**2 * np.outer(g, g)
    np.testing.assert_allclose(after.second_moment, expected, atol=1e-13)


def test_the_velocity_is_the_formula_and_the_limit_of_a_step():
    x, y, weights, _ = problem(12)
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    stats, alpha, epsilon = weight_moments(jnp.asarray(weights)), 1.3, 0.4
    speed = gradient_velocity(
        stats, objective, hyperparameters=DynamicHyperparameters(alpha, epsilon)
    )
    hidden = x @ weights.T
    residual = committee.output(weights, x, alpha=alpha, epsilon=epsilon) - y
    gradient = (residual[:, None] * (1 + epsilon * hidden)).T @ x / N_TRAIN
    change = -2 / alpha * gradient  # dw/dt = −(N/α²)∇L, row by row
    np.testing.assert_allclose(speed.mean_weight, change.mean(0), atol=1e-13)
    cross = weights.T @ change / WIDTH
    np.testing.assert_allclose(speed.second_moment, cross + cross.T, atol=1e-13)
    rate = 1e-7
    after = gradient_step(
        stats, objective, hyperparameters=DynamicHyperparameters(alpha, epsilon, rate)
    )
    slope = (after.second_moment - stats.second_moment) / rate
    np.testing.assert_allclose(slope, speed.second_moment, atol=1e-5)


def test_infinite_width_is_the_limit_of_finite_width():
    """The gap of a finite network's loss falls as 1/√N, the size of w̄₀ and M₀ − I."""
    x, y, _, _ = problem(3)
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    saves, hyperparameters = np.array([30]), DynamicHyperparameters(1.0, 0.3, 0.3)
    limit = gradient_descent(
        infinite_width(DIM), objective, hyperparameters=hyperparameters, eval_steps=saves
    )
    widths = np.array([100, 1000, 10_000])
    gaps = []
    for width in widths:
        weights = jax.random.normal(jax.random.key(4), (30, width, DIM))
        losses = jax.vmap(
            lambda w: gradient_descent(
                weight_moments(w), objective, hyperparameters=hyperparameters, eval_steps=saves
            ).train_loss[-1]
        )(weights)
        gaps.append(float(jnp.sqrt(jnp.mean((losses - limit.train_loss[-1]) ** 2))))
    slope = np.polyfit(np.log(widths), np.log(gaps), 1)[0]
    # 30 seeds a width: the rms gap is known to 13 %, hence the slope to about 0.05.
    assert -0.65 < slope < -0.35


def test_population_moments_are_the_average_over_fresh_inputs():
    """Monte Carlo over 2·10⁶ inputs; agreement within 5 standard errors of each entry."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(2, DIM))
    weights = rng.normal(size=(WIDTH, DIM))
    stats = weight_moments(jnp.asarray(weights))
    loss = PopulationLoss(jnp.asarray(directions.T @ directions))
    g, G = loss.residual_moments(stats, alpha=0.8, epsilon=0.6)
    n = 2_000_000
    x = rng.normal(size=(n, DIM)) / np.sqrt(DIM)
    residual = committee.output(weights, x, alpha=0.8, epsilon=0.6) - 0.5 * (
        (x @ directions.T) ** 2
    ).sum(1)
    for exact, draws in [
        (loss.loss(stats, alpha=0.8, epsilon=0.6), residual**2),
        (g[0], residual * x[:, 0]),
        (G[0, 0], residual * x[:, 0] ** 2),
        (G[0, 1], residual * x[:, 0] * x[:, 1]),
    ]:
        error = draws.std() / np.sqrt(n)
        assert error < 0.02 * np.abs(draws).mean()
        assert abs(float(exact) - draws.mean()) < 5 * error


@pytest.mark.slow
def test_population_descent_is_the_limit_of_many_points():
    rng = np.random.default_rng(6)
    directions = jnp.asarray(rng.normal(size=(1, DIM)))
    start = weight_moments(jnp.asarray(rng.normal(size=(WIDTH, DIM))))
    hyperparameters, saves = DynamicHyperparameters(1.0, 0.3, 0.3), np.array([100])
    limit = gradient_descent(
        start,
        PopulationLoss(directions.T @ directions),
        hyperparameters=hyperparameters,
        eval_steps=saves,
    )
    gaps, sizes = [], np.array([1000, 10_000, 100_000])
    for size in sizes:
        x = jnp.asarray(rng.normal(size=(12, size, DIM))) / np.sqrt(DIM)
        finals = jax.vmap(
            lambda x: gradient_descent(
                start,
                EmpiricalLoss(x, polynomial_target(directions, x)),
                hyperparameters=hyperparameters,
                eval_steps=saves,
            ).observed.second_moment[-1]
        )(x)
        gaps.append(float(jnp.sqrt(jnp.mean((finals - limit.observed.second_moment[-1]) ** 2))))
    slope = np.polyfit(np.log(sizes), np.log(gaps), 1)[0]
    assert -0.6 < slope < -0.4  # 36 independent entries × 12 draws: known to about 5 %


def test_vmap_over_dials_and_starts_is_the_loop_and_isolates_divergence():
    x, y, weights, _ = problem(7)
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    saves = np.array([0, 5, 500])
    alphas, rates = jnp.array([0.5, 2.0, 1.0]), jnp.array([0.2, 0.2, 500.0])
    scales = jnp.array([1.0, 0.5, 1.0])

    def one(alpha, rate, scale):
        return gradient_descent(
            weight_moments(scale * jnp.asarray(weights)),
            objective,
            hyperparameters=DynamicHyperparameters(alpha, 0.3, rate),
            eval_steps=saves,
        )

    together = jax.jit(jax.vmap(one))(alphas, rates, scales)
    assert together.status.tolist() == [Status.ok, Status.ok, Status.diverged]
    for k in range(2):
        alone = one(alphas[k], rates[k], scales[k])
        np.testing.assert_allclose(together.train_loss[k], alone.train_loss, rtol=1e-11)
    assert together.train_loss[0, -1] < 0.1 * together.train_loss[0, 0]
    diverged = one(alphas[2], rates[2], scales[2]).finite_part()
    assert 0 < len(diverged.train_loss) < len(saves)
    assert np.isfinite(diverged.train_loss).all()


def test_equivalences_of_the_dials():
    """Weights scaled by σ with (α, ε, η) are unit weights with (ασ, εσ, η/σ²) (notes, §4)."""
    x, y, weights, _ = problem(8)
    objective = EmpiricalLoss(jnp.asarray(x), jnp.asarray(y))
    saves, sigma = np.array([0, 10, 1000]), 1.7
    start = weight_moments(jnp.asarray(weights))
    scaled = gradient_descent(
        weight_moments(sigma * jnp.asarray(weights)),
        objective,
        hyperparameters=DynamicHyperparameters(0.6, 0.2, 0.1),
        eval_steps=saves,
    )
    # η = learning_rate·N/α²: dividing η by σ² at α·σ leaves learning_rate as it is.
    unit = gradient_descent(
        start,
        objective,
        hyperparameters=DynamicHyperparameters(0.6 * sigma, 0.2 * sigma, 0.1),
        eval_steps=saves,
    )
    np.testing.assert_allclose(scaled.train_loss, unit.train_loss, rtol=1e-11)
    # An α-scaled net with η₀/α² is the unscaled net with η₀ on the labels y/α (loss × α²).
    labels = gradient_descent(
        start,
        EmpiricalLoss(objective.x, objective.y / 0.6),
        hyperparameters=DynamicHyperparameters(1.0, 0.2, 0.1),
        eval_steps=saves,
    )
    lazy = gradient_descent(
        start, objective, hyperparameters=DynamicHyperparameters(0.6, 0.2, 0.1), eval_steps=saves
    )
    np.testing.assert_allclose(lazy.train_loss, 0.36 * labels.train_loss, rtol=1e-11)


def test_float32_keeps_the_digits_of_a_lazy_network():
    """At α = 10⁴ the weights move by 10⁻⁴: f − f₀ would keep three digits, the displacement six."""
    x, y, weights, _ = problem(9)
    saves, hyperparameters = np.array([1, 300]), DynamicHyperparameters(1e4, 0.3, 0.3)

    def run(dtype):
        return gradient_descent(
            weight_moments(jnp.asarray(weights, dtype)),
            EmpiricalLoss(jnp.asarray(x, dtype), jnp.asarray(y, dtype)),
            hyperparameters=hyperparameters,
            eval_steps=saves,
        ).train_loss

    single = run(jnp.float32)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, run(jnp.float64), rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hyperparameters": DynamicHyperparameters(np.nan, 0.1)}, "alpha is nan"),
        ({"hyperparameters": DynamicHyperparameters(1.0, np.inf)}, "epsilon is inf"),
        (
            {"hyperparameters": DynamicHyperparameters(0.0, 0.1)},
            "alpha is 0.0; it must be above zero",
        ),
        ({"hyperparameters": DynamicHyperparameters(1.0, 0.1, -1.0)}, "learning_rate is -1.0"),
        ({"eval_steps": np.array([5, 3])}, "eval_steps is"),
        ({"eval_steps": np.array([0.5])}, "eval_steps is"),
        ({"x": jnp.ones((4, 3))}, "disagree"),
        ({"y": jnp.array([1.0, np.nan, 0, 0])}, "y holds 1 entries that are NaN"),
        ({"x": jnp.ones((0, 2)), "y": jnp.ones(0)}, "hold no points"),
    ],
)
def test_bad_input_gets_one_sentence(change, message):
    given = {
        "x": jnp.ones((4, 2)),
        "y": jnp.ones(4),
        "hyperparameters": DynamicHyperparameters(1.0, 0.1),
        "eval_steps": np.array([1]),
    } | change
    with pytest.raises(InputError, match=message):
        gradient_descent(
            infinite_width(2),
            EmpiricalLoss(given["x"], given["y"]),
            hyperparameters=given["hyperparameters"],
            eval_steps=given["eval_steps"],
        )
