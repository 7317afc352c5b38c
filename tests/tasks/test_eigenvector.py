"""Oracle: a path graph's eigenvectors in closed form, and the eigenvector's definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.tasks import EigenvectorTask

N_TRAIN, N_TEST = 12, 7
N = N_TRAIN + N_TEST


def task(**changes):
    return EigenvectorTask(**({"dim": 6, "n_train": N_TRAIN, "n_test": N_TEST} | changes))


def path_graph(x):
    """A kernel whatever the inputs: 2 − Laplacian of a path, eigenvalues 2 cos(πk/n)."""
    ends = jnp.zeros(len(x)).at[jnp.array([0, -1])].set(1.0)
    return jnp.eye(len(x), k=1) + jnp.eye(len(x), k=-1) + jnp.diag(ends)


def bumps(x):
    """A kernel of full rank."""
    return jnp.exp(-jnp.square(x[:, None] - x[None]).sum(-1))


def labels(data):
    return np.concatenate([data.y, data.y_test])


@pytest.mark.parametrize("index", [1, 2, 9, N])
def test_labels_are_known_eigenvectors(index):
    places = np.arange(N) + 0.5
    wave = np.cos(np.pi * (index - 1) * places / N)
    wave /= np.sqrt(np.square(wave).mean())
    found = labels(task(index=index).sample(0, kernel=path_graph))
    # Largest magnitudes come in mirrored pairs here, so the sign alone is left open.
    np.testing.assert_allclose(found * np.sign(found @ wave), wave, atol=1e-12)


@pytest.mark.parametrize("index", [1, 4, N])
def test_labels_belong_to_the_joint_kernel_of_train_and_test_inputs(index):
    data = task(index=index, scale="norm").sample(1, kernel=bumps)
    joint = np.asarray(bumps(jnp.concatenate([data.x, data.x_test])))
    found = labels(data)
    value = np.linalg.eigvalsh(joint)[N - index]
    np.testing.assert_allclose(joint @ found, value * found, atol=1e-13)
    assert found[np.abs(found).argmax()] > 0
    assert found @ found == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize("index", [1, 4, N])
def test_the_kernel_can_be_taken_less_its_mean_entry(index):
    data = task(index=index, scale="norm", less_mean=True).sample(1, kernel=bumps)
    joint = np.asarray(bumps(jnp.concatenate([data.x, data.x_test])))
    less = joint - joint.mean()
    found = labels(data)
    value = np.linalg.eigvalsh(less)[N - index]
    np.testing.assert_allclose(less @ found, value * found, atol=1e-13)
    assert found @ found == pytest.approx(1, rel=1e-13)  # the labels are not centred


def test_scale_and_mean():
    norm, rms, centered = (
        labels(task(index=2, **changes).sample(1, kernel=bumps))
        for changes in ({"scale": "norm"}, {}, {"remove_mean": True})
    )
    np.testing.assert_allclose(rms, norm * N**0.5, rtol=1e-13)
    np.testing.assert_allclose(centered, rms - rms.mean(), atol=1e-14)
    assert (rms**2).mean() == pytest.approx(1.0)


def test_the_decomposition_is_in_float64_though_jax_is_not():
    # Exact in float32, with gaps so small that a decomposition in float32 mixes the waves.
    with jax.enable_x64(False):
        data = task(index=7).sample(1, kernel=lambda x: jnp.eye(N) + path_graph(x) / 2**12)
    assert data.y.dtype == np.float32
    wave = np.sqrt(2) * np.cos(np.pi * 6 * (np.arange(N) + 0.5) / N)
    found = labels(data)
    # What is left is the rounding of the labels to float32.
    np.testing.assert_allclose(found * np.sign(found @ wave), wave, atol=1e-6)


def low_rank(noise, scale=1.0):
    """A kernel of rank 5 on N inputs, an eigenvalue of which is double, and its rounding."""

    def kernel(x):
        basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(N, 5)))
        exact = basis * np.array([3.0, 2.0, 2.0, 1.0, 0.5]) @ basis.T
        drawn = np.random.default_rng(noise).normal(size=(N, N))
        return scale * jnp.asarray(exact + 1e-16 * noise * (drawn + drawn.T))

    return kernel


@pytest.mark.parametrize("scale", [1.0, 2.0**-700, 2.0**700])
@pytest.mark.parametrize("index", [1, 2, 3, 5, 6, 11, N])
def test_where_eigenvalues_coincide_labels_do_not_depend_on_rounding(index, scale):
    exact, *rounded = (
        labels(task(index=index, scale="norm").sample(3, kernel=low_rank(n, scale)))
        for n in (0, 1, 2, 3)
    )
    joint = np.asarray(low_rank(0)(None))
    value = np.array([3.0, 2.0, 2.0, 1.0, 0.5] + (N - 5) * [0])[index - 1]
    np.testing.assert_allclose(joint @ exact, value * exact, atol=1e-13)
    for found in rounded:
        np.testing.assert_allclose(found, exact, atol=1e-12)


def test_where_eigenvalues_coincide_indices_give_orthonormal_labels_and_seeds_others():
    all_labels = np.stack(
        [labels(task(index=i, scale="norm").sample(0, kernel=low_rank(1))) for i in range(1, N + 1)]
    )
    np.testing.assert_allclose(all_labels @ all_labels.T, np.eye(N), atol=1e-12)
    # Of one kernel; inputs and what is drawn are another seed's.
    other = labels(task(index=9, scale="norm").sample(1, kernel=low_rank(1)))
    assert abs(other @ all_labels[8]) < 0.9


def test_no_kernel_gets_one_sentence():
    with pytest.raises(InputError, match="made from a kernel and none was given; pass kernel="):
        task().sample(0)


@pytest.mark.parametrize(
    "kernel, words",
    [
        (lambda x: bumps(x)[:, :3], r"shape \(19, 3\); wanted \(19, 19\)"),
        (lambda x: bumps(x)[..., None, None], "trace a kernel of several outputs first"),
        (lambda x: bumps(x) * jnp.nan, "kernel holds 361 entries that are NaN"),
    ],
)
def test_bad_kernels_get_one_sentence(kernel, words):
    with pytest.raises(InputError, match=words):
        task().sample(0, kernel=kernel)


def test_an_index_beyond_the_last_gets_one_sentence():
    with pytest.raises(InputError, match="index is 20, more than the 19 eigenvectors"):
        task(index=20)
