"""Kernels, targets and scalars in any form, checked to be what their names say."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich._base import InputError, concrete, given_rounding, real_arrays
from lazyrich.numerics import NEGATIVE

from ._checks import require_kernel, require_query_kernel

# Asymmetry relative to the largest entry. Both triangles of a float32 kernel agree to about
# 1e-5, also on accelerators with ten-bit products to about 5e-4; K(x, x2) differs by its size.
ASYMMETRY = 1e-3
_LEFT_OUT = object()  # other than None, which somebody may pass by mistake
# Of kernels of which no eigenvalue is needed so many rows are checked, in a few
# milliseconds. (Each principal submatrix of a semidefinite matrix is semidefinite.)
CHECKED_ROWS = 300


def kernel_arrays(
    kernel: object,
    targets: object = _LEFT_OUT,
    query_kernel: object = _LEFT_OUT,
    *,
    is_definite: bool = True,
    checked_rows: int | None = None,
) -> tuple[Array, ...]:
    """A kernel, and what goes with it, as arrays of one floating type.

    A kernel that JAX is tracing cannot be refused: it becomes NaN if it is not symmetric.

    Args:
        kernel: K (n, n), symmetric.
        targets: (n,) or (n, c); left out where there are none.
        query_kernel: (m, n); left out where there is none.
        is_definite: whether the kernel must be positive semidefinite.
        checked_rows: of how many rows this is checked; None means all.

    Returns:
        The kernel and those of the others that were given.

    Raises:
        InputError: if something is not real, not finite or of the wrong shape, or if the
            kernel is not symmetric or not positive semidefinite beyond rounding.
    """
    given = {"kernel": kernel, "targets": targets, "query_kernel": query_kernel}
    given = {name: value for name, value in given.items() if value is not _LEFT_OUT}
    arrays = dict(zip(given, real_arrays(**given), strict=True))
    matrix = arrays["kernel"]
    require_kernel(matrix, arrays.get("targets"))
    if "query_kernel" in arrays:
        require_query_kernel(arrays["query_kernel"], matrix)
    rounding = 4 * given_rounding(kernel)
    known = concrete(matrix)
    if known is None:
        arrays["kernel"] = _nan_if_asymmetric(matrix, max(ASYMMETRY, rounding))
    else:
        _require_symmetric(known, max(ASYMMETRY, rounding))
        if is_definite:
            _require_semidefinite(known, max(NEGATIVE, rounding), checked_rows)
    return tuple(arrays.values())


def unit_scaled(values: Array) -> tuple[Array, Array]:
    """Values with entries of order one, and the power of two that they were divided by.

    Squares and inverses of large or small entries leave float32's range; division by a
    power of two rounds nothing.
    """
    unit = unit_of(values)
    return values / unit, unit


def unit_of(*arrays: Array) -> Array:
    """The power of two at the size of the largest entry of some arrays of one type.

    At most the largest whose inverse is a normal number too: compilers multiply by it, and
    processors take smaller ones for zero.
    """
    sizes = [jnp.abs(array).max(initial=0) for array in arrays]
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, sizes))
    is_sized = (largest > 0) & jnp.isfinite(largest)
    exponent = jnp.frexp(jnp.where(is_sized, largest, 1))[1] - 1
    exponent = jnp.minimum(exponent, -int(jnp.finfo(largest.dtype).minexp))
    return jnp.ldexp(jnp.ones((), largest.dtype), exponent)


class Scaled(NamedTuple):
    """A result from entries of order one, and the same in the units that were asked for."""

    value: Array
    result: Array


def scaled_back(value: Array, *factors: Array) -> Scaled:
    """A result from entries of order one, times the units that were taken out."""
    return Scaled(value, functools.reduce(jnp.multiply, factors, value))


def within_range(scaled: Scaled) -> Array:
    """The result in its own units.

    Raises:
        InputError: if it is beyond the largest number of its type, or below the least.
    """
    before, after = concrete(scaled.value), concrete(scaled.result)
    if before is None or after is None:
        return scaled.result
    largest = [np.max(np.abs(a), where=np.isfinite(a), initial=0) for a in (before, after)]
    if (np.isfinite(before) & ~np.isfinite(after)).any() or (largest[0] > 0 == largest[1]):
        raise InputError(
            f"The result is beyond what {after.dtype} can hold; use other units, or double "
            'precision (jax.config.update("jax_enable_x64", True)).'
        )
    return scaled.result


def _nan_if_asymmetric(kernel: Array, tolerance: float) -> Array:
    difference = jnp.abs(kernel - kernel.T).max()
    is_symmetric = difference <= tolerance * jnp.abs(kernel).max()
    return jnp.where(jax.lax.stop_gradient(is_symmetric), kernel, jnp.nan)


def _require_symmetric(kernel: np.ndarray, tolerance: float) -> None:
    half = kernel / 2  # differences of the largest numbers would overflow
    difference = np.abs(half - half.T)
    i, j = np.unravel_index(np.argmax(difference), difference.shape)
    if difference[i, j] > tolerance * np.abs(half).max():
        raise InputError(
            f"The kernel is not symmetric, K[{i}, {j}] = {kernel[i, j]:.4g} and K[{j}, {i}] = "
            f"{kernel[j, i]:.4g}; give that of the training rows with themselves (a kernel "
            "between two sets of rows is a query kernel)."
        )


def _require_semidefinite(kernel: np.ndarray, tolerance: float, checked_rows: int | None) -> None:
    largest = np.abs(kernel).max()
    lowest = kernel.diagonal().min()
    n = len(kernel)
    if checked_rows is not None and n > checked_rows:
        rows = np.linspace(0, n - 1, checked_rows).astype(int)
        kernel = kernel[np.ix_(rows, rows)]
    # In double precision, whatever JAX computes in, the factorisation adds no error of its own.
    matrix = kernel.astype(np.float64) / (float(largest) or 1.0)
    matrix = (matrix + matrix.T) / 2
    shift = tolerance * np.linalg.norm(matrix)
    is_sound = lowest >= -tolerance * largest
    if is_sound and shift > 0:
        matrix[np.diag_indices_from(matrix)] += shift
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            is_sound = False
    if not is_sound:
        raise InputError(
            "The kernel is not positive semidefinite, it has negative eigenvalues beyond "
            "rounding (condition_report tells the smallest); give a tangent kernel, or another "
            "matrix of inner products."
        )
