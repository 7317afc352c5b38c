"""The numbers that runs of a network may differ in without another compilation."""

from typing import NamedTuple

from jaxtyping import ScalarLike


class Hyperparameters(NamedTuple):
    """Dynamic hyperparameters of a network's training, as arrays; None where there is no such.

    Attributes:
        alpha: α, output scale.
        label_scale: factor of every label.
        learning_rate: η₀, the learning rate at α = 1.
        epsilon: ε, strength of the nonlinear part of a committee machine.
        weight_decay: λ of AdamW.
    """

    alpha: ScalarLike
    label_scale: ScalarLike
    learning_rate: ScalarLike
    epsilon: ScalarLike | None = None
    weight_decay: ScalarLike | None = None
