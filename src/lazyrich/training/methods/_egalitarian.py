"""Egalitarian gradient descent: every singular direction of a gradient at one speed."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import contrib

from lazyrich._base import InputError

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay

Polar = Literal["svd", "newton_schulz"]
_TINY = 1e-30


def egalitarian_gradient(polar: Polar = "svd") -> optax.GradientTransformation:
    """G ← (GGᵀ)^(−1/2) G = UVᵀ for a gradient matrix G = USVᵀ; vectors become unit vectors.

    Singular directions of value zero stay at zero (to 10⁻⁶ of the largest).

    Args:
        polar: "svd" is exact; "newton_schulz" takes five steps of Muon's iteration, which
            leaves singular values between about 0.7 and 1.2 and is much faster.

    Returns:
        A transformation to be chained before a learning rate.

    Raises:
        InputError: if ``polar`` is neither.

    Example:
        >>> step = egalitarian_gradient()
        >>> update, _ = step.update(jnp.diag(jnp.array([3.0, 0.1])), step.init(None))
        >>> abs(update.round(6)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    References:
        Saheb Pasand and Dohmatob (2025), arXiv:2510.04930.
    """
    if polar not in ("svd", "newton_schulz"):
        raise InputError(f'polar is {polar!r}; choose "svd" or "newton_schulz".')
    factor = _polar_factor if polar == "svd" else _newton_schulz

    def one(g: Array) -> Array:
        if g.ndim == 2:
            return factor(g)
        return g / jnp.maximum(jnp.linalg.norm(g), _TINY)

    return optax.stateless(lambda gradient, params: jax.tree.map(one, gradient))


def _polar_factor(g: Array) -> Array:
    u, s, vh = jnp.linalg.svd(g, full_matrices=False)
    is_there = s > 1e-6 * s[0]
    return (u * is_there) @ vh


def _newton_schulz(g: Array) -> Array:
    step = contrib.scale_by_muon(beta=0.0, nesterov=False)
    return jnp.asarray(step.update(g, step.init(g))[0])


class EGD(DecoupledDecay):
    """θ ← θ − η(polar(G) + λθ): Muon without momentum and without its factor for the shape.

    The settings of Adam's averages have no effect.

    Attributes:
        polar: "svd", exact, or "newton_schulz", fast.

    Example:
        >>> EGD(learning_rate=0.01, weight_decay=0.0).polar
        'newton_schulz'

    References:
        Saheb Pasand and Dohmatob (2025), arXiv:2510.04930.
    """

    kind: Literal["egd"] = "egd"
    polar: Polar = "newton_schulz"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return self.decayed(egalitarian_gradient(self.polar), hyper)
