"""The initial kernel's three eigenspaces (Eqs. 10–16)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, ScalarLike
from scipy.linalg import helmert

from lazyrich._base import (
    full_precision,
    real_arrays,
    require_finite,
    require_instance,
    require_positive,
    require_shapes,
)

from ._kernel import Coefficients, initial_coefficients, readout_coefficients
from ._weight_moments import whole_dim


class Modes(NamedTuple):
    """One entry for each eigenspace of the initial kernel over x ~ N(0, I/D).

    Attributes:
        linear: the functions x_i.
        quadratic: the traceless quadratics, spanned by x_i x_j for i ≠ j and
            x_i² − ‖x‖²/D.
        squared_norm: ‖x‖².

    Example:
        >>> sum(Modes(linear=2, quadratic=2, squared_norm=1))
        5
    """

    linear: PyTree
    quadratic: PyTree
    squared_norm: PyTree


def initial_eigenvalues(
    dim: int,
    *,
    epsilon: ScalarLike,
    weight_scale: ScalarLike = 1.0,
    kernel_scale: ScalarLike = 1.0,
) -> Modes:
    """The Mercer eigenvalues of the initial kernel, Eqs. 11–16.

    1/D, 2ε²σ²/D² and (ε²σ²/D)(1 + 2/D), each times ``kernel_scale``. The paper has ε
    for ε² in §5 and after Eq. 17, and omits ε² in Eq. 16.

    Args:
        dim: D, number of inputs; they are N(0, I/D).
        epsilon: ε, strength of the quadratic part of φ.
        weight_scale: σ, standard deviation of every weight.
        kernel_scale: factor on the whole kernel; 1 is the paper's choice, α²/N gives
            the spectrum of the kernel of Eq. 2 (what gradient descent sees).

    Returns:
        The eigenvalues in units of ``kernel_scale``, dimensionless at 1;
        ``eigenspace_sizes`` says how often each occurs.

    Raises:
        InputError: if D is not a whole number above zero, or ε, σ or the scale is not finite.

    Example:
        >>> print(initial_eigenvalues(10, epsilon=1.0))
        Modes(linear=Array(0.1, ...), quadratic=Array(0.02, ...), squared_norm=Array(0.12, ...))

    References:
        Kumar et al. (2024), §5 and Eqs. 10–16, corrected.
    """
    return _eigenvalues(
        dim, initial_coefficients, epsilon=epsilon, weight_scale=weight_scale, scale=kernel_scale
    )


def initial_readout_eigenvalues(
    dim: int,
    *,
    epsilon: ScalarLike,
    weight_scale: ScalarLike = 1.0,
    kernel_scale: ScalarLike = 1.0,
) -> Modes:
    """The Mercer eigenvalues of the initial kernel with trained readouts, after Eq. 23.

    At σ = 1: 2/D, 3ε²/D² and ε²(1 + 2/D)(1/4 + 3/(2D)). The last does not fall with D,
    unlike the paper's O(ε/D²) for all quadratics.

    Args:
        dim: D, number of inputs; they are N(0, I/D).
        epsilon: ε, strength of the quadratic part of φ.
        weight_scale: σ, standard deviation of every input weight; readouts are N(0, 1).
        kernel_scale: factor on the whole kernel; α²/N gives the kernel of Eq. 2.

    Returns:
        The eigenvalues in units of ``kernel_scale``, dimensionless at 1;
        ``eigenspace_sizes`` says how often each occurs.

    Raises:
        InputError: if D is not a whole number above zero, or ε, σ or the scale is not finite.

    Example:
        >>> round(float(initial_readout_eigenvalues(10, epsilon=1.0).squared_norm), 6)
        0.48

    References:
        Kumar et al. (2024), Eq. 23 and the text after it, corrected.
    """
    return _eigenvalues(
        dim, readout_coefficients, epsilon=epsilon, weight_scale=weight_scale, scale=kernel_scale
    )


def eigenspace_sizes(dim: int) -> Modes:
    """How many independent eigenfunctions each eigenvalue has: D, D(D+1)/2 − 1 and 1.

    The paper counts D functions x_i² − ‖x‖²/D; they sum to zero, so D − 1 of them are
    independent, and with the D(D−1)/2 cross terms that makes D(D+1)/2 − 1.

    Args:
        dim: D, number of inputs.

    Returns:
        The three numbers; they sum to D(D + 3)/2, the rank of the kernel.

    Raises:
        InputError: if D is not a whole number above zero.

    Example:
        >>> eigenspace_sizes(100)
        Modes(linear=100, quadratic=5049, squared_norm=1)

    References:
        Kumar et al. (2024), after Eqs. 14 and 15, corrected.
    """
    dim = whole_dim(dim)
    return Modes(dim, dim * (dim + 1) // 2 - 1, 1)


def sample_sizes(eigenvalues: Modes) -> Modes:
    """The paper's estimate of how many samples the lazy network needs, P ~ 1/λ (§5).

    D for the linear functions, D²/(2ε²) for the quadratic ones (the paper has 2ε). An
    order of magnitude: it assumes a noise level of one unit of the kernel, so it is meant
    for eigenvalues at ``kernel_scale=1``. Regression without a ridge on labels without
    noise is exact from P = D(D+3)/2 on, the rank of the kernel, whatever ε is.

    Args:
        eigenvalues: of ``initial_eigenvalues`` or its linearized network with readouts.

    Returns:
        P for each eigenspace, dimensionless; infinite where the eigenvalue is zero.

    Raises:
        InputError: if the eigenvalues are no ``Modes`` of real numbers.

    Example:
        >>> sizes = sample_sizes(initial_eigenvalues(100, epsilon=0.5))
        >>> [round(float(size), 1) for size in sizes]
        [100.0, 20000.0, 392.2]

    References:
        Kumar et al. (2024), §5 and §11.1, corrected.
    """
    require_instance(Modes, eigenvalues=eigenvalues)
    return Modes(*(1.0 / value for value in real_arrays(**eigenvalues._asdict())))


@full_precision
def eigenfunctions(x: Float[Array, "n d"]) -> Modes:
    """Orthonormal eigenfunctions of the initial kernel at given inputs, Eqs. 12–16.

    Orthonormal over x ~ N(0, I/D), so that the sum of λ_k ψ_k(x) ψ_k(x′) over all of
    them is the kernel. The linear and the traceless functions average to zero; ‖x‖²
    does not, the eigenproblem being that of the uncentred kernel.

    Args:
        x: inputs, one row each.

    Returns:
        One matrix for each eigenspace, a row for each input and a column for each
        eigenfunction, dimensionless: (n, D), (n, D(D+1)/2 − 1) and (n, 1).

    Raises:
        InputError: if ``x`` is no matrix or holds a NaN or an infinity.

    Example:
        >>> eigenfunctions(jnp.array([[1.0, 1.0]])).quadratic.round(3).tolist()
        [[2.0, 0.0]]

    References:
        Kumar et al. (2024), Eqs. 12–16. The paper has x_i x_j − c‖x‖² for x_i x_j.
    """
    [x] = real_arrays(x=x)
    require_shapes("nd", x=x)
    require_finite(x=x)
    dim = x.shape[1]
    require_positive(dim=dim)
    rows, columns = np.triu_indices(dim, 1)
    cross = dim * x[:, rows] * x[:, columns]
    # Helmert's rows are orthonormal and orthogonal to the vector of ones.
    diagonal = dim / math.sqrt(2) * (x**2 @ jnp.asarray(helmert(dim).T, x.dtype))
    norm = (x**2).sum(-1, keepdims=True) / math.sqrt(1 + 2 / dim)
    return Modes(math.sqrt(dim) * x, jnp.concatenate([cross, diagonal], axis=1), norm)


def _eigenvalues(
    dim: int,
    coefficients: Callable[[Array, Array], Coefficients],
    *,
    epsilon: ScalarLike,
    weight_scale: ScalarLike,
    scale: ScalarLike,
) -> Modes:
    """Eigenvalues of a x·x′ + b (x·x′)² + c ‖x‖²‖x′‖² over x ~ N(0, I/D)."""
    require_finite(epsilon=epsilon, weight_scale=weight_scale, kernel_scale=scale)
    epsilon, weight_scale, scale = real_arrays(
        epsilon=epsilon, weight_scale=weight_scale, kernel_scale=scale
    )
    size = float(whole_dim(dim))  # D² of an integer may exceed int32
    abc = coefficients(epsilon, weight_scale)
    dtype = jnp.result_type(float, scale, *abc)
    linear, square, norms = (jnp.asarray(scale * factor, dtype) for factor in abc)
    return Modes(linear / size, 2 * square / size**2, (1 + 2 / size) * (square / size + norms))
