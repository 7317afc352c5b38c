"""The tangent kernel of the committee machine (Eqs. 5, 10, 18 and 23)."""

from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import (
    full_precision,
    real_arrays,
    real_scalars,
    require_finite,
    require_instance,
    require_positive,
    require_shapes,
)

from ._weight_moments import WeightMoments, require_symmetric


@full_precision
def committee_kernel(
    stats: WeightMoments,
    x: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    width: ScalarLike,
) -> Float[Array, "n m"]:
    """The tangent kernel of the committee machine with fixed readouts, Eqs. 5 and 18.

    K = (α²/N) (x·x′) [1 + ε w̄·(x + x′) + ε² xᵀMx′]. The paper omits the factor
    α²/N, which Eq. 2 gives when it is applied to Eq. 3; without it neither learning
    rates nor Eq. 9 are right. Centring the network does not change the kernel.

    Args:
        stats: w̄ and M of the weights themselves, not of their displacement.
        x: inputs, one row each.
        x2: second set of inputs; None means ``x`` again.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.
        width: N, number of hidden units.

    Returns:
        K in label units², symmetric and positive semidefinite where ``x2`` is None; NaN
        where the weight moments are (a run that has diverged).

    Raises:
        InputError: if ``x``, α or ε is not finite, if N is not above zero, or if the
            shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> from lazyrich.theory import infinite_width
        >>> x = jnp.array([[1.0, 0.0], [1.0, 1.0]])
        >>> committee_kernel(infinite_width(2), x, alpha=2.0, epsilon=1.0, width=4).tolist()
        [[2.0, 2.0], [2.0, 6.0]]

    References:
        Kumar et al. (2024), Eqs. 2, 5 and 18; the factor α²/N is missing in the paper.
    """
    require_instance(WeightMoments, stats=stats)
    x, x2, mean, second = _inputs(x, x2, **stats._asdict())
    require_symmetric(second_moment=second)
    alpha, epsilon, width, _ = _scalars(x, alpha=alpha, epsilon=epsilon, width=width)
    require_shapes("nd d dd", x=x, mean_weight=mean, second_moment=second)
    projection, projection2 = x @ mean, x2 @ mean
    slopes = (
        1.0
        + epsilon * (projection[:, None] + projection2[None, :])
        + epsilon**2 * (x @ second @ x2.T)
    )
    return alpha**2 / width * (x @ x2.T) * slopes


@full_precision
def readout_kernel(
    weights: Float[Array, "N d"],
    readouts: Float[Array, " N"],
    x: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
) -> Float[Array, "n m"]:
    """The tangent kernel where the readouts are trained as well, for any weights (§12).

    K = (α²/N²) [ (x·x′) Σ_i v_i² φ′(h_i) φ′(h_i′) + Σ_i φ(h_i) φ(h_i′) ] with
    h_i = w_i·x. It holds moments up to the fourth, so unlike ``committee_kernel``
    it is no function of (w̄, M) (footnote 2 of the paper) and takes the weights.

    Args:
        weights: one row w_i per hidden unit.
        readouts: v_i per hidden unit.
        x: inputs, one row each.
        x2: second set of inputs; None means ``x`` again.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.

    Returns:
        K in label units², symmetric and positive semidefinite where ``x2`` is None.

    Raises:
        InputError: if ``x``, α or ε is not finite, or if the shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> weights, readouts = jnp.array([[1.0, 0.0]]), jnp.array([2.0])
        >>> readout_kernel(
        ...     weights, readouts, jnp.array([[3.0, 4.0]]), alpha=1.0, epsilon=0.0
        ... ).tolist()
        [[109.0]]

    References:
        Kumar et al. (2024), Eqs. 2 and 21.
    """
    x, x2, weights, readouts = _inputs(x, x2, weights=weights, readouts=readouts)
    require_shapes("Nd N nd", weights=weights, readouts=readouts, x=x)
    alpha, epsilon, *_ = _scalars(x, alpha=alpha, epsilon=epsilon, width=len(weights))
    field, field2 = x @ weights.T, x2 @ weights.T
    from_weights = ((1 + epsilon * field) * readouts**2) @ (1 + epsilon * field2).T
    from_readouts = (field + epsilon / 2 * field**2) @ (field2 + epsilon / 2 * field2**2).T
    return (alpha / len(weights)) ** 2 * ((x @ x2.T) * from_weights + from_readouts)


@full_precision
def initial_kernel(
    x: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    width: ScalarLike,
    weight_scale: ScalarLike = 1.0,
) -> Float[Array, "n m"]:
    """The committee machine's kernel averaged over w ~ N(0, σ²I), Eq. 10.

    K₀ = (α²/N) [x·x′ + ε²σ² (x·x′)²]. A network of finite width deviates from it by a
    relative O(1/√N).

    Args:
        x: inputs, one row each.
        x2: second set of inputs; None means ``x`` again.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.
        width: N, number of hidden units; it enters through α²/N alone.
        weight_scale: σ, standard deviation of every weight, dimensionless.

    Returns:
        K₀ in label units², symmetric and positive semidefinite where ``x2`` is None.

    Raises:
        InputError: if ``x``, α, ε or σ is not finite, if N is not above zero, or if the
            shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0], [1.0, 1.0]])
        >>> initial_kernel(x, alpha=2.0, epsilon=1.0, width=4).tolist()
        [[2.0, 2.0], [2.0, 6.0]]

    References:
        Kumar et al. (2024), Eq. 10 (printed for σ = 1 and without α²/N).
    """
    x, x2 = _inputs(x, x2)
    alpha, epsilon, width, weight_scale = _scalars(
        x, alpha=alpha, epsilon=epsilon, width=width, weight_scale=weight_scale
    )
    _, square, _ = initial_coefficients(epsilon, weight_scale)
    overlap = x @ x2.T
    return alpha**2 / width * (overlap + square * overlap**2)


@full_precision
def initial_readout_kernel(
    x: Float[Array, "n d"],
    x2: Float[Array, "m d"] | None = None,
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    width: ScalarLike,
    weight_scale: ScalarLike = 1.0,
) -> Float[Array, "n m"]:
    """The kernel with trained readouts averaged over v ~ N(0, 1), w ~ N(0, σ²I), Eq. 23.

    K₀ = (α²/N) [(1+σ²) x·x′ + ε²(σ² + σ⁴/2) (x·x′)² + (ε²σ⁴/4) ‖x‖²‖x′‖²]; at σ = 1
    these are the paper's 2, 3ε²/2 and ε²/4.

    Args:
        x: inputs, one row each.
        x2: second set of inputs; None means ``x`` again.
        alpha: α, output scale.
        epsilon: ε, strength of the quadratic part of φ.
        width: N, number of hidden units; it enters through α²/N alone.
        weight_scale: σ, standard deviation of every input weight, dimensionless.

    Returns:
        K₀ in label units², symmetric and positive semidefinite where ``x2`` is None.

    Raises:
        InputError: if ``x``, α, ε or σ is not finite, if N is not above zero, or if the
            shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0]])
        >>> initial_readout_kernel(x, alpha=1.0, epsilon=2.0, width=1).tolist()
        [[9.0]]

    References:
        Kumar et al. (2024), Eq. 23 (printed for σ = 1 and without α²/N).
    """
    x, x2 = _inputs(x, x2)
    alpha, epsilon, width, weight_scale = _scalars(
        x, alpha=alpha, epsilon=epsilon, width=width, weight_scale=weight_scale
    )
    linear, square, norms = readout_coefficients(epsilon, weight_scale)
    overlap = x @ x2.T
    lengths = (x**2).sum(-1)[:, None] * (x2**2).sum(-1)[None, :]
    return alpha**2 / width * (linear * overlap + square * overlap**2 + norms * lengths)


Coefficients = tuple[ScalarLike, ScalarLike, ScalarLike]
"""The factors of x·x′, (x·x′)² and ‖x‖²‖x′‖² in an average kernel, in units of α²/N."""


def initial_coefficients(epsilon: ScalarLike, weight_scale: ScalarLike) -> Coefficients:
    """The factors in Eq. 10, for weights of scale σ."""
    return 1.0, (epsilon * weight_scale) ** 2, 0.0


def readout_coefficients(epsilon: ScalarLike, weight_scale: ScalarLike) -> Coefficients:
    """The factors in Eq. 23, for weights of scale σ."""
    variance = weight_scale**2
    square = epsilon**2 * (variance + variance**2 / 2)
    return 1 + variance, square, epsilon**2 * variance**2 / 4


def _inputs(x: object, x2: object, **others: object) -> tuple[Array, ...]:
    """Both sets of inputs and other arrays in one type; ``x2`` is ``x`` if it is None."""
    given = {"x": x} if x2 is None else {"x": x, "x2": x2}
    arrays = dict(zip([*given, *others], real_arrays(**given, **others), strict=True))
    arrays = {"x": arrays["x"], "x2": arrays.get("x2", arrays["x"])} | arrays
    x, x2, *rest = arrays.values()
    require_finite(x=x, x2=x2)
    require_shapes("nd md", x=x, x2=x2)
    return x, x2, *rest


def _scalars(
    x: Array,
    *,
    alpha: ScalarLike,
    epsilon: ScalarLike,
    width: ScalarLike,
    weight_scale: ScalarLike = 1.0,
) -> tuple[Array, ...]:
    require_finite(alpha=alpha, epsilon=epsilon, weight_scale=weight_scale)
    require_positive(width=width)
    return real_scalars(x, alpha=alpha, epsilon=epsilon, width=width, weight_scale=weight_scale)
