"""Measurements that decide between a misprint of the paper and its correction.

Each returns the relative error of the printed formula and of the correction, both against a
reference that uses neither.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich.theory import (
    committee_kernel,
    eigenspace_sizes,
    initial_eigenvalues,
    initial_readout_eigenvalues,
    loss_terms,
    polynomial_target,
    population_alignment,
    target_components,
    weight_moments,
)

# A small case without symmetry; averages of polynomials over 4 nodes a dimension are exact.
_DIM, _WIDTH, _ALPHA, _EPSILON = 3, 7, 1.7, 0.7
_NODES = 4

Errors = tuple[float, float]
"""Relative error of the printed formula and of the correction."""


# References: exact averages and gradients.


def _nodes(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights that average polynomials over N(0, I) exactly."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    mass = np.stack(np.meshgrid(*[weights] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return grid, mass.prod(1) / mass.prod(1).sum()


def _inputs(dim: int = _DIM) -> tuple[np.ndarray, np.ndarray]:
    """Nodes for x ~ N(0, I/D)."""
    grid, mass = _nodes(dim)
    return grid / dim**0.5, mass


def _draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _output(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    field = x @ weights.T
    return _ALPHA * (field + _EPSILON / 2 * field**2).mean(1)


def _jacobian(weights: np.ndarray, x: np.ndarray, alpha: float = _ALPHA) -> np.ndarray:
    """∂f/∂w of the network, one row for each input."""
    slope = 1 + _EPSILON * x @ weights.T
    return (alpha / len(weights) * slope[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def _average_kernel(x: np.ndarray, x2: np.ndarray, *, readouts: bool = False) -> np.ndarray:
    """The tangent kernel in units of α²/N, averaged over w ~ N(0, I) and v ~ N(0, 1)."""
    weights, mass = _nodes(x.shape[1])
    field, field2 = x @ weights.T, x2 @ weights.T
    kernel = (x @ x2.T) * ((1 + _EPSILON * field) * mass @ (1 + _EPSILON * field2).T)
    if readouts:
        value, value2 = (h + _EPSILON / 2 * h**2 for h in (field, field2))
        kernel = kernel + (value * mass) @ value2.T
    return kernel


def _eigenvalue(function: Callable[[np.ndarray], np.ndarray], dim: int, **which: bool) -> float:
    """⟨ψ(x)K(x, x′)ψ(x′)⟩ of a function that is scaled to ⟨ψ²⟩ = 1."""
    x, mass = _inputs(dim)
    value = function(x)
    value = mass * value / np.sqrt(mass @ value**2)
    return float(value @ _average_kernel(x, x, **which) @ value)


def _misfit(function: object, x: np.ndarray, mass: np.ndarray) -> float:
    """How far a function is from being an eigenfunction of the initial kernel."""
    value = np.asarray(function)
    image = _average_kernel(x, x) @ (mass * value)
    along = (mass * value) @ image / ((mass * value) @ value)
    return float(np.abs(image - along * value).max() / np.abs(image).max())


def _gap(value: object, exact: object) -> float:
    """The largest deviation, relative to the largest entry."""
    wanted = np.asarray(exact, float)
    return float(np.abs(np.asarray(value, float) - wanted).max() / np.abs(wanted).max())


# One function for each erratum.


def kernel() -> Errors:
    """Eqs. 5, 18: the factor α²/N."""
    weights, x = _draw(0, _WIDTH, _DIM), _draw(1, 5, _DIM)
    jacobian, stats = _jacobian(weights, x), weight_moments(jnp.asarray(weights))
    exact, x = jacobian @ jacobian.T, jnp.asarray(x)
    printed = committee_kernel(stats, x, alpha=1.0, epsilon=_EPSILON, width=1)
    holds = committee_kernel(stats, x, alpha=_ALPHA, epsilon=_EPSILON, width=_WIDTH)
    return _gap(printed, exact), _gap(holds, exact)


def kernel_at_start(closed: Callable[..., Array], *, readouts: bool) -> Errors:
    """Eqs. 10, 23: the factor α²/N."""
    x = _draw(2, 5, _DIM)
    exact = _ALPHA**2 / _WIDTH * _average_kernel(x, x, readouts=readouts)
    printed = closed(jnp.asarray(x), alpha=1.0, epsilon=_EPSILON, width=1)
    holds = closed(jnp.asarray(x), alpha=_ALPHA, epsilon=_EPSILON, width=_WIDTH)
    return _gap(printed, exact), _gap(holds, exact)


def centred_loss() -> Errors:
    """Eq. 6 for a centred network."""
    x, mass = _inputs()
    start, beta = _draw(3, _WIDTH, _DIM), _draw(4, _DIM)
    weights = start + 0.3 * _draw(5, _WIDTH, _DIM)  # trained a little
    error = _output(weights, x) - _output(start, x) - 0.5 * (x @ beta) ** 2
    stats, stats0 = weight_moments(jnp.asarray(weights)), weight_moments(jnp.asarray(start))
    printed, holds = (
        loss_terms(stats, jnp.asarray(beta), alpha=_ALPHA, epsilon=_EPSILON, start=start).total
        for start in (None, stats0)
    )
    return _gap(printed, mass @ error**2), _gap(holds, mass @ error**2)


def quadratic_eigenvalue() -> Errors:
    """§5: ε² in the quadratic eigenvalue."""
    exact = _eigenvalue(lambda x: x[:, 0] * x[:, 1], _DIM)
    holds = initial_eigenvalues(_DIM, epsilon=_EPSILON).quadratic
    return _gap(2 * _EPSILON / _DIM**2, exact), _gap(holds, exact)


def lost_prime() -> Errors:
    """Eq. 13: the function is one of x′."""
    x, mass = _inputs()
    queries = np.eye(_DIM)[:2]  # of one norm: only x′₁² tells them apart
    average = (mass * x[:, 0] ** 2) @ _average_kernel(x, queries)
    factor = float(initial_eigenvalues(_DIM, epsilon=_EPSILON).quadratic)
    exact = average[0] - average[1]
    return _gap(0.0, exact), _gap(factor * (queries[0, 0] ** 2 - queries[1, 0] ** 2), exact)


def independent_functions() -> Errors:
    """After Eq. 14: how many functions are independent."""
    x, _ = _inputs()
    exact = np.linalg.matrix_rank(x**2 - (x**2).sum(1, keepdims=True) / _DIM)
    n_cross = _DIM * (_DIM - 1) // 2
    return _gap(_DIM, exact), _gap(eigenspace_sizes(_DIM).quadratic - n_cross, exact)


def cross_terms() -> Errors:
    """Before Eq. 15: x_i x_j is an eigenfunction as it is."""
    x, mass = _inputs()
    cross = x[:, 0] * x[:, 1]
    printed = cross - (x**2).sum(1) / _DIM
    return _misfit(printed, x, mass), _misfit(cross, x, mass)


def norm_eigenvalue() -> Errors:
    """Eq. 16: ε² in the eigenvalue of ‖x‖²."""
    exact = _eigenvalue(lambda x: (x**2).sum(1), _DIM)
    holds = initial_eigenvalues(_DIM, epsilon=_EPSILON).squared_norm
    return _gap((1 + 2 / _DIM) / _DIM, exact), _gap(holds, exact)


def target_parts() -> Errors:
    """Eq. 17: ‖β‖² in the part along ‖x‖²."""
    x, mass = _inputs()
    beta = 2 * _draw(6, _DIM)
    printed = 0.5 * ((x @ beta) ** 2 - (x**2).sum(1) / _DIM)
    holds = target_components(jnp.asarray(beta), jnp.asarray(x)).quadratic
    return _misfit(printed, x, mass), _misfit(holds, x, mass)


def overlap() -> Errors:
    """Eq. 20: the ¼."""
    x, mass = _inputs()
    weights, beta = _draw(7, _WIDTH, _DIM), _draw(8, _DIM)
    jacobian = _jacobian(weights, x)
    labels = mass * 0.5 * (x @ beta) ** 2
    exact = _WIDTH / _ALPHA**2 * labels @ jacobian @ jacobian.T @ labels
    stats = weight_moments(jnp.asarray(weights))
    moment, square = np.asarray(stats.second_moment), beta @ beta
    printed = square**2 * moment.trace() + 8 * square * beta @ moment @ beta
    holds = population_alignment(stats, jnp.asarray(beta), epsilon=_EPSILON).overlap
    return _gap(_EPSILON**2 / _DIM**4 * printed, exact), _gap(holds, exact)


def unit_of_labels() -> Errors:
    """CKA: only ‖y‖² makes it free of the labels' unit."""
    stats, beta = weight_moments(jnp.asarray(_draw(7, _WIDTH, _DIM))), jnp.asarray(_draw(8, _DIM))
    one, ten = (population_alignment(stats, s * beta, epsilon=_EPSILON) for s in (1.0, 10**0.5))
    printed = [p.overlap / np.sqrt(p.kernel_power * p.label_power) for p in (one, ten)]
    return _gap(printed[1], printed[0]), _gap(ten.ratio, one.ratio)


def readout_eigenvalue() -> Errors:
    """After Eq. 23: how the eigenvalue of ‖x‖² falls with D."""
    few, many = 2, 5
    exact = [_eigenvalue(lambda x: (x**2).sum(1), dim, readouts=True) for dim in (few, many)]
    closed = [initial_readout_eigenvalues(d, epsilon=_EPSILON).squared_norm for d in (few, many)]
    ratio = exact[1] / exact[0]
    return _gap((few / many) ** 2, ratio), _gap(closed[1] / closed[0], ratio)


def distance() -> Errors:
    """Eq. 9: the kernel of Eq. 2."""
    weights, x, y = _draw(9, _WIDTH, _DIM), _draw(10, 5, _DIM), _draw(11, 5)
    moved = np.linalg.lstsq(_jacobian(weights, x), y, rcond=None)[0]  # where descent ends
    stats, x = weight_moments(jnp.asarray(weights)), jnp.asarray(x)
    kernels = (
        committee_kernel(stats, x, alpha=alpha, epsilon=_EPSILON, width=width)
        for alpha, width in ((1.0, 1), (_ALPHA, _WIDTH))
    )
    printed, holds = (y @ np.linalg.solve(np.asarray(kernel), y) for kernel in kernels)
    return _gap(printed, moved @ moved), _gap(holds, moved @ moved)


def sign_steps() -> Errors:
    """§8.1: what keeps df/dt under steps of fixed size."""
    weights, x, residual = _draw(9, _WIDTH, _DIM), _draw(10, 5, _DIM), _draw(11, 5)

    def change(alpha: float, rate: float) -> np.ndarray:
        jacobian = _jacobian(weights, x, alpha)
        return -rate * jacobian @ np.sign(jacobian.T @ residual)

    exact = change(1.0, 0.1)
    return _gap(change(5.0, 0.1 / 25), exact), _gap(change(5.0, 0.1 / 5), exact)


def several_directions() -> Errors:
    """§15.1: an even target has no odd part."""
    x, mass = _inputs()
    directions = _draw(12, 2, _DIM)

    def odd_share(target: Callable[[np.ndarray], object]) -> float:
        here, there = np.asarray(target(x)), np.asarray(target(-x))
        return float(mass @ (here - there) ** 2 / (4 * mass @ here**2))

    holds = odd_share(lambda z: polynomial_target(jnp.asarray(directions), jnp.asarray(z)))
    return odd_share(lambda z: (z @ directions.T).sum(1)), holds


def decay() -> Errors:
    """§13: twice the decay, half the time, where weights do nothing but decay."""

    def time(decay: float) -> float:
        """Flow time until weights that only decay, dw/dt = −λw, are a tenth."""
        steps, size = 0, 1.0
        while size > 0.1:
            size *= np.exp(-1e-3 * decay)
            steps += 1
        return 1e-3 * (steps + np.log(size / 0.1) / (1e-3 * decay))

    exact = time(2.0) / time(1.0)
    return _gap(2.0, exact), _gap(0.5, exact)
