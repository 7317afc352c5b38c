"""The committee machine on the polynomial task, trained by its exact closed dynamics."""

from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lazyrich._base import AddedLater, InputError, Status
from lazyrich.models import CommitteeNet
from lazyrich.tasks import PolynomialTask, TaskData, scale_labels
from lazyrich.theory import DisplacementMoments

from ._committee_forms import closed_forms
from ._committee_program import (
    CommitteeHyperparameters,
    CommitteeKey,
    committee_program,
)
from ._history import FORMER_RECORDS, Description
from ._memory_needs import committee_needs
from ._printed import (
    PrintedDraw,
    printed_polynomial,
    printed_weights,
    require_no_seed,
    with_marks,
)
from ._resolution import require_representable
from ._schedule import log_steps
from ._simulation import Inputs, Program, Simulation

COMMITTEE_VERSION = 1
"""Raised when the same experiment would give other numbers; part of the store's key."""

_FLOW_VERSION = 1
"""The same for flows alone, which had none at first."""


class CommitteeExperiment(Simulation):
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
        n_probe: test points on which the kernel is measured, at least 4; 0 measures no
            kernel.
        n_evals: at most how many records.
        linearized: record the linearized network, and regression with the initial kernel.
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

    former_names: ClassVar[Mapping[str, str]] = {"n_saves": "n_evals", "has_twin": "linearized"}
    absent: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("metrics", "probes"), "a committee machine records all its quantities"
    )
    former_records: ClassVar[Mapping[str, str]] = FORMER_RECORDS | {
        f"motion/{name}": f"displacement/{name}" for name in DisplacementMoments._fields
    }

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
    n_evals: int = Field(100, ge=2)
    linearized: bool = True
    has_printed_alignment: Annotated[bool, AddedLater()] = False
    has_split: bool = False
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Annotated[Literal["float32", "float64"], AddedLater()] = "float32"
    printed: Annotated[PrintedDraw | None, AddedLater()] = None

    @model_validator(mode="after")
    def _parts_go_together(self) -> "CommitteeExperiment":
        require_representable(self.alpha, self.precision)
        if self.n_probe > self.n_test:
            raise InputError(
                f"n_probe is {self.n_probe}; the kernel is measured on test points, of which "
                f"there are {self.n_test}: choose 0 to {self.n_test}"
            )
        if 0 < self.n_probe < _LEAST_PROBED:
            raise InputError(
                f"n_probe is {self.n_probe}; the alignment of the kernel needs {_LEAST_PROBED} "
                "points or more: choose 0, which measures no kernel, or more"
            )
        if self.dynamics == "flow" and self.momentum:
            raise InputError("momentum needs steps; take the dynamics descent, or momentum 0")
        if self.mixed is not None and self.aligned:
            raise InputError("mixed and aligned both add the solution's weights; give one of them")
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
        found = {"committee": COMMITTEE_VERSION, "task": PolynomialTask.version}
        return found | {"flow": _FLOW_VERSION} if self.dynamics == "flow" else found

    @property
    def schedule(self) -> np.ndarray:
        """The steps at which the run is measured, increasing."""
        steps = log_steps(self.n_steps, self.n_evals)
        return steps if self.printed is None else with_marks(steps)

    @property
    def uses_x64(self) -> bool:
        """Always: the precision is that of the loop alone."""
        return True

    @property
    def has_even_steps(self) -> bool:
        """A flow is solved in as many steps as it needs."""
        return self.dynamics == "descent"

    def static_key(self) -> CommitteeKey:
        """Sizes, dynamics and what is recorded."""
        return CommitteeKey(
            sizes=(self.dim, self.n_train, self.n_test, self.n_directions),
            width=self.width,
            dynamics=self.dynamics,
            has_momentum=self.momentum > 0,
            center=self.center,
            n_probe=self.n_probe,
            has_printed_alignment=self.has_printed_alignment,
            has_split=self.has_split,
            is_linearized=self.linearized,
            precision=self.precision,
        )

    def sample(self, drawn: dict[Hashable, PyTree]) -> Inputs:
        """Data, initial weights and dynamic hyperparameters, in double precision."""
        del drawn
        data, weights = _data_and_weights(self)
        # Signs in turn leave the mean weight alone.
        signs = jnp.where(jnp.arange(self.width) % 2, -1.0, 1.0)
        size = (self.label_scale / (self.alpha * self.epsilon)) ** 0.5
        solution = size * signs[:, None] * data.target[0]
        if self.mixed is not None:
            weights = (1 - self.mixed) * weights + self.mixed * solution
        else:
            weights = weights + self.aligned * solution
        names = CommitteeHyperparameters._fields
        hyper = (jnp.asarray(getattr(self, name), float) for name in names)
        return Inputs(data, weights, CommitteeHyperparameters(*hyper))

    @classmethod
    def compile(cls, static_key: CommitteeKey) -> Program:
        """The exact dynamics of the equivalent machine's rows."""
        return committee_program(static_key)

    @property
    def may_end_early(self) -> bool:
        """Never: a run that diverges is recorded to its end."""
        return False

    def status(self, records: Mapping[str, np.ndarray]) -> Status:
        """Diverged if a train loss was not finite; out of steps if the flow's solver gave up."""
        if not records.get("flow/is_reached", np.ones(1, bool)).all():
            return Status.out_of_steps
        return Status.ok if np.isfinite(records["train_loss"]).all() else Status.diverged

    def finish(
        self, inputs: Inputs, steps: np.ndarray, records: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The records with the closed forms of the initial kernel, in double precision."""
        parts = {
            name.split("/")[1]: v for name, v in records.items() if name[:13] == "displacement/"
        }
        plain = {name: values for name, values in records.items() if "/" not in name}
        forms = closed_forms(self.static_key(), inputs, steps, parts)
        return {name: np.asarray(v, np.float64) for name, v in (plain | forms).items()}

    def describe(self, params: PyTree) -> dict[str, Description]:
        """Units of the losses and of the terms of the loss."""
        del params
        return dict.fromkeys(_SQUARES, Description("label units²"))

    def memory_needs(self) -> Mapping[str, float]:
        """Data, weights, kernels, records."""
        return committee_needs(self)


_LEAST_PROBED = 4
"""As in ``debiased_alignment``."""
_SQUARES = (
    "train_loss",
    "test_loss",
    "test_loss_error",
    "kernel_regression_loss",
    "linearized_train_loss",
    "linearized_test_loss",
    "variance_term",
    "misalignment_term",
    "linear_term",
)


def _data_and_weights(experiment: CommitteeExperiment) -> tuple[TaskData, Array]:
    """Data and random weights, of the seed or of a printed figure."""
    sizes = {name: getattr(experiment, name) for name in ("dim", "n_train", "n_test")}
    if experiment.printed is not None:
        drawn = printed_weights(experiment.printed, width=experiment.width, dim=experiment.dim)
        data = printed_polynomial(experiment.printed, **sizes, label_scale=experiment.label_scale)
        return data, experiment.weight_scale * drawn
    task = PolynomialTask(**sizes, n_directions=experiment.n_directions)
    data = scale_labels(task.sample(experiment.seed), experiment.label_scale)
    params = CommitteeNet(width=experiment.width).init(
        jax.random.fold_in(jax.random.key(experiment.seed), 2),
        n_inputs=experiment.dim,
        n_outputs=None,
        weight_scale=experiment.weight_scale,
    )
    return data, params.weights
