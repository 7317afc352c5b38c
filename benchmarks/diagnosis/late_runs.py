"""Late runs of six kinds, and what each cause of the advice would change in them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx

from lazyrich import preset
from lazyrich.diagnosis import THRESHOLDS, Settings
from lazyrich.tasks import ImageTask, ModularTask
from lazyrich.training import AdamW, Experiment, Inputs


class SmallReadout(Experiment):
    """An experiment whose last layer begins smaller.

    Attributes:
        readout_scale: the last layer of an MLP times this.
    """

    readout_scale: float = 1.0

    def sample(self, drawn: dict[Any, Any]) -> Inputs:
        """As an experiment, with the last layer scaled."""
        inputs = super().sample(drawn)
        params0 = eqx.tree_at(
            lambda net: (net.weights[-1], net.biases[-1]),
            inputs.params0,
            replace_fn=lambda leaf: leaf * self.readout_scale,
        )
        return inputs._replace(params0=params0)


class LateRun(NamedTuple):
    """A run that is late.

    Attributes:
        title: what it is.
        experiment: its settings.
        changes: by cause, what is done about it, in words and as settings.
        test_level: test error, relative to chance, below which it generalises.
        settings: how it is diagnosed.
    """

    title: str
    experiment: Experiment
    changes: Mapping[str, tuple[str, dict[str, Any]]]
    test_level: float = THRESHOLDS["late_error"].value
    settings: Settings = Settings()

    def with_changes(self, changes: dict[str, Any]) -> Experiment:
        """The experiment with some settings changed."""
        if "readout_scale" not in changes:
            return self.experiment.changed(changes)
        fields = {name: getattr(self.experiment, name) for name in Experiment.model_fields}
        return SmallReadout(**fields, **changes)


_ALONE = {"metrics": [], "linearized": False, "n_evals": 120}
_NORM = "a parameter norm that is larger than needed"
_INITIAL = "large initial outputs"
_LAZY = "lazy training"


def _decay(experiment: Experiment) -> tuple[str, dict[str, Any]]:
    decay = getattr(experiment.optimizer, "weight_decay", 0.0)
    return "weight decay × 3", {"weight_decay": 3 * decay}


def _alpha(experiment: Experiment, factor: float = 4) -> tuple[str, dict[str, Any]]:
    """Smaller α at a rate of 1/α; rate × decay stays, which would be a change of its own."""
    what = f"α ÷ {factor:g}, rate × {factor:g}, rate × decay as before"
    return what, {"alpha": experiment.scaling.alpha / factor}


def _late(title: str, experiment: Experiment, *causes: str, **others: Any) -> LateRun:
    made = {_NORM: _decay, _LAZY: _alpha}
    changes = {cause: made[cause](experiment) for cause in causes}
    return LateRun(title, experiment, others.pop("changes", {}) | changes, **others)


def _adamw(rate: float, decay: float) -> AdamW:
    return AdamW(learning_rate=rate, weight_decay=decay, matched_decay=True)


_POLYNOMIAL = preset("polynomial").changed(
    _ALONE
    | {"n_train": 100, "n_test": 300, "optimizer": _adamw(0.02, 0.01), "alpha": 8.0}
    | {"n_steps": 16_000}
)
_PARITY = preset("parity").changed(
    _ALONE
    | {"dim": 20, "n_train": 500, "n_test": 300, "widths": [100]}
    | {"optimizer": _adamw(0.01, 0.1), "n_steps": 6000}
)
_MODULAR = _PARITY.changed(
    {"task": ModularTask(modulus=23, fraction=0.8), "loss": "cross_entropy"}
    | {"optimizer": _adamw(0.01, 0.3), "n_steps": 6000}
)
_TRANSFORMER = preset("transformer").changed(
    _ALONE
    | {"modulus": 23, "fraction": 0.7, "d_model": 32, "d_mlp": 64}
    | {"optimizer": _adamw(2e-3, 1.0), "n_steps": 4000}
)
_TEACHER = preset("teacher").changed(_ALONE | {"optimizer": _adamw(1e-3, 0.05), "n_steps": 10_000})
_DIGITS = preset("digits").changed(
    _ALONE
    | {"task": ImageTask(source="mnist", n_train=300, n_test=300, size=14, subset="random")}
    | {"widths": [100, 100], "alpha": 1.0}
    | {"optimizer": _adamw(3e-3, 1.0), "n_steps": 6000}
)

RUNS = {
    "polynomial": _late("committee machine, ½(β·x)², α = 8, AdamW", _POLYNOMIAL, _LAZY, _NORM),
    "parity": _late("parity of 3 of 20 signs, MLP, AdamW", _PARITY, _NORM, _LAZY),
    "modular": _late("addition mod 23, MLP, cross-entropy, AdamW", _MODULAR, _NORM, _LAZY),
    "transformer": _late(
        "addition mod 23, transformer, AdamW",
        _TRANSFORMER,
        _NORM,
        _LAZY,
        settings=Settings(kernel="sketch"),
    ),
    "teacher": _late(
        "student and teacher 5-100-100-5, initial weights × 2, AdamW",
        _TEACHER,
        _NORM,
        changes={_INITIAL: ("last layer ÷ 4", {"readout_scale": 0.25})},
    ),
    "mnist": _late(
        "MNIST, 300 images of 14 × 14, initial weights × 8, MLP, AdamW",
        _DIGITS,
        _NORM,
        changes={_INITIAL: ("last layer ÷ 50", {"readout_scale": 0.02})},
        test_level=0.4,
    ),
}
