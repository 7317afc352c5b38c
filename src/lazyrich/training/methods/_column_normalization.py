"""Column normalization: the gradient of every hidden unit at one length."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay

_TINY = 1e-30


def normalize_columns() -> optax.GradientTransformation:
    """G_ij ← G_ij/‖G_·j‖ for a gradient matrix G, stored (inputs, outputs).

    The cheap relative of the polar factor: columns become unit vectors but not orthogonal.
    Vectors become unit vectors; a column of zeros stays so.

    Returns:
        A transformation to be chained before a learning rate.

    Example:
        >>> step = normalize_columns()
        >>> step.update(jnp.array([[3.0, 0.0], [4.0, 0.0]]), step.init(None))[0].round(2).tolist()
        [[0.6..., 0.0], [0.8..., 0.0]]

    References:
        Saheb Pasand and Dohmatob (2025), arXiv:2510.04930, as an alternative to the polar
        factor.
    """

    def one(g: Array) -> Array:
        norms = jnp.linalg.norm(g, axis=0, keepdims=True)
        return g / jnp.maximum(norms, _TINY)

    return optax.stateless(lambda gradient, params: jax.tree.map(one, gradient))


class ColumnNormalization(DecoupledDecay):
    """θ ← θ − η(columns(G) + λθ): every column of a gradient matrix at length one.

    The settings of Adam's averages have no effect.

    Example:
        >>> ColumnNormalization(learning_rate=0.01, weight_decay=0.0).kind
        'column_normalization'

    References:
        Saheb Pasand and Dohmatob (2025), arXiv:2510.04930.
    """

    kind: Literal["column_normalization"] = "column_normalization"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return self.decayed(normalize_columns(), hyper)
