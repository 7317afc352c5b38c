"""Oracle: Gram matrices, which are kernels by construction, and matrices of known spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.kernels import (
    alignment,
    centered_alignment,
    chance_alignment,
    column_centered_alignment,
    condition_report,
    debiased_alignment,
    difficulty,
    kernel_distance,
    kernel_regression,
    kernel_spectrum,
    lazy_dynamics,
    lazy_parameter_change,
    low_rank_measure,
    permutation_null,
)
from lazyrich.kernels._arrays import kernel_arrays

pytestmark = pytest.mark.usefixtures("unchecked")

SPECTRAL = {
    "kernel_regression": lambda k, y: kernel_regression(k, y, k),
    "lazy_dynamics": lambda k, y: lazy_dynamics(k, y, [1, 5], learning_rate=0.1).train,
    "kernel_spectrum": lambda k, y: kernel_spectrum(k, y).power,
    "difficulty": difficulty,
    "lazy_parameter_change": lazy_parameter_change,
}
DIRECT = {
    "alignment": alignment,
    "centered_alignment": centered_alignment,
    "column_centered_alignment": column_centered_alignment,
    "debiased_alignment": debiased_alignment,
    "chance_alignment": lambda k, y: chance_alignment(k),
    "permutation_null": lambda k, y: permutation_null(k, y, jax.random.key(0), n_permutations=5),
}
every = pytest.mark.parametrize("call", (SPECTRAL | DIRECT).values(), ids=SPECTRAL | DIRECT)
each_spectral = pytest.mark.parametrize("call", SPECTRAL.values(), ids=SPECTRAL)
each_direct = pytest.mark.parametrize("call", DIRECT.values(), ids=DIRECT)
N = 6
LABELS = np.arange(N) - 2.0


def rotated(spectrum, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum),) * 2))[0]
    return (basis * spectrum) @ basis.T


def between_two_sets(seed=0):
    x, x2 = np.random.default_rng(seed).normal(size=(2, N, 9))
    return x @ x2.T


@every
@pytest.mark.parametrize(
    "kernel, message",
    [
        (between_two_sets(), "not symmetric"),
        (np.eye(N) + np.eye(N, k=1) / 100, "not symmetric"),
        (-np.eye(N), "not positive semidefinite"),
        (-np.eye(N, dtype=int), "not positive semidefinite"),
        (rotated([4, 3, 2, 1, 1, -1.0]), "not positive semidefinite"),
        (rotated([4, 3, 2, 1, 1, -1e-2]), "not positive semidefinite"),
        (np.diag([1, 1, 1, 1, 1, -1e-2]), "not positive semidefinite"),
        (1e-20 * rotated([1, 0, 0, 0, 0, -0.1]), "not positive semidefinite"),
        (np.ones((N, N)) - np.eye(N), "not positive semidefinite"),
        (np.eye(N) * np.nan, "kernel holds 36|kernel holds 6"),
        (np.diag([np.inf, 1, 1, 1, 1, 1]), "kernel holds 1"),
        (np.ones((N, N + 1)), "must be square"),
    ],
)
def test_what_is_no_kernel_gets_one_sentence(call, kernel, message):
    with pytest.raises(InputError, match=message):
        call(kernel, LABELS)


@every
def test_a_kernel_of_one_row_or_of_zeros_is_one(call):
    for kernel in (np.zeros((N, N)), np.ones((N, N)), np.eye(N)):
        call(kernel, LABELS)
    if call is not debiased_alignment:
        call(np.array([[2.0]]), np.ones(1))
        with pytest.raises(InputError, match="not positive semidefinite"):
            call(np.array([[-2.0]]), np.ones(1))


@each_spectral
@pytest.mark.parametrize(
    "kernel", [between_two_sets(), -np.eye(N), rotated([4, 3, 2, 1, 1, -0.1]), np.eye(N) * np.nan]
)
def test_under_a_trace_it_gives_nan_in_its_own_lane_alone(call, kernel):
    kernels = jnp.stack([jnp.eye(N), kernel])
    good, bad = jax.jit(jax.vmap(lambda k: call(k, LABELS)))(kernels)
    np.testing.assert_allclose(good, call(np.eye(N), LABELS), rtol=1e-10, atol=1e-12)
    assert np.isnan(bad).all()


@each_direct
def test_alignments_of_a_traced_asymmetric_kernel_are_nan(call):
    for leaf in jax.tree.leaves(jax.jit(lambda k: call(k, LABELS))(between_two_sets())):
        assert np.isnan(leaf).all()


def test_a_report_tells_of_negative_eigenvalues_and_refuses_asymmetry():
    report = condition_report(rotated([4, 3, 2, 1, 1, -1.0]))
    assert not report.is_psd
    np.testing.assert_allclose(report.smallest, -1)
    with pytest.raises(InputError, match="not symmetric"):
        condition_report(between_two_sets())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rounding_never_makes_a_gram_matrix_something_else(dtype, scale):
    if dtype == "float16" and scale != 1:
        pytest.skip("beyond its range")
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, rank = rng.choice([1, 2, 3, 9, 22, 39]), rng.integers(1, 40)  # each is compiled
        features = rng.normal(size=(n, rank)) * 10.0 ** rng.uniform(-3, 1, size=rank)
        features += rng.choice([0.0, 3.0])
        single = features.astype(np.float32)
        # Both triangles on their own, in an order of summation of their own.
        kernel = np.tril(single @ single.T) + np.triu(single[:, ::-1] @ single[:, ::-1].T, 1)
        kernel = (kernel / np.abs(kernel).max() * scale).astype(dtype)
        kernel_arrays(kernel)
        kernel_arrays(jnp.asarray(kernel), checked_rows=10)


@pytest.mark.parametrize("rank", [1, 30, 1000, 1300])
def test_a_thousand_rows_in_single_precision_are_a_kernel(rank):
    features = np.random.default_rng(1).normal(size=(1000, rank)).astype(np.float32)
    kernel_arrays(features @ features.T)
    # An average over inputs leaves an error of the kernel's own size on the diagonal.
    centred = features - features.mean(0)
    kernel_arrays(centred @ centred.T)


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e30])
@pytest.mark.parametrize("label_scale", [1e-12, 1.0, 1e12])
def test_no_square_leaves_the_range_of_single_precision(scale, label_scale):
    kernel, y = rotated([4, 3, 2, 1, 1, 0.5]), LABELS
    large, labels = (scale * kernel).astype(np.float32), (label_scale * y).astype(np.float32)
    close = {"rtol": 2e-5, "atol": 0}
    np.testing.assert_allclose(
        kernel_regression(large, labels, large, ridge=scale) / label_scale,
        kernel_regression(kernel, y, kernel, ridge=1.0),
        rtol=2e-5,
        atol=1e-5,
    )
    spectrum, wanted = kernel_spectrum(large, labels), kernel_spectrum(kernel, y)
    np.testing.assert_allclose(
        np.asarray(spectrum.eigenvalues, float) / scale, wanted.eigenvalues, **close
    )
    np.testing.assert_allclose(
        np.asarray(spectrum.power, float).sum() / label_scale**2, wanted.power.sum(), **close
    )
    run = lazy_dynamics(large, labels, [1, 7], learning_rate=0.3 / scale, query_kernel=large)
    plain = lazy_dynamics(kernel, y, [1, 7], learning_rate=0.3, query_kernel=kernel)
    np.testing.assert_allclose(run.train / label_scale, plain.train, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(run.query / label_scale, plain.query, rtol=2e-5, atol=1e-5)
    size = label_scale**2 / scale
    if 1e-37 < size * float(difficulty(kernel, y)) < 1e38:
        got = float(difficulty(large, labels)) / size
        np.testing.assert_allclose(got, difficulty(kernel, y), **close)
    else:
        with pytest.raises(InputError, match="beyond what float32 can hold"):
            difficulty(large, labels)
    np.testing.assert_allclose(
        kernel_distance(large, 3 * large), kernel_distance(kernel, 3 * kernel), **close
    )


SINGLE = LABELS.astype(np.float32)


@pytest.mark.parametrize(
    "measure",
    [
        lambda k: alignment(k, SINGLE),
        lambda k: centered_alignment(k, SINGLE),
        lambda k: column_centered_alignment(k, SINGLE),
        lambda k: debiased_alignment(k, SINGLE),
        chance_alignment,
        lambda k: low_rank_measure(k[:, :3], SINGLE),
        lambda k: condition_report(k).condition_number,
        lambda k: kernel_regression(k, SINGLE, k),
        lambda k: kernel_spectrum(k, SINGLE).power.sum(),
    ],
)
def test_entries_near_the_largest_number_count_as_others_do(measure):
    # The inverse of such an entry is a subnormal number, which processors take for zero.
    kernel = rotated([4, 3, 2, 1, 1, 0.5])
    kernel /= np.linalg.norm(kernel, 2)
    large = (3.3e38 * kernel).astype(np.float32)
    np.testing.assert_allclose(measure(large), measure(kernel), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cutoff", [1.0, 2, np.float32(1e6)])
def test_a_cutoff_that_leaves_no_mode_is_refused(cutoff):
    for call in (
        lambda: kernel_regression(np.eye(N), LABELS, np.eye(N), cutoff=cutoff),
        lambda: lazy_dynamics(np.eye(N), LABELS, [3], learning_rate=0.1, cutoff=cutoff),
        lambda: condition_report(np.eye(N), cutoff=cutoff),
    ):
        with pytest.raises(InputError, match="leaves no mode"):
            call()


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_a_type_whose_rounding_leaves_no_mode_is_refused(kind):
    coarse = jnp.eye(N).astype(kind)
    for call in (
        lambda: kernel_regression(coarse, LABELS, np.eye(N)),
        lambda: lazy_dynamics(coarse, LABELS, [3], learning_rate=0.1),
        lambda: difficulty(coarse, LABELS),
        lambda: kernel_spectrum(coarse, LABELS),
        lambda: condition_report(coarse),
    ):
        with pytest.raises(InputError, match=kind):
            call()


def test_numbers_that_single_precision_cannot_hold_are_refused():
    with jax.enable_x64(False):
        for scale in (1e-50, 1e50):
            with pytest.raises(InputError, match="kernel has entries up to"):
                alignment(scale * np.eye(N), LABELS)
        with pytest.raises(InputError, match="learning_rate has entries"):
            lazy_dynamics(np.eye(N), LABELS, [1], learning_rate=1e-60)
        with pytest.raises(InputError, match="with momentum give at most"):
            lazy_dynamics(np.eye(N), LABELS, [2**40], learning_rate=0.1, momentum=0.5)
        # An odd number of overshooting steps ends on the far side, however large it is.
        run = lazy_dynamics(np.eye(N), LABELS, [2**40 + 1, 2**40], learning_rate=N)
        np.testing.assert_allclose(run.train, [2 * LABELS, 0 * LABELS], atol=1e-6)
    with pytest.raises(InputError, match="beyond what float32 can hold"):
        kernel_distance(
            np.float32(1e-20) * np.eye(2, dtype=np.float32),
            np.float32(1e20) * np.eye(2, dtype=np.float32),
        )


def test_a_half_type_keeps_its_own_cutoff():
    # Of ten features in bfloat16 every further eigenvalue is rounding, and none is inverted.
    features = np.random.default_rng(2).normal(size=(60, 5)) + 0.0
    kernel = jnp.asarray(features @ features.T, jnp.bfloat16)
    assert int(condition_report(kernel).rank) == 5
    y = features[:, 0]
    fit = kernel_regression(kernel, y, kernel)
    np.testing.assert_allclose(fit, y, atol=0.1 * np.abs(y).max())


@pytest.mark.parametrize(
    "steps, message", [(3, "give the numbers of steps as a list"), ([[1]], r"shape \(1, 1\)")]
)
def test_steps_are_a_list(steps, message):
    with pytest.raises(InputError, match=message):
        lazy_dynamics(np.eye(2), np.ones(2), steps, learning_rate=0.1)


def test_several_ridges_are_no_ridge():
    with pytest.raises(InputError, match="give one number"):
        kernel_regression(np.eye(2), np.ones(2), np.eye(2), ridge=[0.1, 0.2])
