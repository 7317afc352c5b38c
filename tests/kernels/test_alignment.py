"""Oracle: alignments entry by entry and HSIC₁ by its three sums, in NumPy float64."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from oracles import kernels as oracle

from lazyrich._base import InputError
from lazyrich.kernels import (
    alignment,
    centered_alignment,
    chance_alignment,
    column_centered_alignment,
    debiased_alignment,
    permutation_null,
)

FAMILY = {
    alignment: oracle.alignment,
    centered_alignment: oracle.centered_alignment,
    column_centered_alignment: oracle.column_centered_alignment,
    debiased_alignment: oracle.debiased_alignment,
}
named = pytest.mark.parametrize("measure", FAMILY, ids=lambda f: f.__name__)


def problem(seed=0, n=20, n_features=8, n_out=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, n_features)) + 0.5
    targets = features[:, 0] ** 2 + rng.normal(size=n)
    if n_out:
        targets = np.stack([targets, *rng.normal(size=(n_out - 1, n))], 1)
    return features @ features.T, targets


@named
@pytest.mark.parametrize("n_out", [0, 3, 30])
def test_each_is_its_literal_formula(measure, n_out):
    kernel, targets = problem(n_out=n_out)
    got = measure(jnp.asarray(kernel), jnp.asarray(targets))
    # A few hundred float64 sums.
    np.testing.assert_allclose(got, FAMILY[measure](kernel, targets), rtol=1e-11)


@named
def test_smallest_sizes(measure):
    kernel, targets = problem(n=4, n_features=6)
    got = measure(jnp.asarray(kernel), jnp.asarray(targets))
    np.testing.assert_allclose(got, FAMILY[measure](kernel, targets), rtol=1e-10)


@named
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_single_precision_at_any_scale_and_offset(measure, scale):
    kernel, targets = problem(n=60)
    targets = targets + 30.0
    single = measure(
        jnp.asarray(scale * kernel, jnp.float32), jnp.asarray(scale * targets, jnp.float32)
    )
    assert single.dtype == jnp.float32
    # Float32 rounding, times the ratio of the labels' mean to their spread.
    np.testing.assert_allclose(single, FAMILY[measure](kernel, targets), atol=3e-5)


@named
def test_jit_vmap_and_gradient(measure):
    kernel, targets = problem()
    kernel, targets = jnp.asarray(kernel), jnp.asarray(targets)
    many = jnp.stack([targets, jnp.sin(targets)])
    batched = jax.jit(jax.vmap(lambda y: measure(kernel, y)))(many)
    np.testing.assert_allclose(batched, [measure(kernel, y) for y in many], rtol=1e-11)
    push = jnp.cos(jnp.arange(20.0))

    def along(t):
        return measure(kernel + t * push[:, None] * push, targets + t * push)

    step = 1e-6
    np.testing.assert_allclose(
        jax.grad(along)(0.0), (along(step) - along(-step)) / (2 * step), rtol=1e-6, atol=1e-9
    )


@named
def test_no_labels_or_no_kernel_is_nan(measure):
    kernel, targets = problem()
    assert np.isnan(measure(jnp.asarray(kernel), jnp.zeros(20)))
    assert np.isnan(measure(jnp.zeros((20, 20)), jnp.asarray(targets)))


def test_constant_labels_have_no_centred_alignment():
    kernel, _ = problem()
    assert np.isnan(centered_alignment(jnp.asarray(kernel), jnp.full(20, 3.0)))
    assert np.isnan(debiased_alignment(jnp.asarray(kernel), jnp.full(20, 3.0)))


def test_perfect_alignment_is_one():
    y = jnp.asarray(np.random.default_rng(0).normal(size=12))
    centred = y - y.mean()
    assert alignment(jnp.outer(y, y), y) == pytest.approx(1.0, abs=1e-14)
    assert centered_alignment(jnp.outer(y, y), y) == pytest.approx(1.0, abs=1e-14)
    assert debiased_alignment(jnp.outer(y, y), y) == pytest.approx(1.0, abs=1e-14)
    # With centred labels the column-centred form is the plain one.
    got = column_centered_alignment(jnp.outer(centred, centred), centred)
    assert got == pytest.approx(1.0, abs=1e-14)


def test_chance_is_the_mean_over_random_labels():
    kernel, _ = problem(n=30)
    labels = np.random.default_rng(1).normal(size=(4000, 30))
    scores = np.array([oracle.alignment(kernel, y) for y in labels])
    error = scores.std() / np.sqrt(len(scores))
    got = float(chance_alignment(jnp.asarray(kernel)))
    assert abs(got - scores.mean()) < 4 * error  # four standard errors of the Monte Carlo
    assert error < 0.03 * got  # else the line above says nothing


def test_chance_at_its_two_ends():
    assert chance_alignment(jnp.eye(9)) == pytest.approx(1 / 3, abs=1e-15)
    v = jnp.arange(1.0, 10.0)
    assert chance_alignment(jnp.outer(v, v)) == pytest.approx(1 / 9, abs=1e-15)
    assert np.isnan(chance_alignment(jnp.zeros((3, 3))))


def test_debiased_is_zero_on_average_for_unrelated_labels_and_the_others_are_not():
    rng = np.random.default_rng(2)
    n, draws = 25, 600
    features, labels = rng.normal(size=(draws, n, 5)), rng.normal(size=(draws, n))
    kernels = jnp.asarray(features @ features.transpose(0, 2, 1))
    debiased = np.asarray(jax.vmap(debiased_alignment)(kernels, jnp.asarray(labels)))
    error = debiased.std() / np.sqrt(draws)
    assert abs(debiased.mean()) < 4 * error  # four standard errors
    plain = np.asarray(jax.vmap(centered_alignment)(kernels, jnp.asarray(labels)))
    assert plain.mean() > 20 * error


def test_permutation_null_finds_a_relation_and_centres_on_chance():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 4))
    kernel, y = jnp.asarray(features @ features.T), jnp.asarray(features[:, 0])
    null = permutation_null(kernel, y, jax.random.key(0), n_permutations=500)
    np.testing.assert_allclose(null.value, alignment(kernel, y), rtol=1e-14)
    assert null.p_value == pytest.approx(1 / 501)
    # The labels' mean is nearly zero, so shuffled ones are nearly random directions.
    np.testing.assert_allclose(null.mean, chance_alignment(kernel), rtol=0.1)
    assert null.quantiles[0] < null.quantiles[1] < null.quantiles[2] < null.value


def test_permutation_null_of_unrelated_labels_is_uniform():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(120, 15, 4))
    kernels = jnp.asarray(features @ features.transpose(0, 2, 1))
    labels, keys = jnp.asarray(rng.normal(size=(120, 15))), jax.random.split(jax.random.key(1), 120)
    p_values = jax.vmap(
        lambda k, y, key: (
            permutation_null(k, y, key, n_permutations=99, measure=debiased_alignment).p_value
        )
    )(kernels, labels, keys)
    # Standard error of a uniform mean over 120 draws is 0.026.
    assert abs(float(p_values.mean()) - 0.505) < 4 * 0.026
    assert float(p_values.min()) >= 0.01


def test_permutation_null_takes_ties_as_equal():
    null = permutation_null(jnp.eye(5) * 0.3, jnp.arange(5.0), jax.random.key(0), n_permutations=50)
    assert null.p_value == 1.0  # the identity scores every labelling alike


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: alignment(jnp.ones((2, 3)), jnp.ones(2)), "must be square"),
        (lambda: alignment(jnp.eye(2), jnp.ones(3)), "targets have shape"),
        (lambda: alignment(jnp.eye(2), jnp.array([1.0, np.nan])), "targets holds 1"),
        (lambda: centered_alignment(jnp.eye(2) * np.inf, jnp.ones(2)), "kernel holds"),
        (lambda: column_centered_alignment(jnp.ones((2, 2, 1, 1)), jnp.ones(2)), "flatten_kernel"),
        (lambda: debiased_alignment(jnp.eye(3), jnp.ones(3)), "needs four or more"),
        (lambda: chance_alignment(jnp.ones(3)), "must be square"),
        (
            lambda: permutation_null(jnp.eye(4), jnp.ones(4), jax.random.key(0), n_permutations=0),
            "n_permutations is 0",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(InputError, match=message):
            call()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
