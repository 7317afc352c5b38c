"""A temperature on the logits."""

from typing import ClassVar, Literal

from jaxtyping import Array, PyTree
from pydantic import Field

from ._objective import Batch, Objective


class Temperature(Objective):
    """Cross-entropy of softmax(z/T): with T > 1 gradients stay alive for larger logits.

    The same as an output scale α = 1/T of an uncentred net at the same learning rate;
    what is recorded are loss and accuracy of z.

    Attributes:
        temperature: T.

    Raises:
        InputError: by an experiment whose loss is not cross_entropy.

    Example:
        >>> Temperature(temperature=2.0).kind
        'temperature'

    References:
        Hinton, Vinyals and Dean (2015), arXiv:1503.02531; Prieto et al. (2025),
        arXiv:2501.04697, on why large logits stop learning.
    """

    kind: Literal["temperature"] = "temperature"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("temperature",)
    temperature: float = Field(1.0, gt=0)
    loss_needed: ClassVar[str | None] = "cross_entropy"
    instead: ClassVar[str] = "for mse change scaling.alpha"

    def value(self, batch: Batch, numbers: PyTree) -> Array:
        return batch.loss(batch.outputs(batch.x) / numbers.temperature, batch.y)
