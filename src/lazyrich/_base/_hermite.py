"""Hermite polynomials."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._arrays import real_arrays
from ._checks import require_nonnegative, require_whole


def hermite(h: Float[Array, "*shape"], degree: int) -> Float[Array, "*shape"]:
    """Probabilists' Hermite polynomial He_k, by He_{k+1}(h) = h He_k(h) − k He_{k−1}(h).

    He₂ = h² − 1 and He₃ = h³ − 3h. They are orthogonal under h ~ N(0, 1), with ⟨He_k²⟩ = k!.

    Args:
        h: where to evaluate it.
        degree: k, 0 or more.

    Returns:
        He_k(h), dimensionless, in single precision or better; 1 for degree 0.

    Raises:
        InputError: if ``h`` is not made of real numbers, or the degree is not whole or negative.

    Example:
        >>> hermite(jnp.array([2.0]), 3).tolist()  # 2³ − 3·2
        [2.0]
    """
    require_whole(degree=degree)
    require_nonnegative(degree=degree)
    [h] = real_arrays(h=h)
    before, now = jnp.zeros_like(h), jnp.ones_like(h)
    for k in range(degree):
        before, now = now, h * now - k * before
    return now
