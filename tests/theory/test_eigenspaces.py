"""Oracles: the integral operator of Eq. 11 as a matrix on quadrature nodes (exact); Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network, gaussian

from lazyrich._base import InputError
from lazyrich.theory import (
    eigenfunctions,
    eigenspace_sizes,
    initial_eigenvalues,
    initial_kernel,
    initial_readout_eigenvalues,
    polynomial_target,
    sample_sizes,
)

EPSILON = 0.6


def _averaged_kernel(x, x2, *, scale, readouts):
    """The kernel of Eq. 2 without α²/N, averaged over w ~ N(0, σ²I) and ⟨v²⟩ = 1."""
    units, mass = gaussian.quadrature(x.shape[1], variance=scale**2, order=3)
    fields = x @ units.T, x2 @ units.T
    slopes, slopes2 = (1 + EPSILON * field for field in fields)
    kernel = (x @ x2.T) * ((slopes * mass) @ slopes2.T)
    if readouts:
        values, values2 = (committee_network.activation(field, EPSILON) for field in fields)
        kernel += (values * mass) @ values2.T
    return kernel


def _operator(dim, **kernel):
    """Nodes, their weights, and K as an operator on functions of them."""
    points, mass = gaussian.quadrature(dim, variance=1 / dim, order=4)
    return points, mass, _averaged_kernel(points, points, **kernel)


def _numerical_spectrum(dim, **kernel):
    _, mass, matrix = _operator(dim, **kernel)
    root = np.sqrt(mass)
    return np.sort(np.linalg.eigvalsh(root[:, None] * matrix * root))[::-1]


@pytest.mark.parametrize("readouts", [False, True])
@pytest.mark.parametrize("dim, scale", [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (3, 1.4)])
def test_eigenvalues_and_their_numbers(dim, scale, readouts):
    closed = initial_readout_eigenvalues if readouts else initial_eigenvalues
    eigenvalues = closed(dim, epsilon=EPSILON, weight_scale=scale)
    expected = np.sort(np.repeat(np.array(eigenvalues), np.array(eigenspace_sizes(dim))))[::-1]
    numerical = _numerical_spectrum(dim, scale=scale, readouts=readouts)
    np.testing.assert_allclose(numerical[: len(expected)], expected, rtol=1e-11)
    np.testing.assert_allclose(numerical[len(expected) :], 0, atol=1e-13)


def test_erratum_quadratic_eigenvalue_has_epsilon_squared():
    """§5 prints 2ε/D², and P ~ D²/(2ε): no such eigenvalue."""
    dim = 3
    numerical = _numerical_spectrum(dim, scale=1.0, readouts=False)
    holds, printed = 2 * EPSILON**2 / dim**2, 2 * EPSILON / dim**2
    assert np.isclose(numerical, holds, rtol=1e-10).sum() == dim * (dim + 1) / 2 - 1
    assert abs(numerical / printed - 1).min() > 0.1
    needed = sample_sizes(initial_eigenvalues(dim, epsilon=EPSILON))
    assert float(needed.quadratic) == pytest.approx(dim**2 / (2 * EPSILON**2), rel=1e-12)


def test_erratum_norm_eigenvalue_has_epsilon_squared():
    """Eq. 16 and after Eq. 17 print (1/D)(1 + 2/D)."""
    dim = 3
    points, mass, matrix = _operator(dim, scale=1.0, readouts=False)
    norm = (points**2).sum(1)
    holds = EPSILON**2 / dim * (1 + 2 / dim)
    np.testing.assert_allclose((mass * norm) @ matrix, holds * norm, rtol=1e-11, atol=1e-15)
    assert float(initial_eigenvalues(dim, epsilon=EPSILON).squared_norm) == pytest.approx(holds)
    assert not np.allclose((mass * norm) @ matrix, holds / EPSILON**2 * norm, rtol=0.5)


def test_eigenvalues_by_monte_carlo():
    """⟨ψ(x) K(x, x′) ψ(x′)⟩ = λ over 10⁶ pairs, D = 6; the error also tells the print apart."""
    dim, n = 6, 1_000_000
    x, x2 = gaussian.samples(dim, 2 * n, variance=1 / dim, seed=0).reshape(2, n, dim)
    overlap = (x * x2).sum(1)
    kernel = overlap + EPSILON**2 * overlap**2
    eigenvalues = initial_eigenvalues(dim, epsilon=EPSILON)

    def rayleigh(function):
        return gaussian.mean_and_error(kernel * function(x) * function(x2))

    linear, linear_error = rayleigh(lambda z: dim**0.5 * z[:, 0])
    assert abs(linear - float(eigenvalues.linear)) < 4.5 * linear_error

    cross, cross_error = rayleigh(lambda z: dim * z[:, 0] * z[:, 1])
    assert abs(cross - float(eigenvalues.quadratic)) < 4.5 * cross_error
    assert abs(cross - 2 * EPSILON / dim**2) > 10 * cross_error  # §5 as printed

    norm, norm_error = rayleigh(lambda z: (z**2).sum(1) / (1 + 2 / dim) ** 0.5)
    assert abs(norm - float(eigenvalues.squared_norm)) < 4.5 * norm_error
    assert abs(norm - (1 + 2 / dim) / dim) > 10 * norm_error  # Eq. 16 as printed


def test_erratum_the_prime_in_eq_13():
    """⟨K(x, x′) x_i²⟩ is a function of x′; the printed x_i² on the right is averaged over."""
    dim = 3
    points, mass, _ = _operator(dim, scale=1.0, readouts=False)
    queries = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # of one norm
    kernel = _averaged_kernel(points, queries, scale=1.0, readouts=False)
    average = (mass * points[:, 0] ** 2) @ kernel
    factor = EPSILON**2 / dim**2
    np.testing.assert_allclose(average, factor * (2 * queries[:, 0] ** 2 + 1), rtol=1e-11)
    # Whatever number is read for the unprimed x_i², the print gives both queries one value.
    assert average[0] - average[1] == pytest.approx(2 * factor, rel=1e-10)


def test_erratum_the_diagonal_functions_are_not_independent():
    """After Eq. 14: D functions x_i² − ‖x‖²/D sum to zero, so D − 1 are independent."""
    dim = 4
    points, mass, matrix = _operator(dim, scale=1.0, readouts=False)
    functions = points**2 - (points**2).sum(1, keepdims=True) / dim
    np.testing.assert_allclose(functions.sum(1), 0, atol=1e-14)
    assert np.linalg.matrix_rank(functions) == dim - 1
    image = matrix @ (mass[:, None] * functions)
    np.testing.assert_allclose(image, 2 * EPSILON**2 / dim**2 * functions, atol=1e-13)
    assert sum(eigenspace_sizes(dim)) == dim + dim * (dim + 1) // 2


def test_erratum_cross_terms_stand_alone():
    """Before Eq. 15: x_i x_j is an eigenfunction, x_i x_j − c‖x‖² is none for c ≠ 0."""
    dim = 3
    points, mass, matrix = _operator(dim, scale=1.0, readouts=False)
    eigenvalue = 2 * EPSILON**2 / dim**2
    cross, norm = points[:, 0] * points[:, 1], (points**2).sum(1)
    np.testing.assert_allclose((mass * cross) @ matrix, eigenvalue * cross, atol=1e-13)
    printed = cross - norm / dim
    image = (mass * printed) @ matrix
    along = (mass * image) @ printed / ((mass * printed) @ printed)
    assert np.abs(image - along * printed).max() > 0.01  # no multiple of itself


def test_erratum_readouts_learn_the_norm_at_once():
    """After Eq. 23: 2/D, 3ε²/D², and ε²(1 + 2/D)(1/4 + 3/(2D)), not O(ε/D²)."""
    for dim in (2, 3, 4):
        points, mass, matrix = _operator(dim, scale=1.0, readouts=True)
        norm = (points**2).sum(1)
        holds = EPSILON**2 * (1 + 2 / dim) * (1 / 4 + 3 / (2 * dim))
        np.testing.assert_allclose((mass * norm) @ matrix, holds * norm, rtol=1e-11, atol=1e-14)
        closed = initial_readout_eigenvalues(dim, epsilon=EPSILON)
        np.testing.assert_allclose(closed, (2 / dim, 3 * EPSILON**2 / dim**2, holds), rtol=1e-12)
    wide = initial_readout_eigenvalues(10_000, epsilon=EPSILON).squared_norm
    assert float(wide) == pytest.approx(EPSILON**2 / 4, rel=1e-3)


def test_eigenfunctions_are_orthonormal_and_sum_to_the_kernel():
    dim = 4
    points, mass = gaussian.quadrature(dim, variance=1 / dim, order=4)
    functions = eigenfunctions(jnp.asarray(points))
    assert [f.shape[1] for f in functions] == list(eigenspace_sizes(dim))
    together = np.concatenate(functions, axis=1)
    np.testing.assert_allclose(
        (mass[:, None] * together).T @ together, np.eye(together.shape[1]), atol=1e-12
    )
    x = gaussian.samples(dim, 6, variance=1.0, seed=1)
    eigenvalues = initial_eigenvalues(dim, epsilon=EPSILON, kernel_scale=1.3)
    mercer = sum(
        value * np.asarray(f @ f.T)
        for value, f in zip(eigenvalues, eigenfunctions(jnp.asarray(x)), strict=True)
    )
    overlap = x @ x.T
    np.testing.assert_allclose(mercer, 1.3 * (overlap + EPSILON**2 * overlap**2), rtol=1e-11)


@pytest.mark.parametrize("epsilon", [0.02, 0.6])
def test_regression_without_a_ridge_needs_the_rank_and_not_one_over_lambda(epsilon):
    """Exact from P = D(D+3)/2 on whatever ε is, so P ~ D²/(2ε²) is no lower bound."""
    dim = 4
    rank = dim * (dim + 3) // 2
    assert sum(eigenspace_sizes(dim)) == rank
    beta = jnp.asarray(np.random.default_rng(2).normal(size=dim))
    queries = jnp.asarray(gaussian.samples(dim, 50, variance=1 / dim, seed=3))

    def error(n_train):
        x = jnp.asarray(gaussian.samples(dim, n_train, variance=1 / dim, seed=4))
        hyperparameters = {"alpha": 1.0, "epsilon": epsilon, "width": 1}
        weights = np.linalg.solve(initial_kernel(x, **hyperparameters), polynomial_target(beta, x))
        predicted = initial_kernel(queries, x, **hyperparameters) @ weights
        y = polynomial_target(beta, queries)
        return float(((predicted - y) ** 2).mean() / (y**2).mean())

    assert error(rank) < 1e-8
    assert error(rank // 2) > 0.02
    if epsilon == 0.02:
        assert float(sample_sizes(initial_eigenvalues(dim, epsilon=epsilon)).quadratic) > 1e4


def test_a_linear_network_has_no_quadratic_modes():
    eigenvalues = initial_eigenvalues(5, epsilon=0.0)
    assert [float(value) for value in eigenvalues] == [0.2, 0.0, 0.0]
    assert np.isinf(sample_sizes(eigenvalues).quadratic)


def test_batched_inside_jit():
    epsilons = jnp.array([0.1, 0.4])
    batched = jax.jit(jax.vmap(lambda e: initial_eigenvalues(5, epsilon=e)))(epsilons)
    for i, epsilon in enumerate(epsilons):
        one = initial_eigenvalues(5, epsilon=epsilon)
        np.testing.assert_allclose([values[i] for values in batched], one, rtol=1e-14)


def test_single_precision_is_kept_at_large_sizes():
    epsilon = jnp.float32(0.02)
    for closed in (initial_eigenvalues, initial_readout_eigenvalues):
        with jax.enable_x64(False):  # where D² does not fit into an integer
            eigenvalues = closed(100_000, epsilon=epsilon)
        assert {value.dtype for value in eigenvalues} == {jnp.dtype(jnp.float32)}
        assert closed(5, epsilon=epsilon).linear.dtype == jnp.float32
        exact = closed(100_000, epsilon=0.02)
        np.testing.assert_allclose(eigenvalues, exact, rtol=1e-6)
    assert {f.dtype for f in eigenfunctions(jnp.ones((2, 3), jnp.float32))} == {
        jnp.dtype(jnp.float32)
    }


def test_bad_input_is_refused(unchecked):
    for closed in (initial_eigenvalues, initial_readout_eigenvalues):
        with pytest.raises(InputError, match="dim is 0; it must be above zero"):
            closed(0, epsilon=0.1)
        with pytest.raises(InputError, match="epsilon is nan"):
            closed(3, epsilon=np.nan)
        with pytest.raises(InputError, match="kernel_scale is inf"):
            closed(3, epsilon=0.1, kernel_scale=np.inf)
    with pytest.raises(InputError, match="dim is -1"):
        eigenspace_sizes(-1)
    with pytest.raises(InputError, match=r"x \(3,\)"):
        eigenfunctions(jnp.ones(3))
    with pytest.raises(InputError, match="x holds 3 entries"):
        eigenfunctions(jnp.full((1, 3), jnp.nan))
