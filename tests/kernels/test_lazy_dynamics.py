"""Oracle: gradient descent on the parameters of the linear model, step by step in NumPy."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import kernel_regression, lazy_dynamics, linearize, ntk

# 400 steps of float64 rounding on predictions of order one.
EXACT = 1e-10


def problem(seed=0, n=10, n_features=25, n_out=2):
    rng = np.random.default_rng(seed)
    shape = (n, n_out) if n_out else (n,)
    features = rng.normal(size=(n, n_features)) / np.sqrt(n_features)
    return features, rng.normal(size=shape), rng.normal(size=(4, n_features)) / np.sqrt(n_features)


def largest_rate(features, momentum=0.0):
    """Where descent begins to diverge: 2(1 + μ) = 2ηλ_max/P."""
    return (1 + momentum) * len(features) / np.linalg.norm(features, 2) ** 2


def run_both(features, targets, query, *, rate, n_steps=400, momentum=0.0):
    steps = np.arange(0, n_steps + 1)
    wanted = oracle.descend_linear_model(
        features, targets, query, learning_rate=rate, n_steps=n_steps, momentum=momentum
    )
    got = lazy_dynamics(
        jnp.asarray(features @ features.T),
        jnp.asarray(targets),
        jnp.asarray(steps),
        learning_rate=rate,
        query_kernel=jnp.asarray(query @ features.T),
        momentum=momentum,
    )
    return got, wanted


# 0.3: all modes decay; 0.9: the largest oscillate; 0.5 exactly: the largest is learned at once.
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("n_out", [0, 2])
def test_every_step_is_that_of_gradient_descent(share, n_out):
    features, targets, query = problem(n_out=n_out)
    got, wanted = run_both(features, targets, query, rate=share * largest_rate(features))
    np.testing.assert_allclose(got.train, wanted[0], atol=EXACT)
    np.testing.assert_allclose(got.query, wanted[1], atol=EXACT)
    assert bool(got.is_stable)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_momentum_is_that_of_heavy_ball_descent(share, momentum):
    features, targets, query = problem()
    rate = share * largest_rate(features, momentum)
    got, wanted = run_both(features, targets, query, rate=rate, momentum=momentum)
    np.testing.assert_allclose(got.train, wanted[0], atol=EXACT)
    np.testing.assert_allclose(got.query, wanted[1], atol=EXACT)


@pytest.mark.parametrize("offset", [-1e-3, -1e-9, 0.0, 1e-9, 1e-3])
def test_momentum_where_the_two_roots_meet(offset):
    # At a = (1 − √μ)² (a slow mode) and at (1 + √μ)² the characteristic roots coincide.
    momentum = 0.81
    for a in (0.01, 3.61):
        features = np.array([[np.sqrt(0.5 * (a + offset))]])
        got, wanted = run_both(
            features, np.ones(1), np.ones((1, 1)), rate=1.0, n_steps=100, momentum=momentum
        )
        np.testing.assert_allclose(got.train, wanted[0], atol=1e-9)


def test_a_network_linearized_trained_on_its_parameters():
    rng = np.random.default_rng(4)
    params = {"w": jnp.asarray(rng.normal(size=(3, 8))), "v": jnp.asarray(rng.normal(size=8))}

    def net(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"] / 8**0.5

    x, query = jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=(5, 3)))
    y = jnp.asarray(rng.normal(size=6))
    linearized = linearize(net, params)

    def loss(p):
        return jnp.mean((linearized(p, x) - net(params, x) - y) ** 2)

    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - 0.3 * g, p, jax.grad(loss)(p)))
    trained = params
    for _ in range(300):
        trained = step(trained)
    run = lazy_dynamics(
        ntk(net, params, x),
        y,
        jnp.array([300]),
        learning_rate=0.3,
        query_kernel=ntk(net, params, query, x),
    )
    np.testing.assert_allclose(run.train[0], linearized(trained, x) - net(params, x), atol=EXACT)
    np.testing.assert_allclose(
        run.query[0], linearized(trained, query) - net(params, query), atol=EXACT
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("n_features", [6, 25])
def test_it_ends_at_kernel_regression(momentum, n_features):
    features, targets, query = problem(n_features=n_features)
    kernel, query_kernel = jnp.asarray(features @ features.T), jnp.asarray(query @ features.T)
    run = lazy_dynamics(
        kernel,
        jnp.asarray(targets),
        jnp.array([10**12]),
        learning_rate=0.4 * largest_rate(features),
        query_kernel=query_kernel,
        momentum=momentum,
    )
    limit = kernel_regression(kernel, jnp.asarray(targets), query_kernel)
    np.testing.assert_allclose(run.query[0], limit, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_slow_modes_keep_their_digits(momentum):
    # A mode so slow that 1 − (1 − a)^t would be rounding alone: it is learned at rate a/(1 − μ).
    kernel = jnp.diag(jnp.array([1.0, 1e-13]))
    query_kernel = jnp.array([[0.0, 1e-13]])
    steps = jnp.array([1, 1000, 10**6])
    run = lazy_dynamics(
        kernel,
        jnp.ones(2),
        steps,
        learning_rate=0.1,
        query_kernel=query_kernel,
        momentum=momentum,
    )
    speed = 0.1 * 1e-13
    # Σ_k (1 − μ^(k+1))/(1 − μ) gradients of unit size after t steps.
    t = np.asarray(steps, float)
    pushes = (t - momentum * (1 - momentum**t) / (1 - momentum)) / (1 - momentum)
    np.testing.assert_allclose(run.query[:, 0], speed * pushes, rtol=1e-6)


def test_steps_in_between_and_out_of_order():
    kernel, y = jnp.diag(jnp.array([2.0, 1.0])), jnp.ones(2)
    run = lazy_dynamics(kernel, y, jnp.array([2.0, 0.0, 0.5]), learning_rate=0.1)
    wanted = 1 - np.array([0.8, 0.9]) ** np.array([[2.0], [0.0], [0.5]])
    np.testing.assert_allclose(run.train, wanted, rtol=1e-14, atol=0)


def test_a_diverging_rate_does_what_descent_does_and_says_so():
    features, targets, query = problem()
    got, wanted = run_both(features, targets, query, rate=1.1 * largest_rate(features))
    assert not bool(got.is_stable)
    # 1.2^400 ends at 10³¹: rounding is relative to the largest value of each step.
    scale = np.abs(wanted[0]).max((1, 2), keepdims=True) + 1
    np.testing.assert_allclose(got.train / scale, wanted[0] / scale, atol=1e-9)
    far = lazy_dynamics(
        jnp.asarray(features @ features.T),
        jnp.asarray(targets),
        jnp.array([10**9]),
        learning_rate=1.1 * largest_rate(features),
    )
    assert not np.isfinite(far.train).any()
    with_momentum, wanted = run_both(
        features, targets, query, rate=1.1 * largest_rate(features, 0.5), momentum=0.5
    )
    assert not bool(with_momentum.is_stable)
    scale = np.abs(wanted[0]).max((1, 2), keepdims=True) + 1
    np.testing.assert_allclose(with_momentum.train / scale, wanted[0] / scale, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_single_precision_follows_double(momentum):
    features, targets, query = problem(n=30, n_features=12)
    steps = jnp.array([0, 1, 10, 1000, 100_000])

    def run(dtype):
        return lazy_dynamics(
            jnp.asarray(features @ features.T, dtype),
            jnp.asarray(targets, dtype),
            steps,
            learning_rate=0.4 * largest_rate(features),
            query_kernel=jnp.asarray(query @ features.T, dtype),
            momentum=momentum,
        )

    single, double = run(jnp.float32), run(jnp.float64)
    assert single.train.dtype == jnp.float32
    assert single.query.dtype == jnp.float32
    # Float32 rounding times the kept modes' condition number, below a hundred.
    np.testing.assert_allclose(single.train, double.train, atol=1e-4)
    np.testing.assert_allclose(single.query, double.query, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_jit_vmap_and_gradient_over_learning_rates(momentum):
    features, targets, _ = problem(n_out=0)
    kernel, targets = jnp.asarray(features @ features.T), jnp.asarray(targets)
    steps = jnp.array([3, 50])

    def loss(rate):
        run = lazy_dynamics(kernel, targets, steps, learning_rate=rate, momentum=momentum)
        return jnp.mean((run.train - targets) ** 2)

    rates = jnp.array([0.1, 1.0, 3.0])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(loss))(rates), [loss(float(r)) for r in rates], rtol=1e-10
    )
    step = 1e-6
    np.testing.assert_allclose(
        jax.grad(loss)(1.0), (loss(1 + step) - loss(1 - step)) / (2 * step), rtol=1e-6
    )


def test_gradient_with_respect_to_the_kernel():
    features, targets, _ = problem(n_out=0)
    push = np.random.default_rng(7).normal(size=features.shape)

    def train(t, features):
        moved = jnp.asarray(features) + t * push
        return lazy_dynamics(
            moved @ moved.T, jnp.asarray(targets), jnp.array([5]), learning_rate=0.5
        ).train

    step = 1e-6
    slope = jax.jvp(lambda t: train(t, features), (0.0,), (1.0,))[1]
    ahead, behind = train(step, features), train(-step, features)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
    # As documented: eigenvectors have no derivative where eigenvalues coincide.
    coinciding = np.eye(*features.shape)
    assert np.isnan(jax.jvp(lambda t: train(t, coinciding), (0.0,), (1.0,))[1]).any()


def test_traced_momentum_gives_the_same_curve():
    features, targets, query = problem(n_out=0)
    kernel = jnp.asarray(features @ features.T)
    steps = jnp.array([0, 1, 7, 40])

    def train(momentum):
        return lazy_dynamics(
            kernel, jnp.asarray(targets), steps, learning_rate=0.5, momentum=momentum
        ).train

    for momentum, got in zip((0.0, 0.5), jax.vmap(train)(jnp.array([0.0, 0.5])), strict=True):
        wanted = oracle.descend_linear_model(
            features, targets, query, learning_rate=0.5, n_steps=40, momentum=momentum
        )[0][np.asarray(steps)]
        np.testing.assert_allclose(got, wanted, atol=EXACT)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": np.nan}, "learning_rate is nan"),
        ({"steps": jnp.array([-1])}, "steps is"),
        ({"steps": jnp.array([0.5]), "momentum": 0.5}, "not whole"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"kernel": jnp.ones((2, 3))}, "must be square"),
        ({"targets": jnp.ones(3)}, "targets have shape"),
        ({"query_kernel": jnp.ones((2, 3))}, "query kernel has shape"),
        ({"kernel": jnp.array([[1.0, np.nan], [0, 1]])}, "kernel holds 1"),
    ],
)
def test_bad_input_gets_one_sentence(change, message):
    given = {
        "kernel": jnp.eye(2),
        "targets": jnp.ones(2),
        "steps": jnp.array([1]),
        "learning_rate": 0.1,
    } | change
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=message):
            lazy_dynamics(given.pop("kernel"), given.pop("targets"), given.pop("steps"), **given)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
