"""Oracle: the symmetries themselves; each law compares an instrument with itself."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich.kernels import (
    alignment,
    centered_alignment,
    chance_alignment,
    column_centered_alignment,
    debiased_alignment,
    difficulty,
    kernel_distance,
    kernel_regression,
    lazy_dynamics,
    lazy_parameter_change,
    ntk,
)

# One shape throughout, so that nothing is compiled twice; the numbers vary.
N, N_FEATURES = 7, 12
seeds = st.integers(0, 2**32 - 1)
scales = st.floats(-6, 6).map(lambda power: 10.0**power)
law = settings(max_examples=20, deadline=None, derandomize=True)
family = pytest.mark.parametrize(
    "measure",
    [alignment, centered_alignment, column_centered_alignment, debiased_alignment],
    ids=lambda f: f.__name__,
)
# Rounding of a few hundred float64 operations; NumPy's rotations are that exact too.
ROUNDING = {"rtol": 1e-8, "atol": 1e-10}


def problem(seed):
    rng = np.random.default_rng(seed)
    features, targets = rng.normal(size=(N, N_FEATURES)), rng.normal(size=N)
    return features, jnp.asarray(features @ features.T), jnp.asarray(targets), rng


def rotation(rng):
    return jnp.asarray(np.linalg.qr(rng.normal(size=(N, N)))[0])


@given(seeds)
@law
def test_tangent_kernels_are_symmetric_and_positive(seed):
    rng = np.random.default_rng(seed)
    params = {"w": jnp.asarray(rng.normal(size=(3, 5))), "v": jnp.asarray(rng.normal(size=(5, 2)))}
    x = jnp.asarray(rng.normal(size=(4, 3)))
    kernel = np.asarray(ntk(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"], params, x))
    np.testing.assert_allclose(kernel, kernel.transpose(1, 0, 3, 2), rtol=1e-12)
    matrix = kernel.transpose(0, 2, 1, 3).reshape(8, 8)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.abs(matrix).max() * 8


@pytest.mark.slow
@given(seeds)
@law
def test_tangent_kernels_are_equivariant_in_rows_and_additive_in_parameters(seed):
    rng = np.random.default_rng(seed)
    w, v = jnp.asarray(rng.normal(size=(3, 5))), jnp.asarray(rng.normal(size=5))
    x, order = jnp.asarray(rng.normal(size=(4, 3))), rng.permutation(4)

    def net(p, x):
        return jnp.tanh(x @ p[0]) @ p[1]

    whole = ntk(net, (w, v), x)
    np.testing.assert_allclose(ntk(net, (w, v), x[order]), whole[order][:, order], rtol=1e-12)
    parts = ntk(lambda p, x: net((p, v), x), w, x) + ntk(lambda p, x: net((w, p), x), v, x)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


@family
@given(seeds, scales, scales)
@law
def test_alignments_ignore_scale_and_order(measure, seed, kernel_scale, target_scale):
    _, kernel, targets, rng = problem(seed)
    order = rng.permutation(N)
    wanted = measure(kernel, targets)
    assert -1 - 1e-12 <= wanted <= 1 + 1e-12
    scaled = measure(kernel_scale * kernel, -target_scale * targets)
    np.testing.assert_allclose(scaled, wanted, **ROUNDING)
    np.testing.assert_allclose(measure(kernel[order][:, order], targets[order]), wanted, **ROUNDING)


@given(seeds)
@law
def test_the_plain_alignment_ignores_rotations_and_lies_in_the_unit_interval(seed):
    _, kernel, targets, rng = problem(seed)
    q = rotation(rng)
    wanted = alignment(kernel, targets)
    assert 0 <= wanted <= 1
    np.testing.assert_allclose(alignment(q @ kernel @ q.T, q @ targets), wanted, **ROUNDING)
    level = chance_alignment(kernel)
    np.testing.assert_allclose(chance_alignment(q @ kernel @ q.T), level, **ROUNDING)
    assert 1 / N <= level <= 1 / np.sqrt(N)


@pytest.mark.parametrize("measure", [centered_alignment, debiased_alignment])
@given(seeds, st.floats(-10, 10), st.floats(0, 10))
@law
def test_centred_alignments_ignore_constants(measure, seed, shift, constant_feature):
    _, kernel, targets, _ = problem(seed)
    wanted = measure(kernel, targets)
    np.testing.assert_allclose(
        measure(kernel + constant_feature, targets + shift), wanted, **ROUNDING
    )


@given(seeds, scales, scales)
@law
def test_regression_and_difficulty_scale_as_they_must(seed, kernel_scale, target_scale):
    features, kernel, targets, rng = problem(seed)
    query = jnp.asarray(rng.normal(size=(3, N_FEATURES)) @ features.T)
    wanted = kernel_regression(kernel, targets, query, ridge=0.1)
    scaled = kernel_regression(
        kernel_scale * kernel,
        target_scale * targets,
        kernel_scale * query,
        ridge=0.1 * kernel_scale,
    )
    np.testing.assert_allclose(scaled, target_scale * wanted, rtol=1e-8, atol=1e-10 * target_scale)
    harder = difficulty(kernel_scale * kernel, target_scale * targets)
    np.testing.assert_allclose(
        harder, difficulty(kernel, targets) * target_scale**2 / kernel_scale, rtol=1e-7
    )


@given(seeds)
@law
def test_regression_and_difficulty_are_blind_to_the_order_and_basis_of_rows(seed):
    features, kernel, targets, rng = problem(seed)
    query, q = jnp.asarray(rng.normal(size=(3, N_FEATURES)) @ features.T), rotation(rng)
    turned = q @ kernel @ q.T, q @ targets
    np.testing.assert_allclose(
        kernel_regression(*turned, query @ q.T),
        kernel_regression(kernel, targets, query),
        rtol=1e-6,
        atol=1e-8,
    )
    np.testing.assert_allclose(difficulty(*turned), difficulty(kernel, targets), rtol=1e-6)
    np.testing.assert_allclose(
        lazy_parameter_change(*turned), difficulty(kernel, targets), rtol=1e-6
    )


@given(seeds, st.floats(0.01, 0.99))
@law
def test_the_train_loss_of_a_stable_lazy_run_never_rises(seed, share):
    _, kernel, targets, _ = problem(seed)
    rate = share * N / float(jnp.linalg.norm(kernel, 2))
    train = lazy_dynamics(kernel, targets, jnp.arange(30), learning_rate=rate).train
    losses = np.asarray(((train - targets) ** 2).mean(1))
    assert (np.diff(losses) <= 1e-14 * losses[0]).all()


@given(seeds, st.integers(0, 40), st.integers(0, 40))
@law
def test_lazy_runs_compose(seed, first, second):
    _, kernel, targets, _ = problem(seed)
    steps = jnp.array([first, second, first + second])
    runs = lazy_dynamics(kernel, targets, steps, learning_rate=0.05).train
    # What is left after `first` steps is a fresh problem with the residual as its targets.
    rest = lazy_dynamics(kernel, targets - runs[0], steps, learning_rate=0.05).train[1]
    np.testing.assert_allclose(runs[0] + rest, runs[2], rtol=1e-9, atol=1e-11)


@given(seeds, scales)
@law
def test_kernel_distance_is_a_relative_norm(seed, scale):
    _, kernel, targets, _ = problem(seed)
    other = kernel + jnp.outer(targets, targets)
    wanted = kernel_distance(kernel, other)
    np.testing.assert_allclose(kernel_distance(scale * kernel, scale * other), wanted, rtol=1e-10)
    np.testing.assert_allclose(kernel_distance(kernel, (1 + scale) * kernel), scale, rtol=1e-8)
