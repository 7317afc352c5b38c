"""Presets: a working experiment for each kind of task."""

import warnings
from functools import cache
from typing import Literal, overload

from lazyrich._base import InputError
from lazyrich.models import CommitteeNet, MLPNet, TransformerNet
from lazyrich.tasks import ImageTask, ModularTask, ParityTask, PolynomialTask, TeacherTask

from ._committee import CommitteeExperiment
from ._experiment import Experiment, Scaling
from ._kernel_metrics import Alignment, KernelMovement
from ._optimizers import AdamW, GradientDescent
from ._output_metrics import Terms, ThresholdAccuracy
from ._parameter_metrics import ParameterChange
from ._parameter_metrics import WeightNorm as Norm


@overload
def preset(name: Literal["committee"]) -> CommitteeExperiment: ...


@overload
def preset(name: str) -> Experiment: ...


def preset(name: str) -> Experiment | CommitteeExperiment:
    """A complete experiment that generalises late in seconds, to be changed from there.

    Args:
        name: one of ``PRESETS``.

    Returns:
        The experiment, of ``CommitteeExperiment`` for "committee".

    Raises:
        InputError: if there is none of this name.

    Example:
        >>> lazier = preset("polynomial").changed({"scaling.alpha": 4.0})
        >>> lazier.task.kind, lazier.scaling.alpha
        ('polynomial', 4.0)
    """
    if name not in PRESETS:
        raise InputError(f"{name!r} is not a preset; choose {', '.join(PRESETS)}.")
    return PRESETS[name]()


def starting_point(name: str) -> Experiment | CommitteeExperiment:
    """The former name of ``preset``; to be removed in the next release.

    Args:
        name: one of ``PRESETS``.

    Returns:
        What ``preset`` returns, with a ``DeprecationWarning``.

    Raises:
        InputError: if there is none of this name.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     starting_point("parity") == preset("parity")
        True
    """
    warnings.warn(
        "starting_point is now called preset; use lazyrich.preset.",
        DeprecationWarning,
        stacklevel=2,
    )
    return preset(name)


@cache
def _polynomial() -> Experiment:
    """Quadratic regression with a committee machine (§5)."""
    return Experiment(
        task=PolynomialTask(dim=20, n_train=120, n_test=1000),
        net=CommitteeNet(width=200, epsilon=0.1),
        optimizer=GradientDescent(learning_rate=400.0),
        n_steps=4000,
        metrics=(Norm(), ParameterChange(), Terms(), Alignment()),
        linearized=True,
    )


@cache
def _committee() -> CommitteeExperiment:
    """The same by the exact dynamics of a wide committee machine (§5)."""
    return CommitteeExperiment(
        dim=20, width=200, n_train=120, epsilon=0.1, learning_rate=2.0, n_steps=4000, n_probe=200
    )


@cache
def _modular() -> Experiment:
    """Modular addition by gradient descent on the MSE, without weight decay (Figure 2)."""
    return Experiment(
        task=ModularTask(modulus=23, fraction=0.9),
        net=MLPNet(
            widths=(100,),
            activation="square",
            parameterisation="mean_field",
            initial="normal",
            use_bias=False,
        ),
        # α = 23 makes the output ½(1/N) W₂(W₁x)², at whose scale the rate is 100.
        scaling=Scaling(alpha=23.0, center=False),
        optimizer=GradientDescent(learning_rate=100.0, learning_rate_rule="fixed"),
        n_steps=8000,
    )


@cache
def _teacher() -> Experiment:
    """A student of a random teacher, its weights doubled (§8.3.1, Figure 8)."""
    return Experiment(
        task=TeacherTask(widths=(100, 100), dim=5, target_dim=5, n_train=100, n_test=100),
        net=MLPNet(widths=(100, 100), activation="tanh"),
        scaling=Scaling(center=False, weight_scale=2.0),
        optimizer=AdamW(learning_rate=3e-4, weight_decay=0.05, learning_rate_rule="fixed"),
        n_steps=30_000,
        metrics=(Norm(), ParameterChange(), ThresholdAccuracy()),
    )


@cache
def _digits() -> Experiment:
    """Small images of digits, every weight eight times as large (after Figure 6a)."""
    return Experiment(
        task=ImageTask(source="digits", n_train=500, n_test=1000),
        net=MLPNet(widths=(100, 100, 100)),
        scaling=Scaling(alpha=0.1, center=False, weight_scale=8.0),
        optimizer=AdamW(
            learning_rate=1e-3, weight_decay=0.1, learning_rate_rule="fixed", batch_size=100
        ),
        n_steps=10_000,
        metrics=(Norm(), ParameterChange(), KernelMovement(n_points=50)),
    )


@cache
def _transformer() -> Experiment:
    """Modular addition by a one-layer transformer (after Figure 6b)."""
    return Experiment(
        task=ModularTask(modulus=43, fraction=0.7, inputs="tokens"),
        net=TransformerNet(d_model=64, n_heads=4, d_mlp=256),
        scaling=Scaling(center=False),
        optimizer=AdamW(learning_rate=1e-3, weight_decay=1.0, b2=0.98),
        loss="cross_entropy",
        n_steps=1500,
    )


@cache
def _parity() -> Experiment:
    """The product of three of forty signs (sparse parity)."""
    return Experiment(
        task=ParityTask(dim=40, n_relevant=3, n_train=1000, n_test=1000),
        net=MLPNet(widths=(500,)),
        scaling=Scaling(center=False),
        optimizer=AdamW(learning_rate=1e-2, weight_decay=1e-2, batch_size=100),
        n_steps=10_000,
    )


PRESETS = {
    "polynomial": _polynomial,
    "modular": _modular,
    "teacher": _teacher,
    "digits": _digits,
    "transformer": _transformer,
    "parity": _parity,
    "committee": _committee,
}
"""Functions that make an experiment, by name; each says in one line what it is."""
