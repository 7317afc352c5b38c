"""Oracles: exact Gaussian quadrature of the Gram matrix; Monte Carlo with its error at D = 6."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network, gaussian

from lazyrich._base import InputError
from lazyrich.theory import (
    WeightMoments,
    infinite_width,
    population_alignment,
    population_centered_alignment,
    population_column_centered_alignment,
    weight_moments,
)

EPSILON = 0.6
FAMILY = (
    population_alignment,
    population_column_centered_alignment,
    population_centered_alignment,
)


def _case(seed, dim, n_directions=1, width=9):
    rng = np.random.default_rng(seed)
    stats = weight_moments(jnp.asarray(rng.normal(size=(width, dim))))
    return stats, 1.5 * rng.normal(size=(n_directions, dim))


def _by_quadrature(stats, directions, member):
    """Overlap, ⟨K²⟩ and ⟨y²⟩ of the Gram matrix on quadrature nodes, centred as it says."""
    dim = len(stats.mean_weight)
    x, mass = gaussian.quadrature(dim, variance=1 / dim, order=5)
    kernel = committee_network.unscaled_kernel(*map(np.asarray, stats), x, x, EPSILON)
    y = committee_network.target(directions, x)
    if member is not population_alignment:
        kernel = kernel - mass @ kernel  # the mean of each column
    if member is population_centered_alignment:
        kernel = kernel - (kernel @ mass)[:, None]
        y = y - mass @ y
    return (mass * y) @ kernel @ (mass * y), mass @ kernel**2 @ mass, mass @ y**2


@pytest.mark.parametrize("member", FAMILY)
@pytest.mark.parametrize("dim, n_directions", [(1, 1), (2, 1), (3, 1), (3, 2)])
def test_parts_are_the_averages_they_stand_for(member, dim, n_directions):
    stats, directions = _case(dim, dim, n_directions)
    parts = member(stats, jnp.asarray(directions), epsilon=EPSILON)
    exact = _by_quadrature(stats, directions, member)
    np.testing.assert_allclose(parts, exact, rtol=1e-10)
    assert float(parts.ratio) == pytest.approx(exact[0] / (exact[1] ** 0.5 * exact[2]), rel=1e-10)
    assert 0 <= float(parts.ratio) <= 1


def test_erratum_the_overlap_has_a_quarter():
    """Eq. 20: the labels carry ½ each, so both printed lines are four times too large."""
    stats, directions = _case(0, 3)
    beta, moment = directions[0], np.asarray(stats.second_moment)
    square = beta @ beta
    printed = EPSILON**2 / 3**4 * (square**2 * moment.trace() + 8 * square * beta @ moment @ beta)
    exact = _by_quadrature(stats, directions, population_alignment)[0]
    assert printed / 4 == pytest.approx(exact, rel=1e-11)
    parts = population_alignment(stats, jnp.asarray(beta), epsilon=EPSILON)
    assert float(parts.overlap) == pytest.approx(printed / 4, rel=1e-12)


def test_alignment_by_monte_carlo():
    """10⁶ independent pairs of inputs at D = 6; the print of Eq. 20 is many errors away."""
    dim, n = 6, 1_000_000
    stats, directions = _case(1, dim)
    x, x2 = gaussian.samples(dim, 2 * n, variance=1 / dim, seed=2).reshape(2, n, dim)
    mean, moment = map(np.asarray, stats)
    kernel = (x * x2).sum(1) * (
        1 + EPSILON * (x + x2) @ mean + EPSILON**2 * ((x @ moment) * x2).sum(1)
    )
    y, y2 = (committee_network.target(directions, z) for z in (x, x2))
    parts = population_alignment(stats, jnp.asarray(directions), epsilon=EPSILON)
    for closed, values in zip(parts, (y * kernel * y2, kernel**2, y**2), strict=True):
        average, error = gaussian.mean_and_error(values)
        assert abs(float(closed) - average) < 4.5 * error
        assert error < 0.05 * average
    average, error = gaussian.mean_and_error(y * kernel * y2)
    assert abs(4 * float(parts.overlap) - average) > 20 * error

    centred = population_centered_alignment(stats, jnp.asarray(directions), epsilon=EPSILON)
    offset = y.mean()
    average, error = gaussian.mean_and_error((y - offset) * kernel * (y2 - offset))
    assert abs(float(centred.overlap) - average) < 4.5 * error
    assert abs(float(parts.overlap) - average) > 4.5 * error  # centring matters here


def test_closed_forms_of_one_direction():
    """The formulas as the documentation writes them, in NumPy."""
    dim = 5
    stats, directions = _case(3, dim)
    mean, moment = map(np.asarray, stats)
    beta = directions[0]
    square, along = beta @ beta, beta @ moment @ beta
    size, trace, power = (moment**2).sum(), moment.trace(), mean @ mean
    plain, columns, doubly = (
        member(stats, jnp.asarray(beta), epsilon=EPSILON) for member in FAMILY
    )
    e2, e4 = EPSILON**2, EPSILON**4
    np.testing.assert_allclose(
        (plain.overlap, plain.kernel_power, plain.label_power),
        (
            e2 * (square**2 * trace + 8 * square * along) / (4 * dim**4),
            1 / dim
            + 2 * e2 * (dim + 2) * power / dim**3
            + e4 * ((dim + 6) * size + 2 * trace**2) / dim**4,
            3 * square**2 / (4 * dim**2),
        ),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        (columns.overlap, columns.kernel_power, columns.label_power),
        (
            3 * e2 * square * along / (2 * dim**4),
            1 / dim
            + e2 * (2 * dim + 3) * power / dim**3
            + e4 * ((dim + 4) * size + trace**2) / dim**4,
            3 * square**2 / (4 * dim**2),
        ),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        (doubly.overlap, doubly.kernel_power, doubly.label_power),
        (
            e2 * square * along / dim**4,
            1 / dim
            + 2 * e2 * (dim + 1) * power / dim**3
            + e4 * ((dim + 2) * size + trace**2) / dim**4,
            square**2 / (2 * dim**2),
        ),
        rtol=1e-12,
    )


def test_erratum_the_labels_norm_is_squared():
    """§5 prints both ‖y‖ and ‖y‖²: only with the square is the alignment free of units."""
    stats, directions = _case(4, 3)
    beta = jnp.asarray(directions)
    one, ten = (population_alignment(stats, s * beta, epsilon=EPSILON) for s in (1.0, 10.0**0.5))
    assert float(ten.label_power) == pytest.approx(100 * float(one.label_power), rel=1e-12)
    assert float(ten.ratio) == pytest.approx(float(one.ratio), rel=1e-12)
    printed = [float(p.overlap / jnp.sqrt(p.kernel_power * p.label_power)) for p in (one, ten)]
    assert printed[1] == pytest.approx(10 * printed[0], rel=1e-12)


def test_a_finite_sample_adds_a_floor_that_a_random_label_gets_too():
    """At the paper's start the measured number is mostly the floor Tr K/(n‖K‖_F)."""
    dim, n, epsilon = 40, 400, 0.05
    stats = infinite_width(dim)
    beta = np.random.default_rng(5).normal(size=dim)
    population = population_centered_alignment(stats, jnp.asarray(beta), epsilon=epsilon).ratio
    measured, chance, floors = [], [], []
    for seed in range(20):
        x = gaussian.samples(dim, n, variance=1 / dim, seed=seed)
        kernel = committee_network.unscaled_kernel(*map(np.asarray, stats), x, x, epsilon)
        kernel = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
        size = np.linalg.norm(kernel)
        floors.append(np.trace(kernel) / (n * size))
        noise = np.random.default_rng(100 + seed).normal(size=n)
        for y, scores in ((committee_network.target(beta, x), measured), (noise, chance)):
            y = y - y.mean()
            scores.append(y @ kernel @ y / (size * (y @ y)))
    score, error = gaussian.mean_and_error(measured)
    random, random_error = gaussian.mean_and_error(chance)
    assert abs(random - np.mean(floors)) < 4.5 * random_error
    assert float(population) < 0.01 * score
    assert score > 10 * error
    assert score == pytest.approx(np.mean(floors), rel=0.25)  # 4.5 errors of 5 %


def test_special_values():
    stats, directions = _case(6, 3)
    beta = jnp.asarray(directions)
    for member in FAMILY:
        assert float(member(stats, beta, epsilon=0.0).ratio) == 0
        assert np.isnan(member(stats, 0 * beta, epsilon=EPSILON).ratio)
        broken = stats._replace(second_moment=stats.second_moment * jnp.nan)
        assert np.isnan(member(broken, beta, epsilon=EPSILON).ratio)


@pytest.mark.parametrize("member", FAMILY)
def test_a_history_is_treated_entry_by_entry(member):
    entries = [_case(seed, 3)[0] for seed in range(4)]
    history = jax.tree.map(lambda *leaves: jnp.stack(leaves), *entries)
    beta = jnp.array([1.0, 2.0, 3.0])
    together = member(history, beta, epsilon=EPSILON)
    mapped = jax.jit(jax.vmap(lambda s: member(s, beta, epsilon=EPSILON)))(history)
    for i, entry in enumerate(entries):
        alone = member(entry, beta, epsilon=EPSILON)
        np.testing.assert_allclose([part[i] for part in together], alone, rtol=1e-12)
        np.testing.assert_allclose([part[i] for part in mapped], alone, rtol=1e-12)
        np.testing.assert_allclose(together.ratio[i], alone.ratio, rtol=1e-12)


@pytest.mark.parametrize("member", FAMILY)
def test_single_precision_is_kept_and_right_at_the_papers_size(member):
    rng = np.random.default_rng(7)
    beta = rng.normal(size=100)
    moment = np.eye(100) + 50 * np.outer(beta, beta)
    double = WeightMoments(jnp.asarray(rng.normal(size=100)), jnp.asarray(moment))
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double)
    parts = member(single, jnp.asarray(beta, jnp.float32), epsilon=0.02)
    assert {part.dtype for part in parts} == {jnp.dtype(jnp.float32)}
    exact = member(double, jnp.asarray(beta), epsilon=0.02)
    np.testing.assert_allclose(parts, exact, rtol=1e-5)


@pytest.mark.parametrize("member", FAMILY)
def test_bad_input_is_refused(unchecked, member):
    stats = infinite_width(3)
    with pytest.raises(InputError, match="epsilon is inf"):
        member(stats, jnp.ones(3), epsilon=np.inf)
    with pytest.raises(InputError, match="directions holds 1 entries"):
        member(stats, jnp.array([1.0, jnp.nan, 0.0]), epsilon=0.1)
    with pytest.raises(InputError, match="disagree with 2 inputs"):
        member(stats, jnp.ones(2), epsilon=0.1)
