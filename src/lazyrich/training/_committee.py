"""The committee machine on the polynomial task, trained by its exact closed dynamics."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lazyrich._ground import AddedLater, Config, InputError, Status, shown
from lazyrich.nets import CommitteeNet
from lazyrich.tasks import PolynomialTask, TaskData, scale_labels

from ._committee_run import UNITS, Inputs, Outcome, closed_forms, run_one, run_together
from ._history import History, Record
from ._memory import memory_errors_said, require_memory
from ._printed import (
    PrintedDraw,
    printed_polynomial,
    printed_weights,
    require_no_seed,
    with_marks,
)
from ._save_plan import log_steps

COMMITTEE_VERSION = 1
"""Raised when the same experiment would give other numbers; part of the store's key."""

_MOST_LANES = 8


class CommitteeExperiment(Config):
    """A committee machine with fixed readouts on y = (s/2) Σ_k (β_k·x)² (§5).

    Data and initial weights are those that an ``Experiment`` with the same seed draws.

    Attributes:
        dim: D, number of inputs.
        width: N, number of hidden units.
        n_train: P, number of training points.
        alpha: α, output scale.
        epsilon: ε, quadratic strength of the activation.
        learning_rate: η₀ in units of N/α²; in "flow" the flow time of one step.
        n_steps: gradient-descent steps.
        dynamics: "descent", step by step; or "flow", its limit at a vanishing learning
            rate, at a hundredth of the cost for long runs.
        momentum: μ of heavy-ball descent.
        center: train α[f(θ) − f(θ₀)] (Eq. 7).
        weight_scale: σ, standard deviation of the initial weights.
        label_scale: s, every label times this.
        n_directions: number of directions β_k in the target.
        aligned: c; ±c β/√(αε), the solution's weights, is added to the initial rows.
        mixed: q; each initial row w_i becomes (1 − q) w_i ± q β/√(αε), signs in turn; None
            leaves them as they are.
        n_test: number of test points.
        n_probe: test points on which the kernel is measured; 0 measures no kernel.
        n_saves: at most how many records.
        has_twin: record the linearised twin, and regression with the initial kernel.
        has_printed_alignment: record the alignment as Figure 1(c) plots it, too.
        has_split: record how far the weights go inside the initial tangent space of the
            training set, and outside of it.
        seed: of data and weights.
        precision: of the loop; what it starts from is drawn in double precision anyway.
        printed: draw data and weights as a printed figure has them, from these keys;
            None draws them from the seed.

    Raises:
        InputError: if a value is out of range, or parts do not go together.

    Example:
        >>> experiment = CommitteeExperiment(dim=10, width=50, n_train=40, n_steps=100)
        >>> experiment.changed({"alpha": 2.0}).alpha
        2.0
    """

    dim: PositiveInt
    width: PositiveInt
    n_train: PositiveInt
    alpha: PositiveFloat = 1.0
    epsilon: PositiveFloat = 0.02
    learning_rate: PositiveFloat = 1.0
    n_steps: int = Field(gt=0, lt=2**31)
    dynamics: Literal["descent", "flow"] = "descent"
    momentum: float = Field(0.0, ge=0, lt=1)
    center: bool = True
    weight_scale: PositiveFloat = 1.0
    label_scale: PositiveFloat = 1.0
    n_directions: PositiveInt = 1
    aligned: float = Field(0.0, ge=0)
    mixed: Annotated[float | None, Field(ge=0, le=1), AddedLater()] = None
    n_test: PositiveInt = 1000
    n_probe: int = Field(0, ge=0)
    n_saves: int = Field(100, ge=2)
    has_twin: bool = True
    has_printed_alignment: Annotated[bool, AddedLater()] = False
    has_split: bool = False
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Annotated[Literal["float32", "float64"], AddedLater()] = "float32"
    printed: Annotated[PrintedDraw | None, AddedLater()] = None

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CommitteeExperiment":
        if self.n_probe > self.n_test:
            raise InputError(
                f"n_probe is {self.n_probe}; the kernel is measured on test points, of which "
                f"there are {self.n_test}: choose 0 to {self.n_test}"
            )
        if self.dynamics == "flow" and self.momentum:
            raise InputError("momentum needs steps; take the dynamics descent, or momentum 0")
        if self.mixed is not None and self.aligned:
            raise InputError("mixed and aligned both put the solution in; give one of them")
        if self.printed is not None:
            require_no_seed(self.seed)
            if (len(self.printed.target_keys), len(self.printed.weight_keys)) != (
                self.n_directions,
                1,
            ):
                raise InputError("a printed draw needs a key for each direction and one of weights")
        return self

    @property
    def numerics(self) -> dict[str, int]:
        """Versions of what computes the numbers; part of the store's key."""
        return {"committee": COMMITTEE_VERSION, "task": PolynomialTask.version}

    @property
    def plan(self) -> np.ndarray:
        """The save points, increasing step numbers."""
        steps = log_steps(self.n_steps, self.n_saves)
        return steps if self.printed is None else with_marks(steps)


def train_committee(
    experiments: Sequence[CommitteeExperiment | Any],
    *,
    on_finished: Callable[[int, History], None] | None = None,
) -> list[History]:
    """Train committee machines exactly, many at once.

    Runs of "descent" that differ in numbers alone go through one ``vmap``; runs of
    "flow", whose steps are their own, go through threads. The loops run in float32 on
    the weights' displacement; kernels are decomposed in float64, because the quadratic
    modes that matter lie up to 10⁵ below the top of the spectrum.

    Args:
        experiments: in any order and mixture.
        on_finished: called with the position and the history of each run as it ends.

    Returns:
        Histories in the order of the experiments; ``params`` holds the last w̄ and M.

    Example:
        >>> from lazyrich.training import CommitteeExperiment, train_committee
        >>> [found] = train_committee([CommitteeExperiment(
        ...     dim=5, width=50, n_train=40, epsilon=0.5, n_steps=1000, n_test=50)])
        >>> bool(found.train_loss[-1] < 0.01 * found.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    for one in experiments:
        if not isinstance(one, CommitteeExperiment):
            raise InputError(
                f"train_committee got {type(one).__name__} {shown(one)}; give "
                "CommitteeExperiments, or use train_many for others."
            )
    require_memory(experiments)
    groups: dict[CommitteeExperiment, list[int]] = defaultdict(list)
    for k, experiment in enumerate(experiments):
        groups[_blueprint(experiment)].append(k)
    found: dict[int, History] = {}

    def compute(places: Sequence[int], programs: _Programs) -> None:
        with memory_errors_said():
            histories = _train([experiments[k] for k in places], programs)
        for k, history in zip(places, histories, strict=True):
            found[k] = history
            if on_finished is not None:
                on_finished(k, history)

    alone = []
    for plan, places in groups.items():
        if plan.dynamics == "flow":
            programs = _compiled(plan, experiments[places[0]])
            alone += [([k], programs) for k in places]
        else:
            programs = _Programs(partial(run_one, plan), partial(closed_forms, plan))
            for first in range(0, len(places), _MOST_LANES):
                compute(places[first : first + _MOST_LANES], programs)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: compute(*job), alone))
    return [found[k] for k in range(len(experiments))]


def _blueprint(experiment: CommitteeExperiment) -> CommitteeExperiment:
    """The experiment with everything set alike that runs of one batch may differ in."""
    alike: dict[str, Any] = dict.fromkeys(
        ("alpha", "epsilon", "learning_rate", "weight_scale", "label_scale"), 1.0
    )
    alike |= {"momentum": 0.5 if experiment.momentum else 0.0, "seed": 0, "aligned": 0.0}
    alike |= {"mixed": None, "printed": experiment.printed and PrintedDraw()}
    if experiment.dynamics == "flow":
        alike["learning_rate"] = experiment.learning_rate  # its save points are flow times
    return experiment.model_copy(update=alike)


_DIALS = ("alpha", "epsilon", "learning_rate", "momentum")


class _Programs(NamedTuple):
    """The two parts of a run, for inputs of its plan."""

    loop: Callable[[Inputs], Outcome]
    forms: Callable[[Inputs, Any], dict[str, jax.Array]]


def _compiled(plan: CommitteeExperiment, example: CommitteeExperiment) -> _Programs:
    """Both parts compiled here, once: threads that trace together do the work twice."""
    if plan not in _kept:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        with jax.enable_x64(True):
            inputs = _draw(example)
            gone = jax.eval_shape(lambda one: run_one(plan, one), inputs).gone
            loop = run_one.lower(plan, inputs).compile()
            _kept[plan] = _Programs(loop, closed_forms.lower(plan, inputs, gone).compile())
    return _kept[plan]


_kept: dict[CommitteeExperiment, _Programs] = {}
_MOST_KEPT = 32


def _train(experiments: Sequence[CommitteeExperiment], programs: _Programs) -> list[History]:
    begin = time.monotonic()
    plan = _blueprint(experiments[0])
    with jax.enable_x64(True):
        inputs = [_draw(experiment) for experiment in experiments]
        if len(inputs) == 1:
            found = [programs.loop(inputs[0])]
        else:
            together = run_together(plan, jax.tree.map(lambda *a: jnp.stack(a), *inputs))
            found = [jax.tree.map(lambda a, i=i: a[i], together) for i in range(len(inputs))]
        measured = [
            jax.device_get(one._replace(curves=one.curves | programs.forms(start, one.gone)))
            for start, one in zip(inputs, found, strict=True)
        ]
    seconds = (time.monotonic() - begin) / len(experiments)
    return [
        _history(experiment, plan.plan, one, seconds)
        for experiment, one in zip(experiments, measured, strict=True)
    ]


def _history(
    experiment: CommitteeExperiment, steps: np.ndarray, found: Outcome, seconds: float
) -> History:
    records = {
        name: Record(np.asarray(values, np.float64), UNITS.get(name, "dimensionless"))
        for name, values in found.curves.items()
    }
    return History(experiment, steps, records, Status(int(found.status)), found.last, seconds)


def _draw(experiment: CommitteeExperiment) -> Inputs:
    data, weights = _sample(experiment)
    # Signs in turn leave the mean weight alone.
    signs = jnp.where(jnp.arange(experiment.width) % 2, -1.0, 1.0)
    size = (experiment.label_scale / (experiment.alpha * experiment.epsilon)) ** 0.5
    solution = size * signs[:, None] * data.target[0]
    if experiment.mixed is not None:
        weights = (1 - experiment.mixed) * weights + experiment.mixed * solution
    else:
        weights = weights + experiment.aligned * solution
    dials = {name: jnp.asarray(getattr(experiment, name), float) for name in _DIALS}
    dials["label_scale"] = jnp.asarray(experiment.label_scale, float)
    return Inputs(data, weights, dials)


def _sample(experiment: CommitteeExperiment) -> tuple[TaskData, Array]:
    """Data and random weights, of the seed or of a printed figure."""
    sizes = {name: getattr(experiment, name) for name in ("dim", "n_train", "n_test")}
    if experiment.printed is not None:
        drawn = printed_weights(experiment.printed, width=experiment.width, dim=experiment.dim)
        data = printed_polynomial(experiment.printed, **sizes, label_scale=experiment.label_scale)
        return data, experiment.weight_scale * drawn
    task = PolynomialTask(**sizes, n_directions=experiment.n_directions)
    data = scale_labels(task.draw(experiment.seed), experiment.label_scale)
    params = CommitteeNet(width=experiment.width).init(
        jax.random.fold_in(jax.random.key(experiment.seed), 2),
        n_inputs=experiment.dim,
        n_outputs=None,
        weight_scale=experiment.weight_scale,
    )
    return data, params.weights
