"""Oracle: least squares and ridge regression in feature space, NumPy float64."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import (
    condition_report,
    difficulty,
    flatten_kernel,
    kernel_distance,
    kernel_regression,
    lazy_parameter_change,
    ntk,
)


@pytest.fixture
def our_errors():
    """Let our own messages be seen instead of the test run's shape checker."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def problem(seed=0, n=12, n_features=20, n_out=2):
    rng = np.random.default_rng(seed)
    shape = (n, n_out) if n_out else (n,)
    return (
        rng.normal(size=(n, n_features)),
        rng.normal(size=shape),
        rng.normal(size=(5, n_features)),
    )


def kernels_of(features, query, dtype=jnp.float64):
    return jnp.asarray(features @ features.T, dtype), jnp.asarray(query @ features.T, dtype)


@pytest.mark.parametrize("n_out", [0, 2])
@pytest.mark.parametrize("n_features", [5, 20])
def test_ridgeless_is_the_smallest_norm_fit(n_out, n_features):
    features, targets, query = problem(n_features=n_features, n_out=n_out)
    kernel, query_kernel = kernels_of(features, query)
    got = kernel_regression(kernel, jnp.asarray(targets), query_kernel)
    wanted = oracle.smallest_norm_fit(features, targets, query)
    # Condition number of the kernel (a few hundred) times float64 rounding, squared features.
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 100.0])
def test_ridge_is_added_to_the_eigenvalues_of_the_sum(ridge):
    features, targets, query = problem(n_features=5)
    kernel, query_kernel = kernels_of(features, query)
    got = kernel_regression(kernel, jnp.asarray(targets), query_kernel, ridge=ridge)
    np.testing.assert_allclose(
        got, oracle.ridge_fit(features, targets, query, ridge), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("n_features", [5, 20, 60])
def test_single_precision_is_sound_for_singular_kernels(n_features):
    features, targets, query = problem(n=50, n_features=n_features)
    kernel, query_kernel = kernels_of(features, query, jnp.float32)
    got = kernel_regression(kernel, jnp.asarray(targets, jnp.float32), query_kernel)
    assert got.dtype == jnp.float32
    wanted = oracle.smallest_norm_fit(features, targets, query)
    # Float32 rounding (6e-8) times the condition number of the kept modes, at most 4e3 here.
    np.testing.assert_allclose(got, wanted, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.slow
def test_single_precision_keeps_the_small_modes_of_figure_1():
    # Figure 1's kernel in closed form: its quadratic modes lie down to 10⁻⁵ of the largest.
    rng = np.random.default_rng(0)
    dim, epsilon, n = 100, 0.02, 550
    x, beta = rng.normal(size=(n + 300, dim)) / np.sqrt(dim), rng.normal(size=dim)
    gram = x @ x[:n].T
    kernel, targets = gram * (1 + epsilon**2 * gram), 0.5 * (x @ beta) ** 2

    def test_error(dtype):
        prediction = kernel_regression(
            jnp.asarray(kernel[:n], dtype),
            jnp.asarray(targets[:n], dtype),
            jnp.asarray(kernel[n:], dtype),
        )
        return float(jnp.mean((prediction - targets[n:]) ** 2))

    exact = np.linalg.solve(kernel[:n], targets[:n])
    wanted = ((kernel[n:] @ exact - targets[n:]) ** 2).mean()
    assert test_error(jnp.float64) == pytest.approx(wanted, rel=1e-8)
    # Rounding of 6e-8 over modes of 1e-5 is 1 %, and it averages over modes.
    assert test_error(jnp.float32) == pytest.approx(wanted, rel=0.01)


def test_a_naive_single_precision_solve_would_fail_the_same_test():
    features, targets, query = problem(n=50, n_features=20)
    kernel, query_kernel = kernels_of(features, query, jnp.float32)
    naive = query_kernel @ jnp.linalg.solve(kernel, jnp.asarray(targets, jnp.float32))
    wanted = oracle.smallest_norm_fit(features, targets, query)
    assert not np.allclose(naive, wanted, atol=2e-3 * np.abs(wanted).max())


def test_it_interpolates_and_vanishes_where_it_must():
    features, targets, _ = problem()
    kernel, targets = jnp.asarray(features @ features.T), jnp.asarray(targets)
    np.testing.assert_allclose(kernel_regression(kernel, targets, kernel), targets, rtol=1e-10)
    zero = jnp.zeros_like(kernel)
    np.testing.assert_array_equal(kernel_regression(zero, targets, kernel), 0 * targets)
    np.testing.assert_array_equal(kernel_regression(kernel, 0 * targets, kernel), 0 * targets)


def test_full_kernel_of_several_outputs_as_one_matrix():
    rng = np.random.default_rng(3)
    params = {"w": jnp.asarray(rng.normal(size=(3, 8))), "v": jnp.asarray(rng.normal(size=(8, 2)))}

    def net(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    x, query = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(3, 3)))
    targets = jnp.asarray(rng.normal(size=(4, 2)))
    flat, unravel = ravel_pytree(params)

    def jacobian(x):
        return np.asarray(jax.jacrev(lambda t: net(unravel(t), x).ravel())(flat))

    got = kernel_regression(
        flatten_kernel(ntk(net, params, x)),
        targets.reshape(-1),
        flatten_kernel(ntk(net, params, query, x)),
    )
    wanted = oracle.smallest_norm_fit(jacobian(x), np.asarray(targets).ravel(), jacobian(query))
    np.testing.assert_allclose(got, wanted, rtol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_gradient_is_right_where_eigenvalues_coincide(ridge):
    # Two exactly degenerate pairs and two null modes: plain eigenvector derivatives are NaN.
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    spectrum = np.array([2.0, 2.0, 1.0, 1.0, 0.0, 0.0])
    root = jnp.asarray(basis * np.sqrt(spectrum))
    rng = np.random.default_rng(1)
    targets = jnp.asarray(rng.normal(size=6))
    # A direction that keeps the rank, else the pseudo-inverse itself jumps.
    push = jnp.asarray(rng.normal(size=(6, 6)) * (spectrum > 0))
    query = jnp.asarray(rng.normal(size=(3, 6)))

    def predict(t):
        features = root + t * push
        return kernel_regression(features @ features.T, targets, query @ features.T, ridge=ridge)

    step = 1e-5
    slope = jax.jvp(predict, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(
        slope, (predict(step) - predict(-step)) / (2 * step), rtol=1e-6, atol=1e-8
    )
    reverse = jax.jacrev(predict)(0.0)
    np.testing.assert_allclose(reverse, slope, rtol=1e-9, atol=1e-11)


def test_gradient_with_respect_to_the_ridge():
    features, targets, query = problem(n_features=5, n_out=0)
    kernel, query_kernel = kernels_of(features, query)

    def predict(ridge):
        return kernel_regression(kernel, jnp.asarray(targets), query_kernel, ridge=ridge)

    step = 1e-5
    np.testing.assert_allclose(
        jax.jacfwd(predict)(0.7),
        (predict(0.7 + step) - predict(0.7 - step)) / (2 * step),
        rtol=1e-7,
    )


def test_jit_and_vmap_over_ridges():
    features, targets, query = problem()
    kernel, query_kernel = kernels_of(features, query)
    ridges = jnp.array([0.0, 0.1, 10.0])
    many = jax.jit(
        jax.vmap(lambda r: kernel_regression(kernel, jnp.asarray(targets), query_kernel, ridge=r))
    )(ridges)
    for got, ridge in zip(many, ridges, strict=True):
        one = kernel_regression(kernel, jnp.asarray(targets), query_kernel, ridge=float(ridge))
        np.testing.assert_allclose(got, one, rtol=1e-10)


def test_condition_report_counts_what_can_be_inverted():
    features, _, _ = problem(n=12, n_features=5)
    singular_values = np.linalg.svd(features, compute_uv=False)
    report = condition_report(jnp.asarray(features @ features.T))
    assert int(report.rank) == 5
    assert bool(report.is_singular)
    assert bool(report.is_psd)
    np.testing.assert_allclose(report.largest, singular_values[0] ** 2, rtol=1e-12)
    wanted = (singular_values[0] / singular_values[-1]) ** 2
    np.testing.assert_allclose(report.condition_number, wanted, rtol=1e-10)
    with_ridge = condition_report(jnp.asarray(features @ features.T), ridge=2.0)
    assert not bool(with_ridge.is_singular)
    np.testing.assert_allclose(
        with_ridge.condition_number, (singular_values[0] ** 2 + 2) / 2, rtol=1e-12
    )


def test_condition_report_tells_a_matrix_that_is_no_kernel():
    assert not bool(condition_report(jnp.diag(jnp.array([1.0, -0.5]))).is_psd)
    zero = condition_report(jnp.zeros((3, 3)))
    assert int(zero.rank) == 0
    assert np.isnan(zero.condition_number)


def test_difficulty_and_movement_from_the_features():
    features, targets, _ = problem()
    kernel = jnp.asarray(features @ features.T)
    theta = np.linalg.lstsq(features, targets, rcond=None)[0]
    np.testing.assert_allclose(
        lazy_parameter_change(kernel, jnp.asarray(targets)), (theta**2).sum(), rtol=1e-9
    )
    np.testing.assert_allclose(
        difficulty(kernel, jnp.asarray(targets)), (theta**2).sum(), rtol=1e-9
    )
    ridge = 0.5
    wanted = (targets * np.linalg.solve(kernel + ridge * np.eye(12), targets)).sum()
    np.testing.assert_allclose(
        difficulty(kernel, jnp.asarray(targets), ridge=ridge), wanted, rtol=1e-10
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_unreachable_targets_are_infinitely_difficult_but_the_movement_is_finite(dtype):
    features, targets, _ = problem(n=12, n_features=5, n_out=0)
    kernel = jnp.asarray(features @ features.T, dtype)
    theta = np.linalg.lstsq(features, targets, rcond=None)[0]
    targets_in = jnp.asarray(features @ theta, dtype)
    rtol = 1e-4 if dtype == jnp.float32 else 1e-9  # rounding × condition number of 5 modes
    assert np.isposinf(difficulty(kernel, jnp.asarray(targets, dtype)))
    np.testing.assert_allclose(difficulty(kernel, targets_in), (theta**2).sum(), rtol=rtol)
    np.testing.assert_allclose(
        lazy_parameter_change(kernel, jnp.asarray(targets, dtype)), (theta**2).sum(), rtol=rtol
    )


def test_movement_is_where_gradient_descent_rests():
    features, targets, query = problem(n=12, n_features=5)
    rate = 1 / np.linalg.norm(features @ features.T, 2) * 12
    theta = oracle.descend_linear_model(
        features, targets, query, learning_rate=0.5 * rate, n_steps=3000
    )[2]
    got = lazy_parameter_change(jnp.asarray(features @ features.T), jnp.asarray(targets))
    np.testing.assert_allclose(got, (theta**2).sum(), rtol=1e-9)


def test_kernel_distance_and_its_special_values():
    rng = np.random.default_rng(0)
    start, later = rng.normal(size=(2, 4, 4, 2, 2))
    wanted = np.sqrt(((later - start) ** 2).sum() / (start**2).sum())
    np.testing.assert_allclose(
        kernel_distance(jnp.asarray(start), jnp.asarray(later)), wanted, rtol=1e-12
    )
    assert float(kernel_distance(jnp.eye(2), jnp.eye(2))) == 0.0
    assert np.isposinf(kernel_distance(jnp.zeros((2, 2)), jnp.eye(2)))
    assert np.isnan(kernel_distance(jnp.zeros((2, 2)), jnp.zeros((2, 2))))
    tiny = jnp.asarray(start * 1e-30, jnp.float32), jnp.asarray(later * 1e-30, jnp.float32)
    np.testing.assert_allclose(kernel_distance(*tiny), wanted, rtol=1e-5)


KERNEL, TARGETS, QUERY = jnp.eye(3), jnp.ones(3), jnp.ones((2, 3))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: kernel_regression(jnp.ones((3, 2)), TARGETS, QUERY),
            r"shape \(3, 2\); it must be",
        ),
        (lambda: kernel_regression(jnp.ones((3, 3, 2, 2)), TARGETS, QUERY), "flatten_kernel"),
        (lambda: kernel_regression(KERNEL, jnp.ones(2), QUERY), r"targets have shape \(2,\)"),
        (lambda: kernel_regression(KERNEL, TARGETS, QUERY.T), "pass its transpose"),
        (lambda: kernel_regression(KERNEL, TARGETS, jnp.ones((2, 4))), r"must be \(m, 3\)"),
        (lambda: kernel_regression(KERNEL * jnp.nan, TARGETS, QUERY), "kernel holds 9 entries"),
        (lambda: kernel_regression(KERNEL, TARGETS * jnp.inf, QUERY), "targets holds 3 entries"),
        (lambda: kernel_regression(KERNEL, TARGETS, QUERY * jnp.nan), "query_kernel holds"),
        (lambda: kernel_regression(KERNEL, TARGETS, QUERY, ridge=-1.0), "ridge is -1.0"),
        (lambda: kernel_regression(KERNEL, TARGETS, QUERY, ridge=jnp.nan), "ridge is nan"),
        (lambda: kernel_regression(KERNEL, TARGETS, QUERY, cutoff=-1.0), "cutoff is -1.0"),
        (lambda: difficulty(KERNEL, jnp.ones((2, 2))), "targets have shape"),
        (lambda: difficulty(KERNEL, TARGETS, ridge=-1.0), "ridge is -1.0"),
        (lambda: lazy_parameter_change(jnp.ones(3), TARGETS), "must be square"),
        (lambda: condition_report(jnp.zeros((0, 0))), "must be square"),
        (lambda: kernel_distance(KERNEL, jnp.eye(2)), "on the same points"),
        (lambda: kernel_distance(KERNEL * jnp.nan, KERNEL), "kernel0 holds"),
        (lambda: flatten_kernel(KERNEL), r"wanted \(n, m, c, c\)"),
    ],
)
def test_bad_input_gets_one_sentence(call, message, our_errors):
    with pytest.raises(InputError, match=message):
        call()
