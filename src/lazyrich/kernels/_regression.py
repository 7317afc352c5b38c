"""Kernel regression with the tangent kernel, where lazy training converges (§3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import InputError, full_precision, real_array
from lazyrich.numerics import pseudo_inverse

from ._arrays import Scaled, kernel_arrays, scaled_back, unit_scaled, within_range
from ._conditioning import scalars_of


def flatten_kernel(kernel: Float[Array, "n m c c"]) -> Float[Array, "nc mc"]:
    """A kernel with an output axis as one matrix, to go with ``targets.reshape(-1)``.

    Args:
        kernel: K of shape (n, m, c, c), as ``ntk`` gives it for c outputs.

    Returns:
        The (n·c, m·c) matrix whose row i·c + a is output a of input i.

    Raises:
        InputError: if the kernel does not have four axes.

    Example:
        >>> blocks = jnp.arange(4.0).reshape(1, 1, 2, 2)
        >>> flatten_kernel(blocks).tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """
    blocks = jnp.asarray(real_array("kernel", kernel))
    if blocks.ndim != 4:
        raise InputError(f"The kernel has shape {blocks.shape}; wanted (n, m, c, c).")
    n, m, rows, columns = blocks.shape
    return jnp.swapaxes(blocks, 1, 2).reshape(n * rows, m * columns)


def kernel_regression(
    kernel: Float[Array, "n n"],
    targets: Float[Array, "n *c"],
    query_kernel: Float[Array, "m n"],
    *,
    ridge: ScalarLike = 0.0,
    cutoff: ScalarLike | None = None,
) -> Float[Array, "m *c"]:
    """The prediction of kernel (ridge) regression, k(x)ᵀ(K + ridge·I)⁻¹y.

    The ridgeless fit with the tangent kernel at the start is where gradient descent
    takes the centred network in the lazy limit. For a network that is not centred,
    pass targets − f(θ₀) and add f(θ₀) at the query points.

    Args:
        kernel: K between training rows, symmetric positive semi-definite.
        targets: y, one row for each training row, in label units; several outputs are
            fitted with the same kernel.
        query_kernel: K between query rows and training rows.
        ridge: added to every eigenvalue of K, in the kernel's units; it is *not*
            multiplied by n.
        cutoff: eigenvalues at or below cutoff·λ_max are treated as zero and not
            inverted; None means ten times the machine epsilon of the kernel's dtype, as
            it is given or as it is computed with, whichever is larger.

    Returns:
        Predictions on the query rows, in label units. If K is singular, those of the
        smallest-norm fit, which leaves the targets' part in the null space unfitted
        (``condition_report`` tells); a zero kernel predicts zero. The gradient is
        right also where eigenvalues coincide; the second derivative there is not.

    Raises:
        InputError: if shapes disagree, something is not finite, the kernel is not
            symmetric or not positive semidefinite beyond rounding, ridge or cutoff is
            negative, or the result is beyond the range of its type.

    Example:
        >>> kernel = jnp.array([[2.0, 0.0], [0.0, 0.0]])  # the second row says nothing
        >>> kernel_regression(kernel, jnp.array([4.0, 1.0]), jnp.array([[1.0, 0.0]])).tolist()
        [2.0]

    References:
        Kumar et al. (2024), §3 and Figure 1 (horizontal line).
    """
    matrix, targets, query = kernel_arrays(kernel, targets, query_kernel)
    return within_range(
        _regression(matrix, targets, query, *scalars_of(kernel, matrix, ridge, cutoff))
    )


@jax.jit
@full_precision
def _regression(
    kernel: Array, targets: Array, query_kernel: Array, ridge: Array, cutoff: Array
) -> Scaled:
    kernel, unit = unit_scaled(kernel)
    targets, label_unit = unit_scaled(targets)
    fit = pseudo_inverse(kernel, ridge / unit, cutoff) @ targets
    return scaled_back((query_kernel / unit) @ fit, label_unit)
