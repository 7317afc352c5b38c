"""The training loop: advances a batch of runs from evaluation to evaluation and checkpoints it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ._batch import Batch, Metrics
from ._checkpoint import Saved, write_checkpoint
from ._history import Description, History, Record
from ._simulation import Inputs, Simulation


class RunState:
    """One run on its way: what was measured so far, and whether it still goes on."""

    def __init__(
        self,
        simulation: Simulation,
        inputs: Inputs,
        saved: Saved | None,
        checkpoint: Path | None,
        metrics: Metrics,
    ) -> None:
        self.simulation = simulation
        self.inputs = inputs
        self.checkpoint = checkpoint
        self.metrics = tuple(name for name, _ in metrics)
        self.schedule: list[int] = [int(step) for step in simulation.schedule]
        saved = saved or Saved(0, None, np.array([], int), {}, 0.0)
        self.steps: list[int] = saved.steps.tolist()
        self.step = saved.step
        self.leaves = saved.leaves
        self.wall_seconds = saved.wall_seconds
        self.measured = [
            {name: np.asarray(values[k]) for name, values in saved.records.items()}
            for k in range(len(self.steps))
        ]
        self.is_done = any(map(self._ends, self.measured))

    @property
    def is_active(self) -> bool:
        """Whether there is anything left to do."""
        return not self.is_done and len(self.steps) < len(self.schedule)

    def add(self, step: int, records: dict[str, np.ndarray]) -> None:
        """Keep what was measured at an evaluation."""
        self.steps.append(step)
        self.measured.append(records)
        self.is_done = self.is_done or self._ends(records)

    def _ends(self, records: dict[str, np.ndarray]) -> bool:
        simulation = self.simulation
        return simulation.may_end_early and simulation.is_done(self.measured[0], records)

    @property
    def scalars(self) -> dict[str, float]:
        """The records at the latest evaluation that are one number each."""
        latest = self.measured[-1].items()
        return {name: float(v) for name, v in latest if v.ndim == 0 and "/" not in name}

    @property
    def n_left(self) -> int:
        """Steps that an early end saves."""
        return self.schedule[-1] - self.steps[-1]

    def records(self) -> dict[str, np.ndarray]:
        """Everything measured, with an axis of evaluations in front."""
        return {name: np.stack([one[name] for one in self.measured]) for name in self.measured[0]}

    def keep(self, step: int, leaves: list[np.ndarray]) -> None:
        """Write a checkpoint, if one is wanted and there is something to keep."""
        if self.checkpoint is not None and self.steps:
            steps, seconds = np.array(self.steps), self.wall_seconds
            saved = Saved(step, leaves, steps, self.records(), seconds, self.metrics)
            write_checkpoint(self.checkpoint, self.simulation, saved)

    def history(self, params: PyTree) -> History:
        """What is left of a finished run with these parameters."""
        begin = time.monotonic()
        steps, measured = np.array(self.steps), self.records()
        status = self.simulation.status(measured)
        about = self.simulation.describe(params)
        records = {
            name: Record(values, *about.get(name, _plain(values)))
            for name, values in self.simulation.finish(self.inputs, steps, measured).items()
        }
        self.wall_seconds += time.monotonic() - begin
        return History(self.simulation, steps, records, status, params, self.wall_seconds)


def _plain(values: np.ndarray) -> Description:
    axes = tuple(f"axis_{k}" for k in range(values.ndim - 1))
    return Description(axes=axes, coordinates=(None,) * len(axes))


class Callbacks(NamedTuple):
    """Callbacks during a run, and when to stop.

    Attributes:
        on_steps: called with how many steps have just been made, of all runs together.
        on_evaluation: called with the scalar records and the step of a run.
        should_stop: asked every second or so; True keeps the state and ends.
        checkpoint_seconds: least time between two checkpoints.
    """

    on_steps: Callable[[int], None]
    on_evaluation: Callable[[dict[str, float], int], None]
    should_stop: Callable[[], bool]
    checkpoint_seconds: float


def drive(runs: Sequence[RunState], batch: Batch, callbacks: Callbacks) -> list[History] | None:
    """Take every run to its end, all of them at the same step.

    Args:
        runs: with the same evaluation steps, at the same step.
        batch: their inputs, in the same order; there may be more to fill the devices.
        callbacks: whom to tell.

    Returns:
        The histories, or None if the runs were stopped; then their state is kept.
    """
    is_over = not any(run.is_active for run in runs)
    constants, state = jax.eval_shape(batch.start) if is_over else batch.start()
    if runs[0].leaves is not None:
        state = _restored(runs, state, is_batch=batch.n_runs is not None)
    if not is_over:
        state = _Loop(runs, batch, callbacks, constants).run(state)
    if state is None:
        return None
    ends = np.array([run.steps[-1] for run in runs])
    ends = ends[0] if batch.n_runs is None else np.resize(ends, batch.n_runs)
    params = jax.device_get(batch.params(batch.inputs, state, ends))
    return [
        run.history(jax.tree.map(np.asarray, batch.row(params, k))) for k, run in enumerate(runs)
    ]


class _Loop:
    """Runs on their way from evaluation to evaluation.

    Steps and evaluations are handed to the device without waiting for them; about once a
    second, and where a record may end a run, the loop waits for what is on its way.
    """

    def __init__(
        self, runs: Sequence[RunState], batch: Batch, callbacks: Callbacks, constants: PyTree
    ) -> None:
        self.runs, self.batch, self.callbacks = runs, batch, callbacks
        self.constants = constants
        self.step = runs[0].step
        self.clock = _Clock(runs)
        self.on_the_way: list[tuple[int, np.ndarray, dict[str, PyTree]]] = []
        self.n_unsaid = self.n_unwaited = 0
        self.may_end_early = runs[0].simulation.may_end_early

    def run(self, state: PyTree) -> PyTree:
        """The state after the last step; None if the runs were stopped."""
        for target in self.runs[0].schedule[len(self.runs[0].steps) :]:
            active = np.array([run.is_active for run in self.runs])
            if not active.any():
                break
            while self.step < target:
                state = self._advance(state, target, active)
                if self.n_unwaited >= self.clock.steps_in_a_second and not self._wait(state):
                    return None
            records = self.batch.measure(self.batch.inputs, self.constants, state, self.step)
            self.on_the_way.append((target, active, records))
            if self.may_end_early and not self._wait(state):
                return None
        self._take_records(state)
        self._keep(state)
        return state

    def _advance(self, state: PyTree, target: int, active: np.ndarray) -> PyTree:
        n_steps = min(target - self.step, self.clock.steps_in_a_second - self.n_unwaited)
        mask = active[0] if self.batch.n_runs is None else np.resize(active, self.batch.n_runs)
        inputs, constants = self.batch.inputs, self.constants
        state = self.batch.advance(inputs, constants, state, mask, (self.step, n_steps))
        self.step += n_steps
        self.n_unwaited += n_steps
        self.n_unsaid += n_steps * int(active.sum())
        return state

    def _wait(self, state: PyTree) -> bool:
        """Wait for what was asked for; False if the runs are to stop here."""
        self._take_records(state)
        is_to_stop = self.callbacks.should_stop()
        if is_to_stop or self.clock.is_time(self.callbacks.checkpoint_seconds):
            self._keep(state)
        return not is_to_stop

    def _take_records(self, state: PyTree) -> None:
        """Hand over what was measured, once the device has come so far."""
        jax.block_until_ready(state)
        self.clock.tick(self.n_unwaited)
        if self.n_unsaid:
            self.callbacks.on_steps(self.n_unsaid)
        self.n_unwaited = self.n_unsaid = 0
        taken, self.on_the_way = self.on_the_way, []
        for target, active, records in taken:
            measured = jax.device_get(records)
            self.clock.tick()
            for k, run in enumerate(self.runs):
                if active[k]:
                    run.add(target, jax.tree.map(np.asarray, self.batch.row(measured, k)))
                    self.callbacks.on_evaluation(run.scalars, run.steps[-1])

    def _keep(self, state: PyTree) -> None:
        if not any(run.checkpoint for run in self.runs):
            return
        leaves = jax.tree.leaves(jax.device_get(state))
        for k, run in enumerate(self.runs):
            run.keep(self.step, [np.asarray(leaf) for leaf in self.batch.row(leaves, k)])


def _restored(runs: Sequence[RunState], state: PyTree, *, is_batch: bool) -> PyTree:
    saved = [run.leaves for run in runs]
    fresh, tree = jax.tree.flatten(state)
    columns = zip(*(leaves for leaves in saved if leaves is not None), strict=True)
    leaves = [np.stack(column) if is_batch else column[0] for column in columns]
    return jax.tree.unflatten(
        tree, [jnp.asarray(leaf, like.dtype) for leaf, like in zip(leaves, fresh, strict=True)]
    )


class _Clock:
    """Time spent, shared equally among the runs of a batch, and the pace of their steps."""

    def __init__(self, runs: Sequence[RunState]) -> None:
        self.runs = runs
        self.last = self.kept = time.monotonic()
        self.steps_in_a_second = 1

    def tick(self, n_steps: int = 0) -> None:
        now = time.monotonic()
        spent = now - self.last
        for run in self.runs:
            run.wall_seconds += spent / len(self.runs)
        self.last = now
        if n_steps:
            # The first steps pay for compilation: grow by a bounded factor.
            pace = int(n_steps / max(spent, 1e-9))
            self.steps_in_a_second = max(1, min(pace, 100 * self.steps_in_a_second))

    def is_time(self, seconds: float) -> bool:
        if self.last - self.kept < seconds:
            return False
        self.kept = self.last
        return True
