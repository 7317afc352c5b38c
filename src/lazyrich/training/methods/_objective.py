"""What a step descends, where that is not the loss that is recorded."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Array, PRNGKeyArray, PyTree

from lazyrich._base import Config, InputError
from lazyrich.tasks import Task


class Batch(NamedTuple):
    """What an objective is computed from.

    Attributes:
        outputs: from inputs to the scaled outputs, a function of the inputs alone.
        x: inputs of the batch.
        y: their targets.
        loss: the recorded loss, of outputs and targets.
        key: of what is random in this step.

    Example:
        >>> import jax.numpy as jnp
        >>> batch = Batch(lambda x: 2 * x, jnp.array(3.0), 5.0, lambda f, y: f - y, jnp.zeros(2))
        >>> float(Plain().value(batch, None))
        1.0
    """

    outputs: Callable[[PyTree], Array]
    x: PyTree
    y: PyTree
    loss: Callable[[PyTree, PyTree], Array]
    key: PRNGKeyArray


class Objective(Config):
    """Settings of what a step descends; abstract. Records hold the experiment's own loss.

    Attributes:
        dynamic_hyperparameters: fields that runs of one compilation may differ in.
        gradient_evaluations: cost of a step, in gradients of the plain loss.
        loss_needed: the one loss of an experiment that this can take; None for any.
        instead: what to do where the loss is another.

    Example:
        >>> Plain.gradient_evaluations
        1.0
    """

    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ()
    gradient_evaluations: ClassVar[float] = 1.0

    kind: str

    loss_needed: ClassVar[str | None] = None
    instead: ClassVar[str] = ""

    def check(self, task: Task, loss: str) -> None:
        """Refuse, with an ``InputError``, a task or loss that this does not fit."""
        del task
        if self.loss_needed not in (None, loss):
            raise InputError(
                f"the objective {self.kind} needs the loss {self.loss_needed}, and the loss is "
                f"{loss}; {self.instead}"
            )

    @abstractmethod
    def value(self, batch: Batch, numbers: PyTree) -> Array:
        """What is descended, with these numbers in place of the fields."""


class Plain(Objective):
    """The loss itself.

    Example:
        >>> Plain().kind
        'plain'
    """

    kind: Literal["plain"] = "plain"

    def value(self, batch: Batch, numbers: PyTree) -> Array:
        del numbers
        return batch.loss(batch.outputs(batch.x), batch.y)
