"""An L2 penalty that is switched on once the training rows are fitted."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree, ScalarLike
from pydantic import Field

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


class SwitchState(NamedTuple):
    """Whether the switch has been thrown.

    Attributes:
        is_on: once on, it stays so.
    """

    is_on: Bool[Array, ""]


def late_l2(strength: ScalarLike, *, fit_loss: ScalarLike) -> optax.GradientTransformationExtraArgs:
    """g ← g + s·θ from the first step whose loss is at most a level; before that g.

    The gradient of (s/2)‖θ‖², which is absent while the labels are fitted. The level is
    compared with the training loss of the batch alone.

    Args:
        strength: s of the penalty.
        fit_loss: level of the loss that counts as fitted.

    Returns:
        A transformation to be chained before an optimizer; ``update`` needs the
        parameters, and the loss as ``value``.

    Example:
        >>> step = late_l2(0.5, fit_loss=0.1)
        >>> params, state = jnp.ones(1), step.init(jnp.ones(1))
        >>> before, state = step.update(jnp.zeros(1), state, params, value=1.0)
        >>> after, state = step.update(jnp.zeros(1), state, params, value=0.1)
        >>> before.tolist(), after.tolist()
        ([0.0], [0.5])

    References:
        A variant of the penalty in Liu et al. (2023), Omnigrok, arXiv:2210.01117.
    """

    def update(
        updates: PyTree,
        state: PyTree,
        params: PyTree = None,
        *,
        value: PyTree = None,
        **others: PyTree,
    ) -> tuple[PyTree, SwitchState]:
        del others
        is_on = state.is_on | (value <= fit_loss)
        now = jnp.where(is_on, strength, 0)
        penalised = jax.tree.map(lambda g, p: g + now.astype(g.dtype) * p, updates, params)
        return penalised, SwitchState(is_on)

    return optax.GradientTransformationExtraArgs(
        lambda params: SwitchState(jnp.asarray(False)), update
    )


class LateL2(DecoupledDecay):
    """AdamW with an L2 penalty that is switched on once the training rows are fitted.

    Attributes:
        strength: s of the penalty (s/2)‖θ‖².
        fit_loss: training loss of a batch at or below which the rows count as fitted.

    Example:
        >>> LateL2(learning_rate=1e-3, weight_decay=0.0, strength=0.01).fit_loss
        0.01

    References:
        A variant of the penalty in Liu et al. (2023), Omnigrok, arXiv:2210.01117.
    """

    kind: Literal["late_l2"] = "late_l2"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "weight_decay",
        "strength",
        "fit_loss",
    )
    needs_loss: ClassVar[bool] = True
    strength: float = Field(1e-3, ge=0)
    fit_loss: float = Field(1e-2, gt=0)

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        numbers = hyper.optimizer
        penalty = late_l2(numbers.strength, fit_loss=numbers.fit_loss)
        return optax.chain(penalty, self.adamw(hyper))
