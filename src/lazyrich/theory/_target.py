"""The quadratic target: its matrix, and its share in each eigenspace (Eqs. 3, 17, §15.1)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lazyrich._base import InputError, full_precision, real_arrays, require_finite, require_shapes

from ._eigenspaces import Modes


@full_precision
def target_matrix(directions: Float[Array, "*k d"]) -> Float[Array, "d d"]:
    """The matrix B = Σ_k β_k β_kᵀ of the target y = ½ xᵀBx (Eq. 3, §15.1).

    Args:
        directions: β⋆ of shape (d,), or one row for each direction.

    Returns:
        B, symmetric and positive semidefinite, label units.

    Raises:
        InputError: if the directions are not finite, or have neither one axis nor two.

    Example:
        >>> target_matrix(jnp.array([[1.0, 0.0], [0.0, 2.0]])).tolist()
        [[1.0, 0.0], [0.0, 4.0]]

    References:
        Kumar et al. (2024), Eq. 3 and §15.1.
    """
    [directions] = real_arrays(directions=directions)
    require_finite(directions=directions)
    if directions.ndim not in (1, 2) or directions.shape[-1] == 0:
        raise InputError(
            f"directions has shape {directions.shape}; give (d,), or (k, d) with one row each."
        )
    rows = jnp.atleast_2d(directions)
    return rows.T @ rows


@full_precision
def target_components(directions: Float[Array, "*k d"], x: Float[Array, "n d"]) -> Modes:
    """The target's part in each eigenspace at given inputs, Eq. 17; the parts sum to y.

    y = ½ Σ_k [(β_k·x)² − ‖β_k‖²‖x‖²/D] + ½ Σ_k ‖β_k‖²‖x‖²/D. The paper omits
    ‖β‖², which needs ‖β‖ = 1; its experiments have ‖β‖² ≈ D.

    Args:
        directions: β⋆ of shape (d,), or one row for each direction.
        x: inputs, one row each.

    Returns:
        One value for each input in each eigenspace, label units; the linear part is zero.

    Raises:
        InputError: if the directions or ``x`` are not finite, or if the shapes disagree.

    Example:
        >>> parts = target_components(jnp.array([2.0, 0.0]), jnp.array([[1.0, 1.0]]))
        >>> [part.tolist() for part in parts]
        [[0.0], [0.0], [2.0]]

    References:
        Kumar et al. (2024), Eq. 17, corrected.
    """
    directions, x = real_arrays(directions=directions, x=x)
    matrix = target_matrix(directions)
    require_shapes("nd dd", x=x, target=matrix)
    require_finite(x=x)
    norm = 0.5 * jnp.trace(matrix) / x.shape[1] * (x**2).sum(-1)
    return Modes(jnp.zeros_like(norm), 0.5 * ((x @ matrix) * x).sum(-1) - norm, norm)


@full_precision
def target_power(directions: Float[Array, "*k d"]) -> Modes:
    """The part of ⟨y²⟩ in each eigenspace, from Eq. 17.

    With B = Σ_k β_k β_kᵀ: zero, (‖B‖_F² − (Tr B)²/D)/(2D²) and (1 + 2/D)(Tr B)²/(4D²). The
    sum is (2‖B‖_F² + (Tr B)²)/(4D²), for one direction 3‖β‖⁴/(4D²).

    Args:
        directions: β⋆ of shape (d,), or one row for each direction.

    Returns:
        The power in each eigenspace, label units².

    Raises:
        InputError: if the directions are not finite.

    Example:
        >>> [round(float(power), 6) for power in target_power(jnp.array([2.0, 0.0]))]
        [0.0, 1.0, 2.0]

    References:
        Kumar et al. (2024), Eq. 17, corrected.
    """
    matrix = target_matrix(directions)
    dim = float(len(matrix))
    trace_squared = jnp.trace(matrix) ** 2
    traceless = (jnp.square(matrix).sum() - trace_squared / dim) / (2 * dim**2)
    norm = (1 + 2 / dim) * trace_squared / (4 * dim**2)
    return Modes(jnp.zeros_like(norm), traceless, norm)
