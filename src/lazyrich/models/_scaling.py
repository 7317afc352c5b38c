"""The output scale α, and the output centred on its value at the start (Eq. 7)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lazyrich._base import Params, Predictor, require_finite, require_positive


def scale_output(
    predict: Predictor, params0: Params, alpha: ScalarLike, *, center: bool = True
) -> Predictor:
    """The net α[f(θ, x) − f(θ₀, x)], Eq. 7; with ``center=False`` αf(θ, x).

    Large α is lazy. For the same speed of learning gradient descent needs the learning
    rate η₀/α² (§8.1). Centring computes the output twice, and loses digits when θ is
    close to θ₀: a very lazy net needs float64.

    Args:
        predict: any predictor.
        params0: θ₀, the parameters whose output is subtracted.
        alpha: α, output scale, dimensionless, above zero.
        center: subtract the output at θ₀; then the net is exactly zero there.

    Returns:
        A predictor of the same parameters.

    Raises:
        InputError: if α is not finite or not above zero.

    Example:
        >>> scaled = scale_output(lambda w, x: w * x, jnp.array(2.0), 10.0)
        >>> scaled(jnp.array(2.5), jnp.array([1.0, 3.0])).tolist()
        [5.0, 15.0]

    References:
        Kumar et al. (2024), Eq. 7; Chizat et al. (2019).
    """
    require_finite(alpha=alpha)
    require_positive(alpha=alpha)

    def scaled(params: Params, x: Array) -> Float[Array, "n ..."]:
        return scaled_output(predict(params, x), alpha, predict(params0, x) if center else None)

    return scaled


def scaled_output(
    output: Float[Array, "n ..."], alpha: ScalarLike, output0: Float[Array, "n ..."] | None = None
) -> Float[Array, "n ..."]:
    """α[f(θ) − f(θ₀)] of outputs that are there already (Eq. 7); αf(θ) without f(θ₀).

    Args:
        output: f(θ) on some rows.
        alpha: α, output scale, dimensionless.
        output0: f(θ₀) on the same rows, or None.

    Returns:
        The scaled output, in label units; exactly zero where both outputs are equal.

    Example:
        >>> scaled_output(jnp.array([2.0]), 10.0, jnp.array([0.5])).tolist()
        [15.0]
    """
    # 1.0: whole numbers would be multiplied in their own type, in which they may overflow.
    return jnp.multiply(1.0 * alpha, output if output0 is None else centred(output, output0))


def centred(output: Float[Array, "n ..."], output0: Float[Array, "n ..."]) -> Array:
    """f(θ) − f(θ₀), exactly zero where both are equal, compiled or not.

    A product fused into the subtraction that follows is not rounded, on one side only:
    f(θ₀) − f(θ₀) would be its rounding error. Each side is rounded first.

    Args:
        output: f(θ) on some rows.
        output0: f(θ₀) on the same rows.

    Returns:
        The difference, in label units; NaN where either is.

    Example:
        >>> centred(jnp.array([2.0]), jnp.array([0.5])).tolist()
        [1.5]
    """
    return _rounded(output) - _rounded(output0)


def _rounded(output: Array) -> Array:
    """The output unchanged; XLA cannot fuse a select with the operation after it."""
    return jnp.where(jnp.isnan(output), jnp.nan, output)
