"""Oracle: NumPy's pinv in float64, central differences, and the committee machine's known rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich.numerics import eigenmodes, null_space, pseudo_inverse, rounding_cutoff
from lazyrich.theory import (
    committee_kernel,
    eigenspace_sizes,
    infinite_width,
    weight_moments,
)

CUTOFF = jnp.array(1e-10)


def kernel_of_rank(rank, n=8, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, rank))
    return jnp.asarray(features @ features.T)


@pytest.mark.parametrize("rank", [0, 3, 8])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_it_is_the_pseudo_inverse(rank, ridge):
    kernel = kernel_of_rank(rank)
    expected = np.linalg.pinv(kernel + ridge * np.eye(8), rcond=1e-10, hermitian=True)
    inverse = pseudo_inverse(kernel, jnp.array(ridge), CUTOFF)
    np.testing.assert_allclose(inverse, expected, atol=1e-9)
    null = np.asarray(null_space(kernel, jnp.array(ridge), CUTOFF))
    identity = np.asarray(kernel + ridge * np.eye(8)) @ inverse + null @ null.T
    np.testing.assert_allclose(identity, np.eye(8), atol=1e-9)


def test_the_derivative_is_that_of_central_differences_also_for_equal_eigenvalues():
    kernel = jnp.diag(jnp.array([2.0, 2.0, 2.0, 5.0]))
    direction = kernel_of_rank(4, n=4, seed=1)
    step, ridge = 1e-6, jnp.array(0.1)
    change = (
        pseudo_inverse(kernel + step * direction, ridge, CUTOFF)
        - pseudo_inverse(kernel - step * direction, ridge, CUTOFF)
    ) / (2 * step)
    derivative = jax.jvp(lambda k: pseudo_inverse(k, ridge, CUTOFF), (kernel,), (direction,))[1]
    np.testing.assert_allclose(derivative, change, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("epsilon", [0.25, 1.0])
def test_the_cutoff_finds_the_rank_of_a_committee_machine_in_both_precisions(dtype, epsilon):
    """All of its three eigenspaces count and nothing else: a cutoff of n·eps loses some."""
    dim, n = 6, 200
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(n, dim)) / np.sqrt(dim), dtype)
    start = jax.tree.map(lambda a: a.astype(dtype), infinite_width(dim))
    rank = int(sum(eigenspace_sizes(dim)))
    kernel = committee_kernel(start, x, alpha=1.0, epsilon=epsilon, width=1)
    assert kernel.dtype == dtype
    is_kept = eigenmodes(kernel, rounding_cutoff(x, kernel))[2]
    assert int(is_kept.sum()) == rank
    finite = weight_moments(jnp.asarray(rng.normal(size=(40, dim)), dtype))
    kernel = committee_kernel(finite, x, alpha=1.0, epsilon=epsilon, width=1)
    assert int(eigenmodes(kernel, rounding_cutoff(x, kernel))[2].sum()) == rank
