"""Parameters held on a sphere or in a ball around the origin."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree, ScalarLike
from pydantic import Field

from lazyrich._base import InputError

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


class NormState(NamedTuple):
    """The norm of the initial parameters.

    Attributes:
        initial: ‖θ₀‖.
    """

    initial: Array


def constrain_norm(
    radius: ScalarLike, *, how: Literal["clip", "project"] = "clip"
) -> optax.GradientTransformation:
    """θ ← θ · min(1, ρ‖θ₀‖/‖θ‖) after each update, or θ · ρ‖θ₀‖/‖θ‖.

    Args:
        radius: ρ, as a share of the norm of the initial parameters.
        how: "clip" keeps the parameters in the ball; "project" on the sphere.

    Returns:
        A transformation to be chained after an optimizer; it needs the parameters.

    Raises:
        InputError: if ``how`` is neither.

    Example:
        >>> step = constrain_norm(1.0)
        >>> params = jnp.array([3.0, 4.0])
        >>> updates, _ = step.update(params, step.init(params), params)  # twice as long
        >>> (params + updates).tolist()
        [3.0, 4.0]

    References:
        Liu et al. (2023), Omnigrok, arXiv:2210.01117, which trains at constant norm.
    """
    if how not in ("clip", "project"):
        raise InputError(f'how is {how!r}; choose "clip" or "project".')

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, NormState]:
        moved = optax.apply_updates(params, updates)
        factor = radius * state.initial / jnp.maximum(optax.tree.norm(moved), _TINY)
        if how == "clip":
            factor = jnp.minimum(1, factor)
        constrained = jax.tree.map(
            lambda new, old: new * factor.astype(new.dtype) - old, moved, params
        )
        return constrained, state

    return optax.GradientTransformation(lambda params: NormState(optax.tree.norm(params)), update)


_TINY = 1e-30


class NormConstraint(DecoupledDecay):
    """AdamW, after each step of which the norm of all parameters is clipped, or set.

    Attributes:
        radius: ρ, the norm as a share of the initial one.
        how: "clip" to at most ρ‖θ₀‖, or "project" to exactly that.

    Example:
        >>> NormConstraint(learning_rate=1e-3, weight_decay=0.0, radius=0.5).how
        'clip'

    References:
        Liu et al. (2023), Omnigrok, arXiv:2210.01117.
    """

    kind: Literal["norm_constraint"] = "norm_constraint"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "radius")
    radius: float = Field(1.0, gt=0)
    how: Literal["clip", "project"] = "clip"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(self.adamw(hyper), constrain_norm(hyper.optimizer.radius, how=self.how))
