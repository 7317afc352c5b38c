"""Where the lazy network ends: kernel regression with its tangent kernel (§3)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._ground import InputError

from ._checks import require_kernel, require_nonnegative, require_query_kernel
from ._spectral import invert


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
    if jnp.ndim(kernel) != 4:
        raise InputError(f"The kernel has shape {jnp.shape(kernel)}; wanted (n, m, c, c).")
    n, m, rows, columns = kernel.shape
    return jnp.swapaxes(jnp.asarray(kernel), 1, 2).reshape(n * rows, m * columns)


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
            inverted; None means n × machine epsilon of the kernel's dtype.

    Returns:
        Predictions on the query rows, in label units. If K is singular, those of the
        smallest-norm fit, which leaves the targets' part in the null space unfitted
        (``condition_report`` tells); a zero kernel predicts zero. The gradient is
        right also where eigenvalues coincide; the second derivative there is not.

    Raises:
        InputError: if shapes disagree, something is not finite, or ridge or cutoff is
            negative.

    Example:
        >>> kernel = jnp.array([[2.0, 0.0], [0.0, 0.0]])  # the second row says nothing
        >>> kernel_regression(kernel, jnp.array([4.0, 1.0]), jnp.array([[1.0, 0.0]])).tolist()
        [2.0]

    References:
        Kumar et al. (2024), §3 and Figure 1 (horizontal line).
    """
    kernel, targets, query_kernel = map(jnp.asarray, (kernel, targets, query_kernel))
    require_kernel(kernel, targets)
    require_query_kernel(query_kernel, kernel)
    require_nonnegative(ridge=ridge)
    return query_kernel @ (invert(kernel, ridge, cutoff) @ targets)
