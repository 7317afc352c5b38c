"""Runs a list of simulations: groups them, checkpoints them and reports progress."""

import itertools
import os
import threading
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import jax
from jaxtyping import PyTree

from lazyrich._base import InputError, set_aside

from ._batch import Metrics, batch_of
from ._checkpoint import DamagedCheckpoint, Saved, read_checkpoint
from ._dispatch import Mode, compile_first, fastest_mode, n_threads, runs_that_fit
from ._history import History
from ._loop import Callbacks, RunState, drive
from ._memory import memory_errors_said
from ._progress import Listeners, Report
from ._record_names import own_records
from ._simulation import Simulation

Runs = dict[int, RunState]
"""Runs by their position in the job."""


class Job:
    """One call of ``train_many``: its simulations, callbacks and checkpoints."""

    def __init__(
        self,
        simulations: Sequence[Simulation],
        checkpoints: Sequence[Path | None],
        metrics: Metrics,
        *,
        checkpoint_seconds: float,
        listeners: Listeners,
    ) -> None:
        self.simulations = simulations
        self.checkpoints = checkpoints
        self.metrics = metrics
        self.log, self.on_finished = listeners.log, listeners.on_finished
        self.stop = threading.Event()
        self.lock = threading.RLock()
        n_steps = sum(int(one.schedule[-1]) for one in simulations)
        self.report = Report(listeners.progress, n_steps, self.lock)
        self.callbacks = Callbacks(
            self.report.steps, self._on_evaluation, self.stop.is_set, checkpoint_seconds
        )
        self.histories: dict[int, History] = {}

    def run(self, mode: Mode) -> list[History]:
        """Compute them all, in a thread of its own so that Ctrl-C can end it in order."""
        for path in self.checkpoints:
            # os.path, since Path raises where a name is too long
            if path is not None and os.path.exists(path) and not os.path.isfile(path):
                raise InputError(
                    f"The checkpoint {path} is not a file; give the name of a file, such as "
                    f"{path / 'checkpoint.npz'}."
                )
        saved = [self._saved(k) for k in range(len(self.simulations))]
        for group in self._groups(saved):
            runs = self._sampled(group, saved)
            with memory_errors_said():
                self._in_a_thread(runs, mode)
        return [self.histories[k] for k in range(len(self.simulations))]

    def _in_a_thread(self, runs: Runs, mode: Mode) -> None:
        """Compute runs; Ctrl-C, however often, ends them once their state is kept."""
        pool = ThreadPoolExecutor(1)
        futures: list[Future[None]] = []
        try:
            futures.append(pool.submit(self._compute, runs, mode))
            futures[0].result()
        except KeyboardInterrupt:
            self.stop.set()
            pool.shutdown(wait=False)
            while not all(future.done() for future in futures):
                with suppress(KeyboardInterrupt):
                    wait(futures)
            for future in futures:
                future.result()  # the state could not be kept
            raise
        finally:
            pool.shutdown(wait=False)

    def _saved(self, k: int) -> Saved | None:
        path = self.checkpoints[k]
        if path is None:
            return None
        try:
            return self._with_these_metrics(path, read_checkpoint(path, self.simulations[k]))
        except DamagedCheckpoint:
            aside = set_aside(path)
            warnings.warn(
                f"The checkpoint {path} is cut off or damaged; it was renamed {aside.name} "
                "and the run starts afresh.",
                stacklevel=4,
            )
            return None

    def _with_these_metrics(self, path: Path, saved: Saved | None) -> Saved | None:
        """Refuse other metrics than those that a run began with: their records would lack steps."""
        if saved is None or not len(saved.steps):
            return saved
        there, asked = own_records(saved), {name for name, _ in self.metrics}
        if there != asked:
            raise InputError(
                f"The checkpoint {path} has records of the metrics {sorted(there) or 'none'}, and "
                f"this call has {sorted(asked) or 'none'}; give the same, or choose another file."
            )
        return saved

    def _groups(self, saved: Sequence[Saved | None]) -> Iterable[list[int]]:
        """Positions of runs that may share a batch: one static key, schedule and present step."""
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for k, one in enumerate(self.simulations):
            kept = saved[k]
            step = -1 if kept is None else kept.step
            schedule = tuple(int(step) for step in one.schedule)
            groups[type(one), one.static_key(), one.uses_x64, schedule, step].append(k)
        return groups.values()

    def _sampled(self, group: Sequence[int], saved: Sequence[Saved | None]) -> Runs:
        drawn: dict[PyTree, PyTree] = {}
        runs = {}
        for k in group:
            one = self.simulations[k]
            with jax.enable_x64(one.uses_x64):
                inputs = one.sample(drawn)
            runs[k] = RunState(one, inputs, saved[k], self.checkpoints[k], self.metrics)
            self.report.resumed(runs[k].step)
        return runs

    def _compute(self, runs: Runs, mode: Mode) -> None:
        one = next(iter(runs.values())).simulation
        inputs = [run.inputs for run in runs.values()]
        with jax.enable_x64(one.uses_x64):
            if mode == "auto":
                mode = fastest_mode(one, inputs, self.metrics)
            if mode in ("vmap", "shard"):
                self._together(runs, jax.local_devices() if mode == "shard" else None)
            elif mode == "loop" or len(runs) == 1:
                for k, run in runs.items():
                    self._alone(k, run)
            else:
                compile_first(batch_of(one, inputs[:1], self.metrics))
                self._on_threads(runs)

    def _together(self, runs: Runs, devices: Sequence[jax.Device] | None) -> None:
        """Runs as batches that fit into memory, filled up to a multiple of the devices."""
        n_devices = len(devices or [0])
        first = next(iter(runs.values()))
        n_fit = runs_that_fit(first.simulation, first.inputs, self.metrics) * n_devices
        rest = iter(runs.items())
        while (some := dict(itertools.islice(rest, n_fit))) and not self.stop.is_set():
            inputs = [run.inputs for run in some.values()]
            n_filled = -(-len(inputs) // n_devices) * n_devices
            filled = list(itertools.islice(itertools.cycle(inputs), n_filled))
            batch = batch_of(first.simulation, filled, self.metrics, devices=devices)
            self._finish(some, drive(list(some.values()), batch, self.callbacks))

    def _on_threads(self, runs: Runs) -> None:
        with ThreadPoolExecutor(n_threads()) as pool:
            for done in [pool.submit(self._alone, k, run) for k, run in runs.items()]:
                done.result()

    def _alone(self, k: int, run: RunState) -> None:
        if self.stop.is_set():
            return
        with jax.enable_x64(run.simulation.uses_x64):
            batch = batch_of(run.simulation, [run.inputs], self.metrics)
            self._finish({k: run}, drive([run], batch, self.callbacks))

    def _finish(self, runs: Runs, histories: list[History] | None) -> None:
        for (k, run), history in zip(runs.items(), histories or [], strict=False):
            self.histories[k] = history
            self.report.finished(run.n_left)
            if self.on_finished is not None:
                with self.lock:
                    self.on_finished(k, history)

    def _on_evaluation(self, metrics: dict[str, float], step: int) -> None:
        with self.lock:
            self.report.evaluated(metrics)
            if self.log is not None:
                self.log(metrics, step)
