"""The displacement of the weights, and its part in the initial tangent space."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import (
    InputError,
    full_precision,
    real_arrays,
    real_scalars,
    require_instance,
    require_shapes,
)
from lazyrich.numerics import eigenmodes, inverse_eigenvalues, rounding_cutoff

from ._kernel import committee_kernel
from ._weight_moments import WeightMoments, floating, require_rows


class DisplacementMoments(NamedTuple):
    """Moments of the weight rows' displacement Δ_i = w_i − w_i(0).

    Attributes:
        mean: ⟨Δ⟩.
        cross: ⟨Δ w(0)ᵀ⟩.
        square: ⟨‖Δ‖²⟩, so that ‖θ − θ₀‖ = √(N · square).

    Example:
        >>> displacement_moments(jnp.array([[2.0]]), jnp.array([[1.0]])).square.tolist()
        1.0
    """

    mean: Float[Array, "*b d"]
    cross: Float[Array, "*b d d"]
    square: Float[Array, "*b"]


class TangentSplit(NamedTuple):
    """The two parts of a displacement θ − θ₀, as lengths.

    Attributes:
        inside: ‖Π(θ − θ₀)‖, in the span of the initial gradients of the training
            outputs, which the linearized network does not leave (§1, Figure 1a).
        outside: length of the orthogonal rest.

    Example:
        >>> TangentSplit(inside=jnp.array(3.0), outside=jnp.array(4.0)).outside.tolist()
        4.0
    """

    inside: Float[Array, "*b"]
    outside: Float[Array, "*b"]


@full_precision
def displacement_moments(
    rows: Float[Array, "r d"], displacements: Float[Array, "r d"]
) -> DisplacementMoments:
    """The moments ⟨Δ⟩, ⟨Δ w₀ᵀ⟩ and ⟨‖Δ‖²⟩ of a displacement of weight rows.

    A row moves by an affine map of itself, so a machine and its equivalent of D + 1
    units have the same moments.

    Args:
        rows: w₀, the weights at the start.
        displacements: Δ, the displacement of each row.

    Returns:
        The three moments, dimensionless; zero for rows that have not moved.

    Raises:
        InputError: if the shapes disagree.

    Example:
        >>> displacement_moments(jnp.array([[2.0]]), jnp.array([[1.0]])).cross.tolist()
        [[2.0]]
    """
    rows, displacements = real_arrays(rows=rows, displacements=displacements)
    require_shapes("rd rd", rows=rows, displacements=displacements)
    require_rows(rows=rows)
    n_rows = len(rows)
    return DisplacementMoments(
        displacements.mean(0),
        displacements.T @ rows / n_rows,
        jnp.square(displacements).sum() / n_rows,
    )


@full_precision
def tangent_split(
    displacement: DisplacementMoments,
    start: WeightMoments,
    x: Float[Array, "n d"],
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    width: ScalarLike,
) -> TangentSplit:
    """Split θ − θ₀ into its part in the initial tangent space of the training set, and the rest.

    With J the initial Jacobian of the training outputs, Π = Jᵀ(JJᵀ)⁺J, so that
    ‖Π(θ − θ₀)‖² = vᵀK₀⁺v with v = J(θ − θ₀), and v_μ = α x_μ·⟨Δ⟩ + αε x_μᵀ⟨Δ w₀ᵀ⟩x_μ.
    Needs float64: the eigenvalues of K₀ span many orders of magnitude.

    Args:
        displacement: moments of the displacement; leading axes are evaluation steps.
        start: w̄₀ and M₀.
        x: training inputs, which span the space.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.
        width: N, number of hidden units; scales both parts.

    Returns:
        Both lengths, dimensionless like the weights, with the leading axes of the moments;
        zero for a zero displacement.

    Raises:
        InputError: if shapes disagree, α, ε or ``x`` is not finite, or N is not above zero.

    Example:
        >>> rows, displacements = jnp.eye(2), jnp.ones((2, 2))
        >>> start = WeightMoments(rows.mean(0), rows.T @ rows / 2)
        >>> displacement, x = displacement_moments(rows, displacements), jnp.array([[1.0, 0.0]])
        >>> split = tangent_split(displacement, start, x, alpha=1.0, epsilon=0.0, width=2)
        >>> [round(float(part), 3) for part in split]
        [1.414, 1.414]

    References:
        Kumar et al. (2024), §1 (the affine subspace of the linearized model) and Figure 3(c, d).
    """
    require_instance(DisplacementMoments, displacement=displacement)
    [x] = real_arrays(x=x)
    start, moments = floating(start), DisplacementMoments(*real_arrays(**displacement._asdict()))
    require_shapes("nd d dd", x=x, mean_weight=start.mean_weight, second_moment=start.second_moment)
    require_rows(x=x)
    _require_moments(moments, x.shape[1])
    kernel = committee_kernel(start, x, alpha=alpha, epsilon=epsilon, width=width)
    alpha, epsilon, width = real_scalars(kernel, alpha=alpha, epsilon=epsilon, width=width)
    cutoff = rounding_cutoff(x, kernel)
    eigenvalues, vectors, is_kept = eigenmodes(kernel, cutoff)
    scale = inverse_eigenvalues(eigenvalues, is_kept, 0.0, cutoff)
    linear = moments.mean @ x.T
    quadratic = jnp.einsum("nd,...de,ne->...n", x, moments.cross, x)
    modes = (alpha * (linear + epsilon * quadratic)) @ vectors
    inside = (jnp.square(modes) * scale).sum(-1)
    outside = jnp.maximum(width * moments.square - inside, 0)
    return TangentSplit(jnp.sqrt(inside), jnp.sqrt(outside))


def _require_moments(moments: DisplacementMoments, dim: int) -> None:
    """Refuse moments whose last axes are not D and D × D, leading axes alike."""
    batch = moments.square.shape
    if moments.mean.shape != (*batch, dim) or moments.cross.shape != (*batch, dim, dim):
        raise InputError(
            f"The shapes mean {moments.mean.shape}, cross {moments.cross.shape}, square {batch} "
            f"of the displacement disagree with {dim} inputs; wanted (..., {dim}), "
            f"(..., {dim}, {dim}) and (...) with the same leading axes."
        )
