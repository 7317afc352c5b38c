"""Takes runs to their end: which go together, what is kept of them, who is told."""

import itertools
import os
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lazyrich._ground import InputError, set_aside

from ._checkpoint import DamagedCheckpoint, Saved, read_checkpoint
from ._draw import Drawn, blueprint, draw
from ._experiment import Experiment
from ._history import History
from ._lane import Measures, Run, Watch, compiled, drive
from ._memory import memory_errors_said
from ._metrics import own_records
from ._modes import Mode, fastest_mode, n_threads, runs_that_fit


class Progress(NamedTuple):
    """How far the work is, said every second or so and at every save point.

    Attributes:
        n_done: steps made, of all runs together.
        n_steps: steps to make, of all runs together.
        steps_per_second: the pace so far.
        seconds_left: at that pace.
        metrics: the scalar records at the latest save point of any run.
    """

    n_done: int
    n_steps: int
    steps_per_second: float
    seconds_left: float
    metrics: dict[str, float]


OnProgress = Callable[[Progress], None]
Log = Callable[[dict[str, float], int], Any]


class Job:
    """One call of ``train_many``: who is told what, and what is shared."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        checkpoints: Sequence[Path | None],
        measures: Measures,
        progress: OnProgress | None,
        checkpoint_seconds: float,
        *,
        on_save: Callable[[Run], None] = lambda run: None,
        on_finished: Callable[[int, History], None] | None = None,
    ) -> None:
        self.experiments = experiments
        self.checkpoints = checkpoints
        self.measures = measures
        self.on_finished = on_finished
        self.stop = threading.Event()
        self.lock = threading.RLock()
        n_steps = sum(int(one.plan[-1]) for one in experiments)
        self.report = _Report(progress, n_steps, self.lock)
        self.watch = Watch(
            self.report.steps, self._told(on_save), self.stop.is_set, checkpoint_seconds
        )
        self.found: dict[int, History] = {}

    def histories(self, mode: Mode) -> list[History]:
        """Compute them all, in threads of their own so that Ctrl-C can end them in order."""
        for path in self.checkpoints:
            # os.path, since Path raises where a name is too long
            if path is not None and os.path.exists(path) and not os.path.isfile(path):
                raise InputError(
                    f"The checkpoint {path} is no file; give the name of a file, such as "
                    f"{path / 'checkpoint.npz'}."
                )
        saved = [self._saved(k) for k in range(len(self.experiments))]
        for group in self._groups(saved):
            runs = self._drawn(group, saved)
            with memory_errors_said():
                self._in_a_thread(runs, mode)
        return [self.found[k] for k in range(len(self.experiments))]

    def _in_a_thread(self, runs: dict[int, Run], mode: Mode) -> None:
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
            return self._with_these_metrics(path, read_checkpoint(path, self.experiments[k]))
        except DamagedCheckpoint:
            aside = set_aside(path)
            warnings.warn(
                f"The checkpoint {path} is cut off or damaged; it was renamed {aside.name} "
                "and the run starts afresh.",
                stacklevel=4,
            )
            return None

    def _with_these_metrics(self, path: Path, saved: Saved | None) -> Saved | None:
        """Half a record is no record: a run goes on with the metrics that it began with."""
        if saved is None or not len(saved.steps):
            return saved
        there, asked = own_records(saved.records), {name for name, _ in self.measures}
        if there != asked:
            raise InputError(
                f"The checkpoint {path} was kept with the metrics {sorted(there) or 'none'}, and "
                f"asked for are {sorted(asked) or 'none'}; give the same, or choose another file."
            )
        return saved

    def _groups(self, saved: Sequence[Saved | None]) -> Iterable[list[int]]:
        """Positions of runs that may share a batch: one blueprint, plan, and present step."""
        groups: defaultdict[Any, list[int]] = defaultdict(list)
        for k, experiment in enumerate(self.experiments):
            kept = saved[k]
            step = -1 if kept is None else kept.step
            key = blueprint(experiment), tuple(experiment.plan.tolist()), step
            groups[key].append(k)
        return groups.values()

    def _drawn(self, group: Sequence[int], saved: Sequence[Saved | None]) -> dict[int, Run]:
        drawn: Drawn = {}
        runs = {}
        for k in group:
            one = self.experiments[k]
            runs[k] = Run(one, draw(one, drawn), saved[k], self.checkpoints[k])
            self.report.n_done += runs[k].step
        return runs

    def _compute(self, runs: dict[int, Run], mode: Mode) -> None:
        one = next(iter(runs.values())).experiment
        plan = blueprint(one)
        inputs = [run.inputs for run in runs.values()]
        with _precision(one):
            if mode == "auto":
                mode = fastest_mode(plan, inputs, self.measures, n_steps=one.n_steps)
            if mode in ("vmap", "shard"):
                self._together(runs, plan, jax.local_devices() if mode == "shard" else None)
                return
        with ThreadPoolExecutor(n_threads() if mode == "threads" else 1) as pool:
            for done in [pool.submit(self._alone, k, run, plan) for k, run in runs.items()]:
                done.result()

    def _together(self, runs: dict[int, Run], plan: Experiment, devices: Any) -> None:
        """Runs as batches that fit into memory, filled up to a multiple of the devices."""
        n_devices = len(devices or [0])
        first = next(iter(runs.values())).inputs
        n_fit = runs_that_fit(plan, first, self.measures) * n_devices
        rest = iter(runs.items())
        while (some := dict(itertools.islice(rest, n_fit))) and not self.stop.is_set():
            inputs = [run.inputs for run in some.values()]
            n_lanes = -(-len(inputs) // n_devices) * n_devices
            filled = list(itertools.islice(itertools.cycle(inputs), n_lanes))
            lane = compiled(plan, filled, self.measures, devices=devices)
            self._finish(some, drive(list(some.values()), lane, self.watch))

    def _alone(self, k: int, run: Run, plan: Experiment) -> None:
        if self.stop.is_set():
            return
        with _precision(run.experiment):
            lane = compiled(plan, [run.inputs], self.measures)
            self._finish({k: run}, drive([run], lane, self.watch))

    def _finish(self, runs: dict[int, Run], histories: list[History] | None) -> None:
        for (k, run), history in zip(runs.items(), histories or [], strict=False):
            self.found[k] = history
            self.report.finished(run)
            if self.on_finished is not None:
                with self.lock:
                    self.on_finished(k, history)

    def _told(self, on_save: Callable[[Run], None]) -> Callable[[Run], None]:
        def tell(run: Run) -> None:
            with self.lock:
                self.report.saved(run)
                on_save(run)

        return tell


class _Report:
    """Counts steps and tells ``progress``, from whichever thread."""

    def __init__(self, progress: OnProgress | None, n_steps: int, lock: threading.RLock) -> None:
        self.progress, self.n_steps, self.lock = progress, n_steps, lock
        self.begin = time.monotonic()
        self.n_done = self.n_made = 0
        self.metrics: dict[str, float] = {}

    def steps(self, n_steps: int) -> None:
        with self.lock:
            self.n_done += n_steps
            self.n_made += n_steps
            self._tell()

    def saved(self, run: Run) -> None:
        self.metrics = scalars(run)
        self._tell()

    def finished(self, run: Run) -> None:
        """Count the steps that an early stop saved."""
        with self.lock:
            self.n_done += int(run.plan[-1]) - run.steps[-1]
            self._tell()

    def _tell(self) -> None:
        if self.progress is None:
            return
        pace = self.n_made / max(time.monotonic() - self.begin, 1e-9)
        left = (self.n_steps - self.n_done) / pace if pace > 0 else float("inf")
        self.progress(Progress(self.n_done, self.n_steps, pace, left, self.metrics))


def scalars(run: Run) -> dict[str, float]:
    """The records at the latest save point that are one number each."""
    return {name: float(value) for name, value in run.seen[-1].items() if value.ndim == 0}


@contextmanager
def _precision(experiment: Experiment) -> Any:
    with jax.enable_x64(experiment.precision == "float64"):
        yield
