"""One trial: an experiment with early stopping on validation rows."""

from collections.abc import Hashable, Mapping
from typing import Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int, PyTree, Shaped
from pydantic import Field, model_validator

from lazyrich._base import Config, InputError, Status
from lazyrich.kernels import ntk
from lazyrich.training import (
    Experiment,
    Inputs,
    Program,
    Simulation,
    Snapshot,
    accuracy,
    cross_entropy,
    mean_squared_error,
)
from lazyrich.training._network import NetworkKey

NUMERICS_VERSION = 1
"""Raised when the same trial would give other numbers; part of the store's key."""

_LOSSES = {"mse": mean_squared_error, "cross_entropy": cross_entropy}


class Target(Config):
    """What counts as generalising.

    Attributes:
        metric: "accuracy" of at least the level, or "loss" of at most that.
        level: a share, or the loss in its own unit.

    Example:
        >>> Target(metric="accuracy", level=0.95).is_met(0.96)
        True
    """

    metric: Literal["accuracy", "loss"]
    level: float = Field(gt=0)

    @overload
    def is_met(self, value: float) -> bool: ...

    @overload
    def is_met(self, value: np.ndarray) -> np.ndarray: ...

    @overload
    def is_met(self, value: Array) -> Array: ...

    def is_met(self, value: float | np.ndarray | Array) -> bool | np.ndarray | Array:
        """Whether a value meets the target; arrays are fine, and NaN never does."""
        return value >= self.level if self.metric == "accuracy" else value <= self.level


class Trial(Simulation):
    """An experiment with its test rows divided, that ends once validation holds the target.

    Every other pair of test rows, counted from the end, is for validation: mirrored pairs
    of a commutative operation stand beside each other and stay together. What is left is
    the test set, which is read at the last step alone.

    Attributes:
        experiment: what is trained; the last ``hold`` of its steps only confirm a target
            that was reached before them.
        target: on the validation rows.
        hold: number of further steps for which the target must stay met.
        every: steps between evaluations.
        n_kernel_rows: also record the cosine of the tangent kernel with that at the start,
            on so many training rows; 0 does not.
        edition: hash of the rules under which the trial is made.

    Raises:
        InputError: if the target does not fit the task, or the steps do not fit ``every``.

    Example:
        >>> from lazyrich.training import preset
        >>> base = preset("parity").changed({"n_steps": 400})
        >>> trial = Trial(experiment=base, target=Target(metric="loss", level=0.1))
        >>> trial.max_steps, trial.schedule[:3].tolist()
        (200, [0, 10, 20])
    """

    experiment: Experiment
    target: Target
    hold: int = Field(200, ge=0)
    every: int = Field(10, ge=1)
    n_kernel_rows: int = Field(0, ge=0)
    edition: str = ""

    @model_validator(mode="after")
    def _fits(self) -> "Trial":
        one = self.experiment
        if self.target.metric == "accuracy" and one.task.labels != "classes":
            raise InputError(
                f"the target is an accuracy and the labels of {one.task.kind} are real numbers; "
                "take a loss"
            )
        if one.n_steps % self.every or self.hold % self.every or self.hold >= one.n_steps:
            raise InputError(
                f"n_steps {one.n_steps} and hold {self.hold} must be multiples of every "
                f"{self.every}, and hold the smaller"
            )
        if one.task.n_test < 4:
            raise InputError(
                f"the task has {one.task.n_test} test rows and 4 are the least that can be divided "
                "into validation and test; give more"
            )
        return self

    @property
    def max_steps(self) -> int:
        """T_max: the target counts if it is reached at or before this step."""
        return self.experiment.n_steps - self.hold

    @property
    def schedule(self) -> np.ndarray:
        return np.arange(0, self.experiment.n_steps + 1, self.every)

    @property
    def numerics(self) -> dict[str, int]:
        return self.experiment.numerics | {"race": NUMERICS_VERSION}

    @property
    def uses_x64(self) -> bool:
        return self.experiment.uses_x64

    def static_key(self) -> Hashable:
        """That of the experiment, with what decides how it is watched."""
        return TrialKey(self.experiment.static_key(), self.target, self.every, self.n_kernel_rows)

    def sample(self, drawn: dict[Hashable, PyTree]) -> Inputs:
        """The experiment's inputs, with validation rows where its test rows were."""
        inputs = self.experiment.sample(drawn)
        data = inputs.data
        chosen = is_validation(len(data.x_test))
        return inputs._replace(
            data=TrialData(
                data.x,
                data.y,
                x_test=data.x_test[chosen],
                y_test=data.y_test[chosen],
                target=data.target,
                x_final=data.x_test[~chosen],
                y_final=data.y_test[~chosen],
            )
        )

    @classmethod
    def compile(cls, static_key: "TrialKey") -> Program:
        """The network's program, with the streak of evaluations that meet the target."""
        return _program(static_key)

    def is_done(self, start: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
        """Whether the target has held for long enough, or a loss is not finite."""
        del start
        return bool(now["held_steps"] >= self.hold) or not _is_finite(now)

    def status(self, records: Mapping[str, np.ndarray]) -> Status:
        """Diverged if a loss was not finite; out of steps if the target was not held."""
        if not _is_finite(records):
            return Status.diverged
        is_held = np.asarray(records["held_steps"]) >= self.hold
        return Status.ok if is_held.any() else Status.out_of_steps

    def finish(
        self, inputs: Inputs, steps: np.ndarray, records: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The records, with the test set's only at the last step and NaN before it."""
        del inputs, steps
        kept = {name: values for name, values in records.items() if "/" not in name}
        for name in set(records) - set(kept):
            values = np.full(len(records[name]), np.nan)
            values[-1] = records[name][-1]
            kept[f"final_test_{name.removeprefix('test/')}"] = values
        return kept

    def memory_needs(self) -> Mapping[str, float]:
        """Those of the experiment, recorded as often as the trial is."""
        n_evals = self.experiment.n_steps // self.every + 1
        return self.experiment.changed({"eval_steps": None, "n_evals": n_evals}).memory_needs()


class TrialKey(NamedTuple):
    """What decides the compiled program of a trial.

    Attributes:
        network: the experiment's own key.
        target: on the validation rows.
        every: steps between evaluations.
        n_kernel_rows: as in ``Trial``.
    """

    network: NetworkKey
    target: Target
    every: int
    n_kernel_rows: int


class TrialData(NamedTuple):
    """A task's data in three parts; the network's program takes validation for its test rows.

    Attributes:
        x: training inputs.
        y: training labels.
        x_test: validation inputs.
        y_test: validation labels.
        target: what made the labels.
        x_final: test inputs.
        y_final: test labels.
    """

    x: Shaped[Array, "n ..."]
    y: Shaped[Array, "n ..."]
    x_test: Shaped[Array, "m ..."]
    y_test: Shaped[Array, "m ..."]
    target: PyTree
    x_final: Shaped[Array, "k ..."]
    y_final: Shaped[Array, "k ..."]


class TrialState(NamedTuple):
    """What changes from step to step.

    Attributes:
        network: the network's state.
        since: step of the first evaluation of the present streak; −1 outside one.
    """

    network: PyTree
    since: Int[Array, ""]


def is_validation(n: int) -> np.ndarray:
    """Which of n test rows are for validation: every other pair, counted from the end."""
    from_the_end = np.arange(n)[::-1]
    return (from_the_end // 2) % 2 == 0


def _is_finite(records: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(records[f"{part}_loss"]).all() for part in ("train", "validation"))


def _program(key: TrialKey) -> Program:
    network = Experiment.compile(key.network)
    metric = f"test_{key.target.metric}"

    def init(inputs: Inputs) -> tuple[PyTree, TrialState]:
        constants, state = network.init(inputs)
        return constants, TrialState(state, jnp.asarray(-1, jnp.int32))

    def advance(
        inputs: Inputs,
        constants: PyTree,
        state: TrialState,
        first_step: ArrayLike,
        n_steps: ArrayLike,
    ) -> TrialState:
        after = network.advance(inputs, constants, state.network, first_step, n_steps)
        step = jnp.asarray(first_step + n_steps, jnp.int32)

        def streak() -> Array:
            value = network.measure(inputs, constants, after, step)[0][metric]
            begun = jnp.where(state.since < 0, step, state.since)
            return jnp.where(key.target.is_met(value), begun, -1).astype(jnp.int32)

        # The loop may stop in between, to look at the clock: nothing may depend on that.
        since = jax.lax.cond(step % key.every == 0, streak, lambda: state.since)
        return TrialState(after, since)

    def measure(
        inputs: Inputs, constants: PyTree, state: TrialState, step: ArrayLike
    ) -> tuple[dict[str, Array], Snapshot]:
        records, snapshot = network.measure(inputs, constants, state.network, step)
        records = {
            name.replace("test_", "validation_", 1): value for name, value in records.items()
        }
        records["held_steps"] = jnp.where(state.since < 0, -1, step - state.since)
        records["logit_scale"] = jnp.sqrt(jnp.square(snapshot.outputs).mean())
        outputs = snapshot.predict(snapshot.params, inputs.data.x_final)
        records["test/loss"] = _LOSSES[key.network.loss](outputs, inputs.data.y_final)
        if key.network.task.labels == "classes":
            records["test/accuracy"] = accuracy(outputs, inputs.data.y_final)
        if key.n_kernel_rows:
            records["kernel_cosine"] = _kernel_cosine(snapshot, key.n_kernel_rows)
        return records, snapshot

    return Program(
        init,
        advance,
        measure,
        lambda inputs, state, step: network.params(inputs, state.network, step),
    )


def _kernel_cosine(snapshot: Snapshot, n_rows: int) -> Array:
    x = snapshot.data.x[:n_rows]
    start, now = (
        ntk(snapshot.predict, params, x, trace_outputs=True)
        for params in (snapshot.params0, snapshot.params)
    )
    return jnp.vdot(start, now) / (jnp.linalg.norm(start) * jnp.linalg.norm(now))
