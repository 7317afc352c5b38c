"""The settings of the page's first view: a committee machine that a browser can train."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, model_validator

from lazyrich._base import Config, InputError
from lazyrich.explorer._page import SLIDERS


def _slider(name: str) -> Any:
    one = SLIDERS[name]
    return Field(one["start"], ge=one["low"], le=one["high"])


class PlaySettings(Config):
    """A committee machine on the polynomial task, small enough for a browser.

    Without label noise and with a finite width it is the ``CommitteeExperiment`` of these
    settings, of which ``n_test`` is 1000. The ranges are those of the page's sliders.

    Attributes:
        alpha: α, output scale.
        epsilon: ε, quadratic strength of the activation.
        dim: D, number of inputs.
        n_train: P, number of training points, at most 12.5 D.
        width: N, number of hidden units; None for infinitely many.
        weight_scale: σ, standard deviation of the initial weights.
        learning_rate: η₀ in units of N/α².
        momentum: μ of heavy-ball descent.
        noise: standard deviation of normal noise on the training labels, label units.
        seed: of data, weights and noise.
        center: train α[f(θ) − f(θ₀)] (Eq. 7).
        n_steps: gradient-descent steps.
        keys: of a printed figure's arrays: inputs, test inputs, target and weights; None
            draws them from the seed.

    Raises:
        InputError: if a value is out of its slider's range, or parts do not go together.

    Example:
        >>> PlaySettings(alpha=4.0).n_train
        120
    """

    alpha: float = _slider("alpha")
    epsilon: float = _slider("epsilon")
    dim: int = _slider("dim")
    n_train: int = _slider("n_train")
    width: Annotated[int, Field(ge=2, le=1000)] | None = 200
    weight_scale: float = _slider("weight_scale")
    learning_rate: float = _slider("learning_rate")
    momentum: float = _slider("momentum")
    noise: float = _slider("noise")
    seed: int = _slider("seed")
    center: bool = True
    n_steps: int = _slider("n_steps")
    keys: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt, NonNegativeInt] | None = None

    @model_validator(mode="after")
    def _parts_go_together(self) -> "PlaySettings":
        low, high = SLIDERS["n_train"]["ratios"]
        if not low * self.dim <= self.n_train <= high * self.dim:
            raise InputError(
                f"n_train is {self.n_train} with {self.dim} inputs; give "
                f"{low * self.dim:g} to {high * self.dim:g}"
            )
        if self.keys is not None and (self.seed or self.noise or self.width is None):
            raise InputError(
                "a printed figure is one draw of a finite network without noise; take the seed 0, "
                "noise 0 and a width"
            )
        return self
