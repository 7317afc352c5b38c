"""⊥Grad: the gradient without its part along the parameters."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


def orthogonal_gradient() -> optax.GradientTransformation:
    """g ← g − (⟨θ, g⟩/⟨θ, θ⟩) θ, over all parameters as one vector.

    Under gradient descent ‖θ‖ then stays to first order in the rate: a network that is
    homogeneous in its parameters cannot lower its loss by scaling its logits. An
    optimizer that rescales gradients by entry, such as Adam, keeps this only roughly.

    Returns:
        A transformation to be chained before an optimizer; it needs the parameters.

    Example:
        >>> step = orthogonal_gradient()
        >>> params, gradient = jnp.array([2.0, 0.0]), jnp.array([1.0, 1.0])
        >>> step.update(gradient, step.init(params), params)[0].tolist()
        [0.0, 1.0]

    References:
        Prieto et al. (2025), arXiv:2501.04697, ⊥Grad.
    """

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        along, square = _inner(params, updates), _inner(params, params)
        share = along / jnp.where(square > 0, square, 1)
        removed = jax.tree.map(
            lambda g, p: g - share.astype(g.dtype) * p.astype(g.dtype), updates, params
        )
        return removed, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _inner(a: PyTree, b: PyTree) -> PyTree:
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)))


class OrthogonalGradient(DecoupledDecay):
    """AdamW on the gradient without its part along the parameters.

    Example:
        >>> OrthogonalGradient(learning_rate=1e-3, weight_decay=0.0).kind
        'orthogonal_gradient'

    References:
        Prieto et al. (2025), arXiv:2501.04697.
    """

    kind: Literal["orthogonal_gradient"] = "orthogonal_gradient"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(orthogonal_gradient(), self.adamw(hyper))
