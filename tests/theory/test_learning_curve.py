"""Oracle: the equations again in NumPy, and kernel regression measured over seeds."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from oracles import learning_curve as oracle

from lazyrich._base import InputError
from lazyrich.theory import (
    eigenspace_sizes,
    goldilocks_range,
    initial_eigenvalues,
    learning_curve,
    target_power,
)

EIGENVALUES = np.array([2.0, 0.3, 0.05, 1e-4])
POWER = np.array([0.5, 1.0, 0.2, 0.1])
COUNTS = np.array([1.0, 10.0, 40.0, 300.0])


def curve(n_train, noise=0.0, ridge=0.0, dtype=jnp.float64):
    return learning_curve(
        jnp.asarray(EIGENVALUES, dtype),
        jnp.asarray(POWER, dtype),
        n_train=jnp.asarray(n_train, dtype),
        multiplicities=jnp.asarray(COUNTS, dtype),
        noise=noise,
        ridge=ridge,
    )


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 10.0])
def test_it_solves_the_equations(noise, ridge):
    sizes = np.array([0.5, 3.0, 30.0, 51.0, 200.0, 340.0])
    got = curve(sizes, noise, ridge)
    wanted = np.array([oracle.errors(n, EIGENVALUES, POWER, COUNTS, noise, ridge) for n in sizes])
    # The oracle loses digits in n − Σ𝓛² and in 1 − 𝓛; ours keeps them.
    np.testing.assert_allclose(got.test_error, wanted[:, 0], rtol=1e-9)
    np.testing.assert_allclose(got.train_error, wanted[:, 1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_learnabilities_add_up_to_the_number_of_samples(ridge):
    sizes = np.array([1.0, 10.0, 100.0, 350.0])
    got = curve(sizes, ridge=ridge)
    learned = (COUNTS * np.asarray(got.learnability)).sum(1)
    np.testing.assert_allclose(learned + ridge / got.effective_ridge, sizes, rtol=1e-12)


def test_one_eigenvalue_has_a_closed_form():
    # κ² P + κ (λ(P − M) − r) − λ r = 0 for M modes of eigenvalue λ and ridge r.
    value, count, ridge = 0.4, 50.0, 0.7
    sizes = np.array([5.0, 50.0, 500.0])
    b = value * (sizes - count) - ridge
    kappa = (-b + np.sqrt(b**2 + 4 * sizes * value * ridge)) / (2 * sizes)
    got = learning_curve(
        jnp.array([value]),
        jnp.array([1.0]),
        n_train=jnp.asarray(sizes),
        multiplicities=jnp.array([count]),
        ridge=ridge,
    )
    np.testing.assert_allclose(got.effective_ridge, kappa, rtol=1e-12)
    flat = learning_curve(
        jnp.array([value]),
        jnp.array([3.0]),
        n_train=jnp.array([10.0]),
        multiplicities=jnp.array([count]),
    )
    np.testing.assert_allclose(flat.test_error, 3.0 * (1 - 10 / count), rtol=1e-12)


def test_the_exact_ends():
    none = curve([0.0], noise=0.5)
    np.testing.assert_allclose(none.test_error, POWER.sum(), rtol=1e-15)
    assert float(none.overfitting_factor[0]) == 1.0
    assert np.isposinf(none.effective_ridge[0])
    rank = COUNTS.sum()
    full = curve([rank, rank + 49, 1e12])
    np.testing.assert_array_equal(full.test_error, [0, 0, 0])
    noisy = curve([rank, 2 * rank, 1e12], noise=0.5)
    assert np.isposinf(noisy.test_error[0])
    np.testing.assert_allclose(noisy.test_error[1], 0.5, rtol=1e-14)  # σ² rank/(P − rank)
    np.testing.assert_allclose(noisy.test_error[2], 0, atol=1e-9)
    np.testing.assert_allclose(noisy.train_error[:2], [0, 0.25], rtol=1e-14)  # σ² (1 − rank/P)
    ridged = curve([1e14], noise=0.5, ridge=3.0)
    np.testing.assert_allclose(ridged.test_error, 0, atol=1e-8)


def test_power_out_of_reach_acts_as_noise_that_counts_as_error():
    reach = jnp.array([1.0, 0.0])
    both = learning_curve(
        reach,
        jnp.array([1.0, 0.2]),
        n_train=jnp.array([20.0]),
        multiplicities=jnp.array([10.0, 5.0]),
    )
    as_noise = learning_curve(
        reach[:1],
        jnp.array([1.0]),
        n_train=jnp.array([20.0]),
        multiplicities=jnp.array([10.0]),
        noise=0.2,
    )
    np.testing.assert_allclose(both.test_error, as_noise.test_error + 0.2, rtol=1e-12)
    blind = learning_curve(jnp.zeros(1), jnp.ones(1), n_train=jnp.array([5.0]))
    np.testing.assert_allclose(blind.test_error, 1.0)


def measure(features_of, target, dim, n_train, *, ridge, noise, seeds):
    """Mean over seeds of test and train error, with the standard error of the first."""
    tests, trains = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x, query = rng.normal(size=(2, 1500, dim)) / np.sqrt(dim)
        x = x[:n_train]
        labels = target(x) + np.sqrt(noise) * rng.normal(size=n_train)
        at_query, at_train = oracle.ridge_regression(
            features_of(x), labels, features_of(query), ridge
        )
        tests.append(((at_query - target(query)) ** 2).mean())
        trains.append(((at_train - labels) ** 2).mean())
    return np.mean(tests), np.mean(trains), np.std(tests) / np.sqrt(seeds)


@pytest.mark.parametrize("n_train, ridge, noise", [(30, 0.0, 0.0), (30, 0.3, 0.2), (150, 0.3, 0.2)])
def test_measured_linear_regression(n_train, ridge, noise):
    dim = 60
    beta = np.random.default_rng(9).normal(size=dim)
    got = learning_curve(
        jnp.array([1 / dim]),
        jnp.array([(beta**2).sum() / dim]),
        n_train=jnp.array([n_train]),
        multiplicities=jnp.array([float(dim)]),
        noise=noise,
        ridge=ridge,
    )
    test, train, error = measure(
        lambda x: x, lambda x: x @ beta, dim, n_train, ridge=ridge, noise=noise, seeds=40
    )
    # Corrections of order 1/D to the law, and four standard errors over the seeds.
    assert abs(test - got.test_error[0]) < 4 * error + test / dim
    np.testing.assert_allclose(got.train_error[0], train, rtol=0.06, atol=1e-12)


@pytest.mark.parametrize("n_train", [12, 30, 60, pytest.param(80, marks=pytest.mark.slow)])
def test_measured_regression_with_the_committee_machines_kernel(n_train):
    dim, epsilon = 12, 0.5
    beta = np.random.default_rng(9).normal(size=dim)
    sizes = eigenspace_sizes(dim)
    got = learning_curve(
        jnp.stack(initial_eigenvalues(dim, epsilon=epsilon)),
        jnp.stack(target_power(jnp.asarray(beta))),
        n_train=jnp.array([n_train]),
        multiplicities=jnp.asarray(sizes, float),
    )
    test, _, error = measure(
        lambda x: oracle.quadratic_features(x, epsilon),
        lambda x: 0.5 * (x @ beta) ** 2,
        dim,
        n_train,
        ridge=0.0,
        noise=0.0,
        seeds=60,
    )
    # Quadratic eigenfunctions are not normal: up to 10 % at D = 12, and the seeds' error.
    assert abs(test - got.test_error[0]) < 4 * error + 0.1 * test
    assert error < 0.1 * test  # else the line above says nothing


def test_gradients_are_those_of_finite_differences():
    def error(eigenvalues, ridge):
        return learning_curve(
            eigenvalues,
            jnp.asarray(POWER),
            n_train=jnp.array([20.0, 120.0]),
            multiplicities=jnp.asarray(COUNTS),
            noise=0.1,
            ridge=ridge,
        ).test_error

    point = jnp.asarray(EIGENVALUES), 0.05
    push = jnp.asarray([0.1, -0.05, 0.02, 2e-5]), 0.01
    slope = jax.jvp(error, point, push)[1]
    step = 1e-5
    ahead = error(point[0] + step * push[0], point[1] + step * push[1])
    behind = error(point[0] - step * push[0], point[1] - step * push[1])
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)


def test_vmap_over_ridges_and_single_precision():
    sizes, ridges = np.array([0.0, 1.0, 60.0, 340.0]), jnp.array([0.0, 1e-3, 1.0])
    batched = jax.vmap(lambda r: curve(sizes, 0.1, r).test_error)(ridges)
    for got, ridge in zip(batched, ridges, strict=True):
        double = curve(sizes, 0.1, float(ridge)).test_error
        np.testing.assert_allclose(got, double, rtol=1e-12)
        single = curve(sizes, 0.1, float(ridge), jnp.float32).test_error
        assert single.dtype == jnp.float32
        # Float32 sums over 350 modes, divided by P − Σ𝓛² of a tenth of P.
        np.testing.assert_allclose(single, double, rtol=1e-3)


@pytest.mark.parametrize("noise, ridge", [(0.0, 0.0), (0.0, 1.0), (0.05, 1.0), (0.05, 0.0)])
def test_the_upper_edge_is_where_the_error_last_crosses(noise, ridge):
    edges = goldilocks_range(
        jnp.asarray(EIGENVALUES),
        jnp.asarray(POWER),
        multiplicities=jnp.asarray(COUNTS),
        dim=11,
        noise=noise,
        ridge=ridge,
    )
    assert float(edges.lower) == 11.0
    upper = float(edges.upper)
    level = 0.1 * POWER.sum()
    beyond = curve(upper * np.logspace(1e-6, 4, 300), noise, ridge).test_error
    assert (np.asarray(beyond) <= level * (1 + 1e-9)).all()
    assert float(curve([upper * (1 - 1e-6)], noise, ridge).test_error[0]) >= level


def test_upper_edges_at_the_ends():
    def upper(power, threshold=0.1):
        return float(
            goldilocks_range(
                jnp.array([1.0, 0.0]), jnp.asarray(power), dim=5, threshold=threshold
            ).upper
        )

    assert np.isposinf(upper([1.0, 1.0]))  # half the power is out of reach
    assert upper([1.0, 0.0], threshold=2.0) == 1.0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"eigenvalues": jnp.array([-1.0, 1.0])}, "eigenvalues is"),
        ({"eigenvalues": jnp.ones(3)}, "disagree"),
        ({"target_power": jnp.array([1.0, jnp.nan])}, "target_power holds 1"),
        ({"multiplicities": jnp.ones(3)}, "disagree"),
        ({"n_train": jnp.array([-1.0])}, "n_train is"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"ridge": jnp.inf}, "ridge is inf"),
    ],
)
def test_bad_input_gets_one_sentence(change, message):
    given = {
        "eigenvalues": jnp.ones(2),
        "target_power": jnp.ones(2),
        "n_train": jnp.ones(1),
    } | change
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=message):
            learning_curve(given.pop("eigenvalues"), given.pop("target_power"), **given)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_goldilocks_refuses_a_threshold_of_zero():
    with pytest.raises(InputError, match=r"threshold is 0\.0"):
        goldilocks_range(jnp.ones(1), jnp.ones(1), dim=3, threshold=0.0)
