"""One experiment: everything that decides what a run computes, and nothing else."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

import jax
import numpy as np
from pydantic import Field, model_validator

from lazyrich._ground import AddedLater, Config, InputError, require_steps, say_renamed
from lazyrich.nets import AnyNet, Net
from lazyrich.tasks import AnyTask

from ._optimizers import AnyOptimizer
from ._printed import PrintedDraw, require_no_seed, require_printable, with_marks
from ._probes import AnyProbe, ParameterChange, WeightNorm
from ._save_plan import log_steps

NUMERICS_VERSION = 1
"""Raised when the same experiment would give other numbers; part of the store's key."""


class Scaling(Config):
    """The dials of laziness and size.

    Attributes:
        alpha: α, output scale (Eq. 7).
        center: train α[f(θ) − f(θ₀)]; else αf(θ). Weight decay does not go with it: it
            drags the centred net towards −αf(θ₀).
        weight_scale: σ, every initial parameter times this.
        label_scale: every label times this. For a Hermite task ε/2 is what a net with the
            activation h + (ε/2) He_k(h) makes itself, and 1/√k! gives unit variance.
    """

    alpha: float = Field(1.0, gt=0)
    center: bool = True
    weight_scale: float = Field(1.0, gt=0)
    label_scale: float = 1.0


class Stop(Config):
    """When a run may end before its last step.

    Attributes:
        solved_loss: end once the test loss is at or below this share of the train loss
            at the start; None never does.
        solved_accuracy: end once the test accuracy is at or above this; None never does.
        when_diverged: end once a loss is not finite, and with it in the history.
    """

    solved_loss: float | None = Field(None, gt=0)
    solved_accuracy: float | None = Field(None, gt=0, le=1)
    when_diverged: bool = True

    @property
    def is_asked_for(self) -> bool:
        """Whether there is a notion of solved."""
        return self.solved_loss is not None or self.solved_accuracy is not None


class Experiment(Config):
    """A task, a net, their scaling, an optimizer, and what to record when.

    Attributes:
        task: what is learned.
        net: the function with parameters.
        optimizer: how it is trained.
        scaling: α, σ and the label scale.
        loss: "mse", the mean over rows and outputs of (f − y)², or "cross_entropy".
        n_steps: optimizer updates.
        n_saves: at most how many save points, evenly spaced in log step.
        save_steps: the save points themselves, to which 0 and ``n_steps`` are added; None
            makes them from ``n_saves``.
        probes: what to record besides losses and, of classes, accuracies.
        stop: when to end early.
        seed: of the weights, the batches, and the data unless the task has its own.
        precision: of parameters and data, "float32" or "float64". Both draw the same
            numbers.
        printed: draw data and weights as a printed figure has them, from these keys;
            None draws them from the seed.

    Raises:
        InputError: if a value is out of range, or parts do not go together.

    Example:
        >>> from lazyrich.nets import CommitteeNet
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

    task: AnyTask
    net: AnyNet
    optimizer: AnyOptimizer
    scaling: Scaling = Scaling()
    loss: Literal["mse", "cross_entropy"] = "mse"
    n_steps: int = Field(gt=0, lt=2**31)
    n_saves: int = Field(100, ge=2)
    save_steps: tuple[int, ...] | None = None
    probes: tuple[AnyProbe, ...] = (WeightNorm(), ParameterChange())
    stop: Stop = Stop()
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Literal["float32", "float64"] = "float32"
    printed: Annotated[PrintedDraw | None, AddedLater()] = None

    @model_validator(mode="before")
    @classmethod
    def _one_label_scale(cls, given: Any) -> Any:
        """Labels of files from before had a scale in the task, beside that of the scaling."""
        task = given.get("task") if isinstance(given, Mapping) else None
        scaling = given.get("scaling", Scaling()) if isinstance(given, Mapping) else None
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

    @model_validator(mode="after")
    def _parts_go_together(self) -> "Experiment":
        _require_fitting_parts(self)
        for probe in self.probes:
            probe.check(self.task, self.net)
        if self.printed is not None:
            require_no_seed(self.seed)
            require_printable(self.printed, self.task, self.net)
        names = [probe.kind for probe in self.probes]
        if len(set(names)) < len(names):
            raise InputError(f"the probes {names} repeat one; name each probe once")
        return self

    @property
    def plan(self) -> np.ndarray:
        """The save points, increasing step numbers."""
        if self.save_steps is not None:
            return np.unique([0, *self.save_steps, self.n_steps])
        steps = log_steps(self.n_steps, self.n_saves)
        return steps if self.printed is None else with_marks(steps)

    @property
    def numerics(self) -> dict[str, int]:
        """Versions of what computes the numbers; part of the store's key."""
        return {"training": NUMERICS_VERSION, "task": self.task.version}


def _is_number(value: Any) -> bool:
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
    if optimizer.batch_size is not None and optimizer.batch_size > task.n_train:
        raise InputError(
            f"optimizer.batch_size is {optimizer.batch_size} and there are {task.n_train} "
            "training points; take a smaller batch, or None for all"
        )
    if experiment.save_steps is not None:
        require_steps(np.asarray(experiment.save_steps))
        if experiment.save_steps[-1] > experiment.n_steps:
            raise InputError(
                f"save_steps ends at {experiment.save_steps[-1]}, after n_steps "
                f"{experiment.n_steps}; let it end earlier"
            )


@lru_cache
def _require_initial(
    net: Net, n_inputs: int, n_outputs: int | None, vocabulary: int | None
) -> None:
    """Let the net refuse a task of these sizes, without drawing any weights."""
    start = partial(net.init, n_inputs=n_inputs, n_outputs=n_outputs, vocabulary=vocabulary)
    jax.eval_shape(start, jax.eval_shape(lambda: jax.random.key(0)))
