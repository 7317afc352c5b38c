"""Oracle: a kernel built from a known basis, spectrum and target, in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.kernels import kernel_spectrum


def problem(n=8, n_out=2):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    eigenvalues = np.sort(rng.exponential(size=n))[::-1]
    coefficients = rng.normal(size=(n, n_out))
    return basis, eigenvalues, coefficients


def test_it_finds_what_the_kernel_was_made_of():
    basis, eigenvalues, coefficients = problem()
    got = kernel_spectrum(
        jnp.asarray(basis * eigenvalues @ basis.T), jnp.asarray(basis @ coefficients)
    )
    np.testing.assert_allclose(got.eigenvalues, eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(np.abs(basis.T @ got.modes), np.eye(8), atol=1e-11)
    power = (coefficients**2).sum(1) / 8
    np.testing.assert_allclose(got.power, power, rtol=1e-10)
    np.testing.assert_allclose(got.cumulative_power, np.cumsum(power) / power.sum(), rtol=1e-10)
    np.testing.assert_allclose(got.power.sum(), ((basis @ coefficients) ** 2).mean(0).sum())
    np.testing.assert_allclose(got.cumulative_power[-1], 1.0, rtol=1e-14)


def test_degenerate_modes_share_their_power():
    basis, _, coefficients = problem(n_out=1)
    eigenvalues = np.array([3.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0])
    got = kernel_spectrum(
        jnp.asarray(basis * eigenvalues @ basis.T), jnp.asarray(basis @ coefficients[:, 0])
    )
    np.testing.assert_allclose(got.power[1:4].sum(), (coefficients[1:4] ** 2).sum() / 8, rtol=1e-10)


def test_single_precision_jit_and_vmap():
    basis, eigenvalues, coefficients = problem()
    kernel, y = jnp.asarray(basis * eigenvalues @ basis.T), jnp.asarray(basis @ coefficients)
    double = kernel_spectrum(kernel, y)
    single = kernel_spectrum(kernel.astype(jnp.float32), y.astype(jnp.float32))
    assert single.power.dtype == jnp.float32
    np.testing.assert_allclose(single.cumulative_power, double.cumulative_power, atol=1e-5)
    both = jax.jit(jax.vmap(kernel_spectrum))(jnp.stack([kernel, 2 * kernel]), jnp.stack([y, y]))
    np.testing.assert_allclose(both.eigenvalues[1], 2 * both.eigenvalues[0], rtol=1e-12)


def test_bad_input():
    with pytest.raises(InputError, match="targets holds 1"):
        kernel_spectrum(jnp.eye(2), jnp.array([1.0, np.nan]))
    assert np.isnan(kernel_spectrum(jnp.eye(2), jnp.zeros(2)).cumulative_power).all()
