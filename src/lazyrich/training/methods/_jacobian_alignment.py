"""Jacobian alignment: a penalty on the derivative of the outputs by the inputs."""

from collections.abc import Callable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from pydantic import Field

from lazyrich._base import InputError
from lazyrich.tasks import Task

from ._objective import Batch, Objective


def jacobian_penalty(
    outputs: Callable[[Array], Array], x: Float[Array, "n d"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """An unbiased estimate of the mean of ‖∂f/∂x‖_F² over rows, by one projection a row.

    E‖vᵀJ‖² = ‖J‖_F² for signs v. Minimised along with the loss it aligns the rows of the
    Jacobian with the inputs: among all J with the outputs Jx that are wanted, those along x
    are the smallest.

    Args:
        outputs: from inputs (n, d) to outputs (n,) or (n, c), row by row.
        x: inputs.
        key: of the projections.

    Returns:
        The estimate, label units² over input units².

    Example:
        >>> w = jnp.array([3.0, 4.0])  # one output: exact
        >>> float(jacobian_penalty(lambda x: x @ w, jnp.ones((5, 2)), jax.random.key(0)))
        25.0

    References:
        Walker et al. (2025), GrokAlign, arXiv:2506.12284; the estimate is that of Hoffman,
        Roberts and Yaida (2019), arXiv:1908.02729, with signs for unit vectors.
    """
    values, pull_back = jax.vjp(outputs, x)
    signs = jax.random.rademacher(key, values.shape, values.dtype)
    [projected] = pull_back(signs)
    return jnp.square(projected).sum() / len(x)


class JacobianAlignment(Objective):
    """The loss and λ times the mean squared Frobenius norm of the Jacobian of the inputs.

    A step costs about three gradients: that of the loss, the derivative by the inputs, and
    the derivative of that.

    Attributes:
        strength: λ; 0 is the plain loss.

    Raises:
        InputError: by an experiment on tokens, by which nothing can be differentiated.

    Example:
        >>> JacobianAlignment(strength=0.01).gradient_evaluations
        3.0

    References:
        Walker et al. (2025), GrokAlign, arXiv:2506.12284.
    """

    kind: Literal["jacobian_alignment"] = "jacobian_alignment"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("strength",)
    gradient_evaluations: ClassVar[float] = 3.0
    strength: float = Field(1e-3, ge=0)

    def check(self, task: Task, loss: str) -> None:
        del loss
        if task.vocabulary is not None:
            raise InputError(
                f"the objective jacobian_alignment needs vectors and the task {task.kind} gives "
                "tokens; ask the task for one-hot vectors, or leave it out"
            )

    def value(self, batch: Batch, numbers: PyTree) -> Array:
        penalty = jacobian_penalty(batch.outputs, batch.x, batch.key)
        return batch.loss(batch.outputs(batch.x), batch.y) + numbers.strength * penalty
