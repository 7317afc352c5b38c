"""Optimizers, and how their learning rate follows the output scale α (§8.1)."""

from abc import abstractmethod
from typing import ClassVar, Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, ScalarLike
from pydantic import Field

from lazyrich._base import Config

from ._hyperparameters import Hyperparameters

Rule = Literal["inverse_square", "inverse", "fixed"]
_POWERS = {"inverse_square": 2, "inverse": 1, "fixed": 0}


def _power(alpha: Array, n: ScalarLike) -> Array:
    """1, α or α², by a power that is chosen when it runs: rules share a compilation."""
    return jnp.where(n == 2, alpha * alpha, jnp.where(n == 1, alpha, 1))


class Optimizer(Config):
    """Settings of an optimizer; abstract.

    Attributes:
        learning_rate: η₀, the learning rate at α = 1.
        learning_rate_rule: "inverse_square" trains at η₀/α², which keeps the pace of the
            outputs under gradient descent, with momentum or without (Eq. 7);
            "inverse" at η₀/α, which does so for Adam, whose steps have one length
            whatever the gradient's; "fixed" at η₀.
        warmup_steps: the learning rate grows linearly from 0 over so many steps.
        batch_size: points in a step; None takes all. Smaller batches are drawn without
            replacement, in a new order each pass; a rest that fills no batch is left out.
        dynamic_hyperparameters: fields that runs of one compilation may differ in.
        needs_loss: whether ``update`` is given the loss of the batch, as ``value``.

    Example:
        >>> from lazyrich.training import Adam
        >>> isinstance(Adam(learning_rate=0.001), Optimizer)
        True
    """

    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate",)
    needs_loss: ClassVar[bool] = False

    learning_rate: float = Field(gt=0)
    learning_rate_rule: Rule = "inverse_square"
    warmup_steps: int = Field(0, ge=0, lt=2**31)
    batch_size: int | None = Field(None, ge=1)

    @abstractmethod
    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        """The optax transformation at this α, with these numbers in place of the fields."""

    @property
    def n_state_arrays(self) -> int:
        """How many arrays of the size of the parameters the optimizer's state holds."""
        return 1

    def rate_and_decay(self, alpha: float) -> tuple[float, float]:
        """Learning rate (after warmup) and decoupled weight decay at this α.

        Example:
            >>> AdamW(learning_rate=0.5, weight_decay=0.1, matched_decay=True).rate_and_decay(2.0)
            (0.25, 0.2)
        """
        return self.learning_rate / alpha**self.rate_power, 0.0

    @property
    def rate_power(self) -> int:
        """Power of 1/α in the learning rate."""
        return _POWERS[self.learning_rate_rule]

    @property
    def decay_power(self) -> int:
        """Power of α in the weight decay."""
        return 0

    def static_part(self) -> "Optimizer":
        """The same with all that runs of one compilation may differ in set alike."""
        alike = dict.fromkeys(self.dynamic_hyperparameters, 1.0)
        return self.model_copy(update=alike | {"learning_rate_rule": "fixed"})

    def _rate(self, hyper: Hyperparameters) -> optax.Schedule | Array:
        alpha = jnp.asarray(hyper.alpha)
        rate = hyper.optimizer.learning_rate / _power(alpha, hyper.optimizer.rate_power)
        if self.warmup_steps == 0:
            return rate
        return lambda count: (
            rate * jnp.minimum(jnp.asarray(count, rate.dtype) / self.warmup_steps, 1)
        )


class GradientDescent(Optimizer):
    """θ ← θ − η m with m ← μ m + ∇L; plain gradient descent at μ = 0.

    Attributes:
        momentum: μ, heavy-ball momentum, in [0, 1).

    Example:
        >>> GradientDescent(learning_rate=2.0, momentum=0.95).learning_rate_rule
        'inverse_square'
    """

    kind: Literal["gradient_descent"] = "gradient_descent"
    momentum: float = Field(0.0, ge=0, lt=1)

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.sgd(self._rate(hyper), momentum=self.momentum or None)


class _Adaptive(Optimizer):
    learning_rate_rule: Rule = "inverse"
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, ge=0)

    @property
    def n_state_arrays(self) -> int:
        return 2


class Adam(_Adaptive):
    """Adam; its neutral learning rate under scaling is η₀/α.

    Attributes:
        b1: decay of the mean gradient.
        b2: decay of the mean squared gradient.
        eps: added to the root of the latter.

    Example:
        >>> Adam(learning_rate=1e-3).learning_rate_rule
        'inverse'
    """

    kind: Literal["adam"] = "adam"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.adam(self._rate(hyper), b1=self.b1, b2=self.b2, eps=self.eps)


class DecoupledDecay(_Adaptive):
    """Settings of what ends with a step of AdamW, whatever comes before it; abstract.

    Attributes:
        b1: decay of the mean gradient.
        b2: decay of the mean squared gradient.
        eps: added to the root of the latter.
        weight_decay: λ, of which each step takes away η·λ·θ.
        matched_decay: hold learning rate times weight decay fixed as α moves.

    Example:
        >>> issubclass(AdamW, DecoupledDecay)
        True
    """

    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    weight_decay: float = Field(ge=0)
    matched_decay: bool = False

    def rate_and_decay(self, alpha: float) -> tuple[float, float]:
        rate, _ = super().rate_and_decay(alpha)
        return rate, self.weight_decay * alpha**self.decay_power

    @property
    def decay_power(self) -> int:
        return self.rate_power if self.matched_decay else 0

    def static_part(self) -> Optimizer:
        return super().static_part().model_copy(update={"matched_decay": False})

    def adamw(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        """The step of AdamW."""
        return optax.adamw(
            self._rate(hyper),
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            weight_decay=self._decay(hyper),
        )

    def decayed(
        self, direction: optax.GradientTransformation, hyper: Hyperparameters
    ) -> optax.GradientTransformation:
        """θ ← θ − η(direction + λθ): steps along another direction with AdamW's decay."""
        return optax.chain(
            direction,
            optax.add_decayed_weights(self._decay(hyper)),
            optax.scale_by_learning_rate(self._rate(hyper)),
        )

    def _decay(self, hyper: Hyperparameters) -> Array:
        decay = jnp.asarray(hyper.optimizer.weight_decay)
        return decay * _power(jnp.asarray(hyper.alpha), hyper.optimizer.decay_power)


class AdamW(DecoupledDecay):
    """Adam with decoupled weight decay: each step also takes away η·λ·θ.

    With a learning rate that follows α the decay of a step, η·λ, follows it too, so a
    sweep over α sweeps the decay as well. ``matched_decay`` holds η·λ at its value at
    α = 1.

    Attributes:
        b1: as for Adam; so are ``b2`` and ``eps``.
        weight_decay: λ.
        matched_decay: hold learning rate times weight decay fixed as α moves.

    Example:
        >>> AdamW(learning_rate=1e-3, weight_decay=1.0, matched_decay=True).kind
        'adamw'

    References:
        Loshchilov and Hutter (2019).
    """

    kind: Literal["adamw"] = "adamw"

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return self.adamw(hyper)
