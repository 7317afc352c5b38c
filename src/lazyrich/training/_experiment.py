"""An experiment: all settings that determine what a run computes."""

from collections.abc import Hashable, Mapping
from functools import lru_cache, partial
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
from jaxtyping import PyTree
from pydantic import Field, model_validator

from lazyrich._base import (
    AddedLater,
    Config,
    InputError,
    Params,
    Status,
    require_steps,
    say_renamed,
)
from lazyrich.models import AnyNet, Net
from lazyrich.tasks import AnyTask

from ._history import FORMER_RECORDS, Description
from ._hyperparameters import Hyperparameters, dynamic_part
from ._memory_needs import network_needs
from ._metric_kinds import AnyMetric
from ._network import NetworkKey, network_program
from ._optimizer_kinds import AnyOptimizer
from ._parameter_metrics import ParameterChange, WeightNorm
from ._printed import PrintedDraw, require_no_seed, require_printable, with_marks
from ._resolution import require_representable
from ._sample import Source, sampled
from ._schedule import log_steps
from ._simulation import Inputs, Program, Simulation
from ._stop import Stop as Stop
from .methods import AnyObjective, Plain, scale_first_layer

NUMERICS_VERSION = 1
"""Raised when the same experiment would give other numbers; part of the store's key."""


class Scaling(Config):
    """Output scale, weight scale and label scale: how lazy, and how large.

    Attributes:
        alpha: α, output scale (Eq. 7).
        center: train α[f(θ) − f(θ₀)]; else αf(θ). Weight decay does not go with it: it
            drags the centred net towards −αf(θ₀).
        weight_scale: σ, every initial parameter times this.
        label_scale: every label times this. For a Hermite task ε/2 is what a net with the
            activation h + (ε/2) He_k(h) makes itself, and 1/√k! gives unit variance.
        first_layer_scale: κ, the first layer times this and the last divided by it; None
            is 1. See ``scale_first_layer``.

    Example:
        >>> Scaling(alpha=10.0).center  # the initial output is subtracted unless told otherwise
        True
    """

    alpha: float = Field(1.0, gt=0)
    center: bool = True
    weight_scale: float = Field(1.0, gt=0)
    label_scale: float = 1.0
    first_layer_scale: Annotated[float | None, Field(gt=0), AddedLater()] = None


class Experiment(Simulation):
    """A task, a net, their scaling, an optimizer, and what to record when.

    Attributes:
        task: what is learned.
        net: the function with parameters.
        optimizer: how it is trained.
        scaling: α, σ and the label scale.
        loss: "mse", the mean over rows and outputs of (f − y)², or "cross_entropy".
        n_steps: optimizer updates.
        n_evals: at most how many evaluation steps, evenly spaced in log step.
        eval_steps: the evaluation steps themselves, to which 0 and ``n_steps`` are added;
            None makes them from ``n_evals``.
        metrics: what to record besides losses and, of classes, accuracies.
        stop: when to end early.
        seed: of the weights, the batches, and the data unless the task has its own.
        precision: of parameters and data, "float32" or "float64". Both draw the same
            numbers.
        printed: draw data and weights as a printed figure has them, from these keys;
            None draws them from the seed.
        linearized: also train the linearized network, on the same batches by the same
            optimizer; records ``linearized_train_loss``, ``linearized_test_loss``, and
            accuracies of classes.
        objective: what a step descends, where that is not the loss; records hold the loss.

    Raises:
        InputError: if a value is out of range, or parts do not go together.

    Example:
        >>> from lazyrich.models import CommitteeNet
        >>> from lazyrich.tasks import PolynomialTask
        >>> from lazyrich.training import GradientDescent
        >>> experiment = Experiment(
        ...     task=PolynomialTask(dim=10, n_train=40, n_test=100),
        ...     net=CommitteeNet(width=50, epsilon=0.5),
        ...     optimizer=GradientDescent(learning_rate=5.0),
        ...     n_steps=100,
        ... )
        >>> experiment.changed({"scaling.alpha": 2.0}).scaling.alpha
        2.0
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "n_saves": "n_evals",
        "save_steps": "eval_steps",
        "probes": "metrics",
    }
    renamed: ClassVar[Mapping[str, tuple[str, object]]] = {"has_twin": ("linearized", None)}
    former_records: ClassVar[Mapping[str, str]] = FORMER_RECORDS

    task: AnyTask
    net: AnyNet
    optimizer: AnyOptimizer
    scaling: Scaling = Scaling()
    loss: Literal["mse", "cross_entropy"] = "mse"
    n_steps: int = Field(gt=0, lt=2**31)
    n_evals: int = Field(100, ge=2)
    eval_steps: tuple[int, ...] | None = None
    metrics: tuple[AnyMetric, ...] = (WeightNorm(), ParameterChange())
    stop: Stop = Stop()
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["float32", "float64"] = "float32"
    printed: Annotated[PrintedDraw | None, AddedLater()] = None
    linearized: Annotated[bool, AddedLater()] = False
    objective: Annotated[AnyObjective, AddedLater()] = Plain()

    @model_validator(mode="before")
    @classmethod
    def _one_label_scale(cls, given: object) -> object:
        """Labels of files from before had a scale in the task, beside that of the scaling."""
        if not isinstance(given, Mapping):
            return given
        task, scaling = given.get("task"), given.get("scaling", Scaling())
        if not isinstance(task, Mapping) or not isinstance(scaling, Scaling | Mapping):
            return given
        scale, old = task.get("label_scale", 1.0), dict(scaling)
        is_plain = _is_number(scale) and _is_number(old.get("label_scale", 1.0))
        if scale == 1.0 or not is_plain or task.get("kind") not in ("polynomial", "hermite"):
            return given
        say_renamed("task.label_scale", "scaling.label_scale")
        rest = {name: value for name, value in task.items() if name != "label_scale"}
        both = old | {"label_scale": old.get("label_scale", 1.0) * scale}
        return {**given, "task": rest, "scaling": both}

    @model_validator(mode="before")
    @classmethod
    def _linearized_is_a_setting(cls, given: object) -> object:
        """Older files, and callers, may name the linearized network as a metric."""
        field = "probes" if isinstance(given, Mapping) and "probes" in given else "metrics"
        if not isinstance(given, Mapping) or not _is_named(given.get(field)):
            return given
        others = [metric for metric in given[field] if not _is_linearized(metric)]
        if len(others) + 1 < len(given[field]):
            raise InputError(
                "the metrics name the linearized network more than once; give linearized=True "
                "instead"
            )
        return {**given, field: others, "linearized": True}

    @model_validator(mode="after")
    def _parts_go_together(self) -> "Experiment":
        _require_fitting_parts(self)
        require_representable(self.scaling.alpha, self.precision)
        for metric in self.metrics:
            metric.check(self.task, self.net)
        self.objective.check(self.task, self.loss)
        if self.printed is not None:
            require_no_seed(self.seed)
            if self.scaling.first_layer_scale is not None:
                raise InputError(
                    "scaling.first_layer_scale is given with printed weights, which have a "
                    "fixed scale; leave one of them out"
                )
            require_printable(self.printed, self.task, self.net)
        names = [metric.kind for metric in self.metrics]
        if len(set(names)) < len(names):
            raise InputError(f"the metrics {names} repeat one; name each metric once")
        return self

    @property
    def schedule(self) -> np.ndarray:
        """The steps at which the run is measured, increasing."""
        if self.eval_steps is not None:
            return np.unique([0, *self.eval_steps, self.n_steps])
        steps = log_steps(self.n_steps, self.n_evals)
        return steps if self.printed is None else with_marks(steps)

    @property
    def numerics(self) -> dict[str, int]:
        """Versions of what computes the numbers; part of the store's key."""
        return {"training": NUMERICS_VERSION, "task": self.task.version}

    @property
    def uses_x64(self) -> bool:
        """As the precision says."""
        return self.precision == "float64"

    def changed(self, changes: Mapping[str, object]) -> "Experiment":
        """The same experiment with some settings changed, by dotted path.

        As for any ``Config``. A new list of metrics also says anew whether the linearized
        network is trained, unless ``linearized`` is given: it once stood among them.
        """
        given = changes.get("metrics", changes.get("probes"))
        if given is not None and "linearized" not in changes:
            changes = {**changes, "linearized": _is_named(given)}
        return super().changed(changes)

    def static_key(self) -> NetworkKey:
        """All but α, ε, σ, label scale, learning rate, its rule, weight decay, seeds and steps."""
        net, task, objective = self.net, self.task, self.objective
        same: dict[str, object] = {"data_seed": None, "split_seed": None}
        return NetworkKey(
            task=task.model_copy(update=same | dict.fromkeys(task.dynamic_hyperparameters, 1)),
            net=net.model_copy(update=dict.fromkeys(net.dynamic_hyperparameters, 1.0)),
            optimizer=self.optimizer.static_part(),
            loss=self.loss,
            metrics=self.metrics,
            center=self.scaling.center,
            is_linearized=self.linearized,
            precision=self.precision,
            objective=objective.model_copy(
                update=dict.fromkeys(objective.dynamic_hyperparameters, 1.0)
            ),
        )

    def sample(self, drawn: dict[Hashable, PyTree]) -> Inputs:
        """Data, initial weights and dynamic hyperparameters, rounded from double precision."""
        scaling = self.scaling
        source = Source(
            self.task,
            self.net,
            scaling.weight_scale,
            scaling.label_scale,
            seed=self.seed,
            precision=self.precision,
            printed=self.printed,
            first_layer_scale=scaling.first_layer_scale,
        )
        numbers = (*self.optimizer.dynamic_hyperparameters, "rate_power", "decay_power")
        hyper = Hyperparameters(
            scaling.alpha,
            scaling.label_scale,
            net=dynamic_part(self.net, self.net.dynamic_hyperparameters),
            optimizer=dynamic_part(self.optimizer, numbers),
            objective=dynamic_part(self.objective, self.objective.dynamic_hyperparameters),
        )
        return sampled(source, self.static_key(), hyper, drawn)

    @classmethod
    def compile(cls, static_key: NetworkKey) -> Program:
        """The functions that train and measure the network."""
        return network_program(static_key)

    @property
    def ends_when_solved(self) -> bool:
        """As ``stop`` says."""
        return self.stop.is_asked_for

    def is_done(self, start: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
        """Whether it is solved or has diverged, and is to stop then."""
        has_diverged = self.stop.when_diverged and super().is_done(start, now)
        return has_diverged or self.stop.is_solved(start, now)

    def status(self, records: Mapping[str, np.ndarray]) -> Status:
        """Diverged if a loss was not finite; out of steps if it was to be solved and was not."""
        status = super().status(records)
        if status is not Status.ok or not self.stop.is_asked_for:
            return status
        each = [
            {name: values[k] for name, values in records.items()}
            for k in range(len(records["train_loss"]))
        ]
        is_solved = any(self.stop.is_solved(each[0], now) for now in each)
        return Status.ok if is_solved else Status.out_of_steps

    def describe(self, params: Params) -> dict[str, Description]:
        """Units of the losses, and what the metrics say of their records."""
        unit = "nats" if self.loss == "cross_entropy" else "label units²"
        losses = ("train_loss", "test_loss", "linearized_train_loss", "linearized_test_loss")
        about = {name: Description(unit) for name in losses}
        for metric in self.metrics:
            about |= metric.describe(params)
        return about

    def memory_needs(self) -> Mapping[str, float]:
        """Data, parameters, activations, kernels of metrics, records."""
        return network_needs(self)


def _is_linearized(metric: object) -> bool:
    return isinstance(metric, Mapping) and metric.get("kind") in ("linearized", "twin")


def _is_named(metrics: object) -> bool:
    """Whether the linearized network stands among the metrics, as it once did."""
    return isinstance(metrics, list | tuple) and any(map(_is_linearized, metrics))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_fitting_parts(experiment: Experiment) -> None:
    task, net, optimizer = experiment.task, experiment.net, experiment.optimizer
    has_tokens = task.vocabulary is not None
    if has_tokens != (net.takes == "tokens"):
        given = "tokens" if has_tokens else "vectors"
        raise InputError(
            f"the task {task.kind} gives {given} and the net {net.kind} takes {net.takes}; "
            "choose another net, or the task's other inputs"
        )
    if experiment.loss == "cross_entropy" and task.labels != "classes":
        raise InputError(
            f"cross_entropy needs classes and the labels of {task.kind} are real numbers; "
            "take the loss mse"
        )
    if experiment.loss == "cross_entropy" and experiment.scaling.label_scale != 1:
        raise InputError("label_scale must be 1 with cross_entropy, whose labels are classes")
    if experiment.stop.solved_accuracy is not None and task.labels != "classes":
        raise InputError(
            f"stop.solved_accuracy needs classes and the labels of {task.kind} are real "
            "numbers; use stop.solved_loss"
        )
    _require_initial(net, task.n_inputs, task.n_outputs, task.vocabulary)
    if experiment.scaling.first_layer_scale is not None:
        _require_initial(
            net,
            task.n_inputs,
            task.n_outputs,
            task.vocabulary,
            first_layer_scale=experiment.scaling.first_layer_scale,
        )
    if optimizer.batch_size is not None and optimizer.batch_size > task.n_train:
        raise InputError(
            f"optimizer.batch_size is {optimizer.batch_size} and there are {task.n_train} "
            "training points; take a smaller batch, or None for all"
        )
    if experiment.eval_steps is not None:
        require_steps(np.asarray(experiment.eval_steps))
        if experiment.eval_steps[-1] > experiment.n_steps:
            raise InputError(
                f"eval_steps ends at {experiment.eval_steps[-1]}, after n_steps "
                f"{experiment.n_steps}; let it end earlier"
            )


@lru_cache
def _require_initial(
    net: Net,
    n_inputs: int,
    n_outputs: int | None,
    vocabulary: int | None,
    *,
    first_layer_scale: float | None = None,
) -> None:
    """Let the net refuse a task of these sizes, without drawing any weights."""
    start = partial(net.init, n_inputs=n_inputs, n_outputs=n_outputs, vocabulary=vocabulary)
    shapes = jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)))
    if first_layer_scale is not None:
        jax.eval_shape(partial(scale_first_layer, scale=first_layer_scale), shapes)
