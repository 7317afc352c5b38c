"""Oracle: the law that numbers follow where units change, from entries of order one."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich._base import InputError
from lazyrich.kernels import (
    alignment,
    centered_alignment,
    chance_alignment,
    column_centered_alignment,
    debiased_alignment,
    difficulty,
    kernel_distance,
    kernel_regression,
    kernel_spectrum,
    lazy_dynamics,
)
from lazyrich.theory import (
    WeightMoments,
    population_alignment,
    population_centered_alignment,
    population_column_centered_alignment,
)

RNG = np.random.default_rng(5)
ROOT, OTHER = RNG.normal(size=(2, 6, 9))


def single(values):
    return jnp.asarray(values, jnp.float32)


K, K2 = single(ROOT @ ROOT.T), single(OTHER @ OTHER.T)
Y = single(RNG.normal(size=6))
QUERY = single(RNG.normal(size=(4, 9)) @ ROOT.T)
ONE = single(1)
STEPS = jnp.array([0, 3, 50, 1000])


def dynamics(kernel, y, query, unit):
    options = {"learning_rate": 0.05 / unit, "query_kernel": query, "momentum": 0.5}
    found = lazy_dynamics(kernel, y, STEPS, **options)
    return jnp.concatenate([found.train.ravel(), found.query.ravel()])


# How a number changes where the kernel is multiplied by k and the labels by l: k^a l^b.
LAWS = {
    "alignment": (lambda kernel, y, *_: alignment(kernel, y), 0, 0),
    "centered": (lambda kernel, y, *_: centered_alignment(kernel, y), 0, 0),
    "column centered": (lambda kernel, y, *_: column_centered_alignment(kernel, y), 0, 0),
    "debiased": (lambda kernel, y, *_: debiased_alignment(kernel, y), 0, 0),
    "chance": (lambda kernel, *_: chance_alignment(kernel), 0, 0),
    "difficulty": (lambda kernel, y, *_: difficulty(kernel, y), -1, 2),
    "distance": (lambda kernel, y, q, k: kernel_distance(kernel, K2 * k), 0, 0),
    "regression": (lambda kernel, y, q, k: kernel_regression(kernel, y, q), 0, 1),
    "ridge": (lambda kernel, y, q, k: kernel_regression(kernel, y, q, ridge=k), 0, 1),
    "dynamics": (dynamics, 0, 1),
    "eigenvalues": (lambda kernel, y, *_: kernel_spectrum(kernel, y).eigenvalues, 1, 0),
}


@pytest.mark.parametrize("name", LAWS)
@given(st.integers(-18, 18), st.integers(-9, 9))
@settings(max_examples=12)
def test_numbers_follow_their_units_in_single_precision(name, tens_of_kernel, tens_of_labels):
    measure, of_kernel, of_labels = LAWS[name]
    k, label = single(10.0**tens_of_kernel), single(10.0**tens_of_labels)
    found = measure(K * k, Y * label, QUERY * k, k)
    wanted = np.asarray(measure(K, Y, QUERY, ONE))
    law = float(k) ** of_kernel * float(label) ** of_labels
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(np.float64(found) / law, wanted, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("scale", [1e18, 1e-18])
@pytest.mark.parametrize("name", LAWS)
def test_labels_at_the_ends_of_the_range(name, scale):
    measure, _, of_labels = LAWS[name]
    found = measure(K, Y * single(scale), QUERY, ONE)
    wanted = np.asarray(measure(K, Y, QUERY, ONE))
    atol = 1e-3 * np.abs(wanted).max()
    np.testing.assert_allclose(np.float64(found) / scale**of_labels, wanted, 1e-3, atol)


@pytest.mark.parametrize("tens", [-60, -30, -19, -18, -15, 15, 18, 19, 30, 60])
@pytest.mark.parametrize(
    "measure",
    [population_alignment, population_column_centered_alignment, population_centered_alignment],
)
def test_alignment_over_all_inputs_has_no_units(measure, tens):
    """Labels whose square single precision cannot hold are refused, not rounded to zero."""
    mean, direction = single(RNG.normal(size=(2, 5)))
    stats = WeightMoments(mean, 1.3 * jnp.eye(5, dtype=jnp.float32) + jnp.outer(mean, mean))
    wanted = measure(stats, direction, epsilon=0.5).ratio
    try:
        found = measure(stats, direction * single(10.0 ** (tens / 2)), epsilon=0.5).ratio
    except InputError as error:
        assert "squares beyond what float32 can hold" in str(error)  # noqa: PT017
        assert tens < -15 or tens > 18
        return
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e18, 1e-18])
def test_the_size_of_the_weights_goes_with_that_of_epsilon(scale):
    mean, direction = single(RNG.normal(size=(2, 5)))
    second = 1.3 * jnp.eye(5, dtype=jnp.float32) + jnp.outer(mean, mean)
    root = single(np.sqrt(scale))
    moved = WeightMoments(mean * root, second * single(scale))
    wanted = population_alignment(WeightMoments(mean, second), direction, epsilon=0.5).ratio
    found = population_alignment(moved, direction, epsilon=0.5 / root).ratio
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
