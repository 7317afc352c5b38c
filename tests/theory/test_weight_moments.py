"""Oracle: the committee machine summed unit by unit in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import committee_network

from lazyrich._base import InputError
from lazyrich.theory import (
    WeightMoments,
    committee_output,
    equivalent_weights,
    infinite_width,
    moment_change,
    polynomial_target,
    weight_moments,
)

ALPHA, EPSILON = 1.7, 0.3


def _network(seed, width=7, dim=4, rows=9):
    rng = np.random.default_rng(seed)
    shapes = (width, dim), (width,), (rows, dim)
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)


def test_output_from_the_statistics_is_the_networks_own():
    weights, _, x = _network(0)
    from_moments = committee_output(weight_moments(weights), x, alpha=ALPHA, epsilon=EPSILON)
    by_units = committee_network.output(weights, np.ones(7), x, alpha=ALPHA, epsilon=EPSILON)
    np.testing.assert_allclose(from_moments, by_units, rtol=1e-12)


def test_readouts_enter_both_statistics():
    weights, readouts, x = _network(1)
    stats = weight_moments(weights, readouts)
    by_units = committee_network.output(weights, readouts, x, alpha=ALPHA, epsilon=EPSILON)
    np.testing.assert_allclose(
        committee_output(stats, x, alpha=ALPHA, epsilon=EPSILON), by_units, rtol=1e-12
    )
    np.testing.assert_allclose(
        stats.second_moment,
        sum(v * np.outer(w, w) for v, w in zip(readouts, weights, strict=True)) / 7,
        rtol=1e-12,
        atol=1e-15,
    )


def test_displaced_statistics_give_the_centred_network():
    (weights0, _, x), (weights, _, _) = _network(2), _network(3)
    displacements = jax.tree.map(
        lambda after, before: after - before, *map(weight_moments, (weights, weights0))
    )
    ones = np.ones(7)
    centred = committee_network.output(
        weights, ones, x, alpha=ALPHA, epsilon=EPSILON
    ) - committee_network.output(weights0, ones, x, alpha=ALPHA, epsilon=EPSILON)
    np.testing.assert_allclose(
        committee_output(displacements, x, alpha=ALPHA, epsilon=EPSILON), centred, rtol=1e-11
    )


def test_wide_networks_approach_the_infinite_one():
    width, dim, scale = 200_000, 3, 1.5
    stats = weight_moments(jnp.asarray(scale * np.random.default_rng(4).normal(size=(width, dim))))
    limit = infinite_width(dim, weight_scale=scale)
    # The standard error of an entry of w̄ is σ/√N, that of M at most √2 σ²/√N.
    np.testing.assert_allclose(stats.mean_weight, limit.mean_weight, atol=5 * scale / width**0.5)
    np.testing.assert_allclose(
        stats.second_moment, limit.second_moment, atol=5 * (2 / width) ** 0.5 * scale**2
    )


def test_erratum_several_directions_are_a_sum_of_squares():
    """§15.1 prints β₁·x + β₂·x, which is no double-index target: odd, and linear."""
    directions, _, x = _network(5, width=2)
    y = polynomial_target(directions, x)
    np.testing.assert_allclose(y, committee_network.target(directions, x), rtol=1e-12)
    np.testing.assert_allclose(y, polynomial_target(directions, -x), rtol=1e-12)
    printed = (x @ directions.T).sum(1)
    assert (y >= 0).all()
    assert (printed < 0).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inputs_precision_is_kept(dtype):
    weights, readouts, x = (array.astype(dtype) for array in _network(7))
    stats = weight_moments(weights, readouts)
    assert stats.second_moment.dtype == dtype
    assert committee_output(stats, x, alpha=ALPHA, epsilon=EPSILON).dtype == dtype
    assert polynomial_target(weights, x).dtype == dtype


def test_readouts_of_another_length_are_refused(unchecked):
    with pytest.raises(InputError, match=r"weights \(7, 4\), readouts \(6,\) disagree"):
        weight_moments(np.ones((7, 4)), np.ones(6))


@pytest.mark.parametrize("width", [3, 40])
def test_equivalent_weights_have_the_given_statistics(width):
    weights = np.random.default_rng(20).normal(size=(width, 5)) + 0.3
    stats = weight_moments(jnp.asarray(weights))
    rows = np.asarray(equivalent_weights(stats))
    assert rows.shape == (6, 5)
    np.testing.assert_allclose(rows.mean(0), weights.mean(0), atol=1e-13)
    np.testing.assert_allclose(rows.T @ rows / 6, weights.T @ weights / width, atol=1e-13)


def test_moments_that_no_weights_have_get_one_sentence():
    stats = WeightMoments(jnp.array([2.0, 0.0]), jnp.eye(2))
    with pytest.raises(InputError, match="has the eigenvalue -3"):
        equivalent_weights(stats)


def test_displacement_is_the_difference_of_statistics():
    rng = np.random.default_rng(21)
    rows, displacements = rng.normal(size=(2, 7, 4))
    displacement = moment_change(jnp.asarray(rows), jnp.asarray(displacements))
    after = rows + displacements
    np.testing.assert_allclose(displacement.mean_weight, after.mean(0) - rows.mean(0), atol=1e-14)
    np.testing.assert_allclose(
        displacement.second_moment, (after.T @ after - rows.T @ rows) / 7, atol=1e-14
    )
