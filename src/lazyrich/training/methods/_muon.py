"""Muon: momentum whose singular values are all made about one."""

from typing import ClassVar, Literal

import optax
from optax import contrib
from pydantic import Field

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


class Muon(DecoupledDecay):
    """Matrices move along the polar factor of their momentum, everything else by AdamW.

    θ ← θ − η(√max(1, n_out/n_in) · polar(m) + λθ), with the polar factor UVᵀ of m = USVᵀ
    approximated by Newton–Schulz steps; biases by AdamW at the same rate, without decay.

    Attributes:
        momentum: μ of m ← μm + (1 − μ)g, corrected for its start.
        nesterov: step along the momentum of the next step.
        n_newton_schulz: number of Newton–Schulz steps.

    Example:
        >>> Muon(learning_rate=0.02, weight_decay=0.1).momentum
        0.95

    References:
        Jordan et al. (2024), Muon; ``optax.contrib.muon``.
    """

    kind: Literal["muon"] = "muon"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "weight_decay",
        "momentum",
    )
    momentum: float = Field(0.95, ge=0, lt=1)
    nesterov: bool = True
    n_newton_schulz: int = Field(5, ge=1, le=50)

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return contrib.muon(
            self._rate(hyper),
            ns_steps=self.n_newton_schulz,
            beta=hyper.optimizer.momentum,
            eps=self.eps,
            weight_decay=self._decay(hyper),
            nesterov=self.nesterov,
            adam_b1=self.b1,
            adam_b2=self.b2,
        )
