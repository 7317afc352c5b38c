"""Runs that go through their save points side by side."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lazyrich._ground import Status

from ._checkpoint import Saved, write_checkpoint
from ._engine import Inputs, Measure, State, program
from ._experiment import Experiment
from ._history import History, Record
from ._probes import Description

Measures = tuple[tuple[str, Measure], ...]


class Run:
    """One run on its way: what was measured so far, and whether it still goes on."""

    def __init__(
        self, experiment: Experiment, inputs: Inputs, saved: Saved | None, checkpoint: Path | None
    ) -> None:
        self.experiment = experiment
        self.inputs = inputs
        self.checkpoint = checkpoint
        self.plan = experiment.plan
        saved = saved or Saved(0, None, np.array([], int), {}, 0.0)
        self.steps: list[int] = saved.steps.tolist()
        self.seen: list[dict[str, np.ndarray]] = []
        self.step = saved.step
        self.leaves = saved.leaves
        self.wall_seconds = saved.wall_seconds
        self.is_diverged = self.is_solved = False
        for k in range(len(self.steps)):
            self._judge({name: np.asarray(v[k]) for name, v in saved.records.items()})

    @property
    def is_active(self) -> bool:
        """Whether there is anything left to do."""
        stop = self.experiment.stop
        is_over = self.is_solved or (self.is_diverged and stop.when_diverged)
        return not is_over and len(self.steps) < len(self.plan)

    def add(self, step: int, seen: dict[str, np.ndarray]) -> None:
        """Keep what was measured at a save point."""
        self.steps.append(step)
        self._judge(seen)

    def _judge(self, seen: dict[str, np.ndarray]) -> None:
        self.seen.append(seen)
        losses = seen["train_loss"], seen["test_loss"]
        self.is_diverged = self.is_diverged or not np.isfinite(losses).all()
        stop, start = self.experiment.stop, self.seen[0]["train_loss"]
        if stop.solved_loss is not None and losses[1] <= stop.solved_loss * start:
            self.is_solved = True
        accuracy = seen.get("test_accuracy")
        if stop.solved_accuracy is not None and accuracy is not None:
            self.is_solved = self.is_solved or bool(accuracy >= stop.solved_accuracy)

    def records(self) -> dict[str, np.ndarray]:
        """Everything measured, with an axis of save points in front."""
        return {name: np.stack([seen[name] for seen in self.seen]) for name in self.seen[0]}

    def keep(self, step: int, leaves: list[np.ndarray]) -> None:
        """Write a checkpoint, if one is wanted and there is something to keep."""
        if self.checkpoint is not None and self.steps:
            steps, seconds = np.array(self.steps), self.wall_seconds
            saved = Saved(step, leaves, steps, self.records(), seconds)
            write_checkpoint(self.checkpoint, self.experiment, saved)

    def history(self, state: State) -> History:
        """What is left of a finished run; ``state`` is its last."""
        params = state.learners[""].params
        about: dict[str, Description] = {}
        unit = "nats" if self.experiment.loss == "cross_entropy" else "label units²"
        for name in ("train_loss", "test_loss", "twin_train_loss", "twin_test_loss"):
            about[name] = Description(unit)
        for probe in self.experiment.probes:
            about |= probe.describe(params)
        records = {
            name: Record(values, *about.get(name, _plain(values)))
            for name, values in self.records().items()
        }
        status = Status.ok
        if self.is_diverged:
            status = Status.diverged
        elif self.experiment.stop.is_asked_for and not self.is_solved:
            status = Status.out_of_steps
        steps = np.array(self.steps)
        return History(self.experiment, steps, records, status, params, self.wall_seconds)


def _plain(values: np.ndarray) -> Description:
    axes = tuple(f"axis_{k}" for k in range(values.ndim - 1))
    return Description(axes=axes, coordinates=(None,) * len(axes))


class Compiled(NamedTuple):
    """Inputs of a lane on its devices, and the functions that advance it."""

    inputs: Inputs
    start: Callable[[], tuple[Any, State]]
    advance: Callable[..., State]
    observe: Callable[..., dict[str, Any]]
    is_batch: bool

    @property
    def n_runs(self) -> int:
        """How many runs the inputs hold."""
        return len(self.inputs.dials["alpha"]) if self.is_batch else 1


def compiled(
    blueprint: Experiment, inputs: Sequence[Inputs], measures: Measures, *, devices: Any = None
) -> Compiled:
    """One run, or a batch of them with a leading axis, spread over devices if given."""
    if len(inputs) == 1 and devices is None:
        found, batch = jax.tree.map(jnp.asarray, inputs[0]), "one"
    else:
        is_shared = all(one.data is inputs[0].data for one in inputs)
        batch = "shared" if is_shared else "runs"
        found = jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs)
        if is_shared:
            found = found._replace(data=jax.tree.map(jnp.asarray, inputs[0].data))
        if devices is not None:
            found = _spread(found, devices, is_shared=is_shared)
    parts = program(blueprint, measures, batch)
    return Compiled(
        found, lambda: parts.start(found), parts.advance, parts.observe, is_batch=batch != "one"
    )


def _spread(inputs: Inputs, devices: Sequence[Any], *, is_shared: bool) -> Inputs:
    mesh = jax.sharding.Mesh(np.array(devices), ("run",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("run"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    data = jax.device_put(inputs.data, whole if is_shared else rows)
    dials, params0, key, prepared = jax.device_put(
        (inputs.dials, inputs.params0, inputs.key, inputs.prepared), rows
    )
    return Inputs(dials, params0, data, key, prepared)


class Watch(NamedTuple):
    """Who looks on while runs go, and when they are to stop.

    Attributes:
        on_steps: called with how many steps have just been made, of all runs together.
        on_save: called with a run after each of its save points.
        should_stop: asked every second or so; True keeps the state and ends.
        checkpoint_seconds: least time between two checkpoints.
    """

    on_steps: Callable[[int], None]
    on_save: Callable[[Run], None]
    should_stop: Callable[[], bool]
    checkpoint_seconds: float


def drive(runs: Sequence[Run], lane: Compiled, watch: Watch) -> list[History] | None:
    """Take every run to its end, all of them at the same step.

    Args:
        runs: with one plan, at the same step.
        lane: their inputs, in the same order; there may be more to fill the devices.
        watch: whom to tell.

    Returns:
        The histories, or None if the runs were stopped; then their state is kept.
    """
    clock = _Clock(runs)
    step = runs[0].step
    is_over = not any(run.is_active for run in runs)
    fixed, state = jax.eval_shape(lane.start) if is_over else lane.start()
    if runs[0].leaves is not None:
        state = _restored(runs, state, is_batch=lane.is_batch)
    for target in runs[0].plan[len(runs[0].steps) :].tolist():
        active = np.array([run.is_active for run in runs])
        if not active.any():
            break
        mask = np.resize(active, lane.n_runs) if lane.is_batch else active[0]
        while step < target:
            n_steps = min(target - step, clock.steps_in_a_second)
            state = lane.advance(lane.inputs, fixed, state, mask, step, n_steps)
            jax.block_until_ready(state)
            step += n_steps
            clock.tick(n_steps)
            watch.on_steps(n_steps * int(active.sum()))
            if clock.is_time(watch.checkpoint_seconds) or watch.should_stop():
                _keep(runs, step, state, lane)
                if watch.should_stop():
                    return None
        seen = jax.device_get(lane.observe(lane.inputs, fixed, state))
        clock.tick()
        for k, run in enumerate(runs):
            if active[k]:
                run.add(target, {name: _row(values, k, lane) for name, values in seen.items()})
                watch.on_save(run)
    if not is_over:
        _keep(runs, step, state, lane)
    final = jax.device_get(state)
    return [
        run.history(jax.tree.map(lambda values, k=k: _row(values, k, lane), final))
        for k, run in enumerate(runs)
    ]


def _row(values: Any, k: int, lane: Compiled) -> np.ndarray:
    return np.asarray(values[k] if lane.is_batch else values)


def _keep(runs: Sequence[Run], step: int, state: State, lane: Compiled) -> None:
    if not any(run.checkpoint for run in runs):
        return
    leaves = jax.tree.leaves(jax.device_get(state))
    for k, run in enumerate(runs):
        run.keep(step, [_row(leaf, k, lane) for leaf in leaves])


def _restored(runs: Sequence[Run], state: State, *, is_batch: bool) -> State:
    saved = [run.leaves for run in runs]
    fresh, tree = jax.tree.flatten(state)
    columns = zip(*(leaves for leaves in saved if leaves is not None), strict=True)
    leaves = [np.stack(column) if is_batch else column[0] for column in columns]
    return jax.tree.unflatten(
        tree, [jnp.asarray(leaf, like.dtype) for leaf, like in zip(leaves, fresh, strict=True)]
    )


class _Clock:
    """Time spent, shared equally among the runs of a lane, and the pace of their steps."""

    def __init__(self, runs: Sequence[Run]) -> None:
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
