"""Grokfast: slow components of the gradient amplified by a low-pass filter."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree, ScalarLike
from pydantic import Field

from .._hyperparameters import Hyperparameters
from .._optimizers import DecoupledDecay


class AverageState(NamedTuple):
    """The averaged gradient, and how many gradients have been seen.

    Attributes:
        count: number of gradients.
        average: h, in the form of the parameters.
    """

    count: Array
    average: PyTree


class WindowState(NamedTuple):
    """The latest gradients and their sum.

    Attributes:
        count: number of gradients so far.
        latest: the gradients of the window, in the form of the parameters with an axis in front.
    """

    count: Array
    latest: PyTree


def grokfast_ema(*, decay: ScalarLike, gain: ScalarLike) -> optax.GradientTransformation:
    """g ← g + λh with h ← κh + (1 − κ)g, the exponential moving average of the gradients.

    h begins at the first gradient. With λ = 0 gradients pass unchanged.

    Args:
        decay: κ, in [0, 1); the average reaches back about 1/(1 − κ) steps.
        gain: λ, how much of the average is added.

    Returns:
        A transformation to be chained before an optimizer.

    Example:
        >>> step = grokfast_ema(decay=0.5, gain=2.0)
        >>> state = step.init(jnp.zeros(1))
        >>> _, state = step.update(jnp.ones(1), state)
        >>> step.update(jnp.zeros(1), state)[0].tolist()  # 0 + 2 · (½ · 1)
        [1.0]

    References:
        Lee et al. (2024), Grokfast, arXiv:2405.20233, Algorithm 2.
    """

    def init(params: PyTree) -> AverageState:
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None
    ) -> tuple[PyTree, AverageState]:
        del params
        is_first = state.count == 0

        def averaged(old: Array, new: Array) -> Array:
            return jnp.where(is_first, new, decay * old + (1 - decay) * new).astype(new.dtype)

        average = jax.tree.map(averaged, state.average, updates)
        amplified = jax.tree.map(
            lambda new, slow: new + jnp.asarray(gain, new.dtype) * slow, updates, average
        )
        return amplified, AverageState(state.count + 1, average)

    return optax.GradientTransformation(init, update)


def grokfast_ma(*, window: int, gain: ScalarLike) -> optax.GradientTransformation:
    """g ← g + λh with h the mean of the latest w gradients, once there are so many.

    It holds w gradients in memory.

    Args:
        window: w, number of gradients.
        gain: λ, how much of the mean is added.

    Returns:
        A transformation to be chained before an optimizer.

    Example:
        >>> step = grokfast_ma(window=2, gain=1.0)
        >>> state = step.init(jnp.zeros(1))
        >>> first, state = step.update(jnp.ones(1), state)
        >>> second, state = step.update(jnp.zeros(1), state)
        >>> first.tolist(), second.tolist()
        ([1.0], [0.5])

    References:
        Lee et al. (2024), Grokfast, arXiv:2405.20233, Algorithm 1.
    """

    def init(params: PyTree) -> WindowState:
        latest = jax.tree.map(lambda leaf: jnp.zeros((window, *leaf.shape), leaf.dtype), params)
        return WindowState(jnp.zeros((), jnp.int32), latest)

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, WindowState]:
        del params
        place = state.count % window
        latest = jax.tree.map(lambda kept, new: kept.at[place].set(new), state.latest, updates)
        is_full = state.count + 1 >= window

        def amplified(new: Array, kept: Array) -> Array:
            strength = jnp.where(is_full, jnp.asarray(gain, new.dtype), 0).astype(new.dtype)
            return new + strength * kept.mean(0)

        return jax.tree.map(amplified, updates, latest), WindowState(state.count + 1, latest)

    return optax.GradientTransformation(init, update)


class GrokfastEMA(DecoupledDecay):
    """AdamW on gradients to which λ times their exponential moving average is added.

    Attributes:
        decay: κ of the average.
        gain: λ; 0 is AdamW.

    Example:
        >>> GrokfastEMA(learning_rate=1e-3, weight_decay=1.0).gain
        2.0

    References:
        Lee et al. (2024), Grokfast, arXiv:2405.20233.
    """

    kind: Literal["grokfast_ema"] = "grokfast_ema"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = (
        "learning_rate",
        "weight_decay",
        "decay",
        "gain",
    )
    decay: float = Field(0.98, ge=0, lt=1)
    gain: float = Field(2.0, ge=0)

    @property
    def n_state_arrays(self) -> int:
        return 3

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        numbers = hyper.optimizer
        return optax.chain(grokfast_ema(decay=numbers.decay, gain=numbers.gain), self.adamw(hyper))


class GrokfastMA(DecoupledDecay):
    """AdamW on gradients to which λ times the mean of the latest w is added.

    Attributes:
        window: w, number of gradients that are averaged and held in memory.
        gain: λ; 0 is AdamW.

    Example:
        >>> GrokfastMA(learning_rate=1e-3, weight_decay=1.0).window
        100

    References:
        Lee et al. (2024), Grokfast, arXiv:2405.20233.
    """

    kind: Literal["grokfast_ma"] = "grokfast_ma"
    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "gain")
    window: int = Field(100, ge=1, le=10_000)
    gain: float = Field(5.0, ge=0)

    @property
    def n_state_arrays(self) -> int:
        return 2 + self.window

    def transformation(self, hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(
            grokfast_ma(window=self.window, gain=hyper.optimizer.gain), self.adamw(hyper)
        )
