"""Oracles: autodiff through the network unit by unit; exact averages over its Gaussian weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network, gaussian

from lazyrich._base import InputError
from lazyrich.theory import (
    committee_kernel,
    infinite_width,
    initial_kernel,
    initial_readout_kernel,
    readout_kernel,
    weight_moments,
)

ALPHA, EPSILON, WIDTH, DIM = 1.7, 0.6, 7, 4
FACTOR = ALPHA**2 / WIDTH  # 0.41: what the print leaves out


def _network(params, x):
    """Eq. 21 as it stands, for autodiff."""
    weights, readouts = params
    field = x @ weights.T
    return ALPHA / len(weights) * (field + EPSILON / 2 * field**2) @ readouts


def _tangent_kernel(params, x, x2, n_trained):
    """Eq. 2 for the first ``n_trained`` of (weights, readouts), from explicit Jacobians."""
    rows = jax.jacrev(_network)(params, x)[:n_trained]
    rows2 = jax.jacrev(_network)(params, x2)[:n_trained]
    return sum(
        r.reshape(len(x), -1) @ s.reshape(len(x2), -1).T for r, s in zip(rows, rows2, strict=True)
    )


def _case(seed, readouts=False):
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(WIDTH, DIM)))
    trained = jnp.asarray(rng.normal(size=WIDTH)) if readouts else jnp.ones(WIDTH)
    x, x2 = jnp.asarray(rng.normal(size=(5, DIM))), jnp.asarray(rng.normal(size=(3, DIM)))
    return (weights, trained), x, x2


def test_erratum_the_kernel_carries_alpha_squared_over_n():
    """Eqs. 5 and 18 follow from Eqs. 2 and 3 only with the factor α²/N."""
    params, x, x2 = _case(0)
    stats = weight_moments(params[0])
    kernel = committee_kernel(stats, x, x2, alpha=ALPHA, epsilon=EPSILON, width=WIDTH)
    by_autodiff = _tangent_kernel(params, x, x2, 1)
    np.testing.assert_allclose(kernel, by_autodiff, rtol=1e-11)
    printed = committee_network.unscaled_kernel(*map(np.asarray, stats), x, x2, EPSILON)
    np.testing.assert_allclose(FACTOR * printed, by_autodiff, rtol=1e-11)
    assert not np.allclose(printed, by_autodiff, rtol=0.5)


def test_kernel_of_one_set_is_that_of_the_set_with_itself():
    params, x, _ = _case(1)
    alone = committee_kernel(
        weight_moments(params[0]), x, alpha=ALPHA, epsilon=EPSILON, width=WIDTH
    )
    np.testing.assert_allclose(alone, _tangent_kernel(params, x, x, 1), rtol=1e-11)
    np.testing.assert_allclose(
        readout_kernel(*params, x, alpha=ALPHA, epsilon=EPSILON),
        _tangent_kernel(params, x, x, 2),
        rtol=1e-11,
    )


def test_kernel_with_trained_readouts_is_exact_at_any_weights():
    params, x, x2 = _case(2, readouts=True)
    kernel = readout_kernel(*params, x, x2, alpha=ALPHA, epsilon=EPSILON)
    np.testing.assert_allclose(kernel, _tangent_kernel(params, x, x2, 2), rtol=1e-11)


def test_trained_readouts_leave_no_function_of_the_statistics():
    """Footnote 2: two networks of equal w̄ and M, and different kernels."""
    x = jnp.ones((1, 1))
    one = jnp.array([[1.0], [-1.0]]), jnp.array([1.0, 1.0])
    other = jnp.array([[2.0], [-2.0]]), jnp.array([0.25, 0.25])
    for moment, same in zip(weight_moments(*one), weight_moments(*other), strict=True):
        np.testing.assert_array_equal(moment, same)
    kernels = [readout_kernel(*net, x, alpha=1.0, epsilon=1.0).item() for net in (one, other)]
    # By hand: (2² + 0² + 1.5² + 0.5²)/4 and ((3² + 1²)/16 + 4² + 0²)/4.
    assert kernels == pytest.approx([1.625, 4.15625], rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_initial_kernel_is_the_average_over_weights(scale):
    """Eq. 10: every quadrature node is a hidden unit, so the average is exact."""
    _, x, x2 = _case(3)
    units, mass = gaussian.quadrature(DIM, variance=scale**2, order=3)
    slopes, slopes2 = (1 + EPSILON * np.asarray(z) @ units.T for z in (x, x2))
    average = FACTOR * np.asarray(x @ x2.T) * ((slopes * mass) @ slopes2.T)
    hyperparameters = {"alpha": ALPHA, "epsilon": EPSILON, "width": WIDTH}
    kernel = initial_kernel(x, x2, **hyperparameters, weight_scale=scale)
    np.testing.assert_allclose(kernel, average, rtol=1e-11)
    limit = infinite_width(DIM, weight_scale=scale)
    np.testing.assert_allclose(
        committee_kernel(limit, x, x2, **hyperparameters), average, rtol=1e-11
    )


@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_initial_kernel_with_readouts_is_the_average_over_weights(scale):
    """Eq. 23, exact: ⟨v²⟩ = 1, and the rest is a polynomial in w of degree four."""
    _, x, x2 = _case(4)
    units, mass = gaussian.quadrature(DIM, variance=scale**2, order=3)
    fields = [np.asarray(z) @ units.T for z in (x, x2)]
    slopes, slopes2 = (1 + EPSILON * field for field in fields)
    values, values2 = (committee_network.activation(field, EPSILON) for field in fields)
    average = np.asarray(x @ x2.T) * ((slopes * mass) @ slopes2.T) + (values * mass) @ values2.T
    kernel = initial_readout_kernel(
        x, x2, alpha=ALPHA, epsilon=EPSILON, width=WIDTH, weight_scale=scale
    )
    np.testing.assert_allclose(kernel, FACTOR * average, rtol=1e-11)


def test_initial_readout_kernel_against_drawn_networks():
    """Eq. 23 by Monte Carlo: 4·10⁵ units; the error is far below the missing factor α²/N."""
    rng, n = np.random.default_rng(5), 400_000
    x, x2 = rng.normal(size=(2, DIM)) / 2
    weights, readouts = rng.normal(size=(n, DIM)), rng.normal(size=n)
    h, h2 = weights @ x, weights @ x2
    slopes = (1 + EPSILON * h) * (1 + EPSILON * h2)
    values = committee_network.activation(h, EPSILON) * committee_network.activation(h2, EPSILON)
    mean, error = gaussian.mean_and_error(FACTOR * ((x @ x2) * readouts**2 * slopes + values))
    closed = initial_readout_kernel(
        jnp.asarray(x)[None], jnp.asarray(x2)[None], alpha=ALPHA, epsilon=EPSILON, width=WIDTH
    ).item()
    assert abs(closed - mean) < 4.5 * error
    assert abs(closed / FACTOR - mean) > 20 * error  # Eq. 23 as printed


def test_erratum_parameters_move_by_the_kernel_of_eq_2():
    """Eq. 9: ‖Δw‖² = yᵀK⁻¹y for the linearised, centred network, K with α²/N."""
    params, x, _ = _case(6)
    y = np.random.default_rng(7).normal(size=len(x))
    jacobian = np.asarray(jax.jacrev(_network)(params, x)[0]).reshape(len(x), -1)
    displacements = np.linalg.lstsq(jacobian, y, rcond=None)[
        0
    ]  # where gradient descent from zero ends
    stats = weight_moments(params[0])
    kernel = committee_kernel(stats, x, alpha=ALPHA, epsilon=EPSILON, width=WIDTH)
    assert y @ np.linalg.solve(kernel, y) == pytest.approx(displacements @ displacements, rel=1e-9)
    printed = committee_network.unscaled_kernel(*map(np.asarray, stats), x, x, EPSILON)
    assert y @ np.linalg.solve(printed, y) == pytest.approx(
        FACTOR * displacements @ displacements, rel=1e-9
    )


def test_erratum_adaptive_steps_take_one_over_alpha():
    """η = η₀/α² keeps df/dt for gradient descent; steps by the gradient's sign need η₀/α."""
    params, x, _ = _case(10)
    stats = weight_moments(params[0])
    residual = np.random.default_rng(11).normal(size=len(x))

    def descent(alpha, rate):
        kernel = committee_kernel(stats, x, alpha=alpha, epsilon=EPSILON, width=WIDTH)
        return -rate * kernel @ residual

    def signs(alpha, rate):
        jacobian = alpha / ALPHA * jax.jacrev(_network)(params, x)[0].reshape(len(x), -1)
        return -rate * jacobian @ np.sign(jacobian.T @ residual)

    np.testing.assert_allclose(descent(5.0, 0.1 / 5**2), descent(1.0, 0.1), rtol=1e-11)
    np.testing.assert_allclose(signs(5.0, 0.1 / 5), signs(1.0, 0.1), rtol=1e-11)
    np.testing.assert_allclose(5 * signs(5.0, 0.1 / 5**2), signs(1.0, 0.1), rtol=1e-11)


def test_batched_over_alpha_and_epsilon_inside_jit():
    params, x, _ = _case(8)
    stats = weight_moments(params[0])

    def kernel(alpha, epsilon):
        return committee_kernel(stats, x, alpha=alpha, epsilon=epsilon, width=WIDTH)

    alphas, epsilons = jnp.array([0.5, 2.0]), jnp.array([0.1, 0.9])
    batched = jax.jit(jax.vmap(kernel))(alphas, epsilons)
    for one, alpha, epsilon in zip(batched, alphas, epsilons, strict=True):
        np.testing.assert_allclose(one, kernel(alpha, epsilon), rtol=1e-12)


def test_single_precision_is_kept_and_right():
    (weights, readouts), x, x2 = jax.tree.map(lambda a: a.astype(jnp.float32), _case(9, True))
    hyperparameters = {"alpha": ALPHA, "epsilon": EPSILON}
    for kernel, n_trained in (
        (committee_kernel(weight_moments(weights), x, x2, **hyperparameters, width=WIDTH), 1),
        (readout_kernel(weights, readouts, x, x2, **hyperparameters), 2),
    ):
        ones = readouts if n_trained == 2 else jnp.ones(WIDTH)
        exact = _tangent_kernel((weights.astype(float), ones.astype(float)), x, x2, n_trained)
        assert kernel.dtype == jnp.float32
        # A few dozen roundings of 6e-8, relative to the largest entry.
        np.testing.assert_allclose(kernel, exact, atol=3e-6 * float(abs(exact).max()))
    for initial in (initial_kernel, initial_readout_kernel):
        assert initial(x, x2, **hyperparameters, width=WIDTH).dtype == jnp.float32


X = jnp.ones((3, 2))
SETTINGS = {"alpha": 1.0, "epsilon": 0.1, "width": 5}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"alpha": np.nan}, "alpha is nan; it must be finite"),
        ({"epsilon": np.inf}, "epsilon is inf; it must be finite"),
        ({"width": 0}, "width is 0; it must be above zero"),
        ({"width": -3}, "width is -3; it must be above zero"),
    ],
)
def test_bad_dials_are_refused(changed, message):
    hyperparameters = SETTINGS | changed
    for call in (
        lambda: committee_kernel(infinite_width(2), X, **hyperparameters),
        lambda: initial_kernel(X, **hyperparameters),
        lambda: initial_readout_kernel(X, **hyperparameters),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_bad_arrays_are_refused(unchecked):
    with pytest.raises(InputError, match="x holds 1 entries that are NaN"):
        initial_kernel(np.array([[1.0, np.nan]]), **SETTINGS)
    with pytest.raises(InputError, match="x2 holds 2 entries"):
        initial_readout_kernel(X, np.full((1, 2), np.inf), **SETTINGS)
    with pytest.raises(InputError, match=r"x \(3, 2\), x2 \(3, 4\) disagree"):
        initial_kernel(X, np.ones((3, 4)), **SETTINGS)
    with pytest.raises(InputError, match=r"mean_weight \(3,\)"):
        committee_kernel(infinite_width(3), X, **SETTINGS)
    with pytest.raises(InputError, match=r"readouts \(4,\)"):
        readout_kernel(np.ones((5, 2)), np.ones(4), X, alpha=1.0, epsilon=0.1)
    with pytest.raises(InputError, match="weight_scale is nan"):
        initial_kernel(X, **SETTINGS, weight_scale=np.nan)


def test_a_diverged_run_gives_nan_and_no_error():
    stats = jax.tree.map(lambda a: a * jnp.nan, infinite_width(2))
    assert np.isnan(committee_kernel(stats, X, **SETTINGS)).all()
