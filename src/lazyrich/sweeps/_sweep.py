"""Compute experiments that a store does not hold yet, and give all of them back."""

import json
import logging
import math
import os
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import xarray as xr

from lazyrich import training
from lazyrich._ground import Config, InputError

from ._axes import settings_of, short_names
from ._dataset import to_dataset
from ._executors import Workers, deaths_of, is_death, is_lost, pickled, workers_from
from ._key import canonical_json, class_name, experiment_key, numerics_of
from ._outcome import FAILED, Outcome, failed_outcome, is_x64, package_version
from ._progress import Counts, ProgressReport
from ._store import Store
from ._work import Parcel, Reply, Run, compute, work

_log = logging.getLogger("lazyrich.sweeps")

_SERIAL_BATCH, _REMOTE_BATCH = 64, 16
_PARCELS_PER_WORKER, _PARCEL_SECONDS = 4, 5.0
_STRIKES = 3
_DEATHS_BEFORE_ANY_REPLY = 12
_TICK_SECONDS = 0.25


class Sending(NamedTuple):
    """How experiments are handed over.

    Attributes:
        batch_size: most experiments in one call of ``run``. None takes 64 in this
            process, where each is kept as it ends; elsewhere as many as take about five
            seconds, at most 16, because a call that is lost is lost as a whole.
        retry_failed: compute those again that failed before.
    """

    batch_size: int | None = None
    retry_failed: bool = False


def sweep(
    experiments: Sequence[Config],
    *,
    store: str | os.PathLike[str],
    executor: Executor | str | None = None,
    progress: bool = True,
    run: Run | None = None,
    sending: Sending = Sending(),  # noqa: B008  frozen
) -> xr.Dataset:
    """Experiments as one dataset; only those that the store does not hold are computed.

    Every experiment becomes a file of its own as soon as it is finished, so a sweep that
    is killed goes on where it was when it is called again, and a grid that grows
    computes what is new. An experiment that raises an error, or that kills its worker
    three times, is kept with the status "failed" and its error; the rest goes on.

    Args:
        experiments: frozen configs, such as ``grid`` gives.
        store: a folder, or an URL that fsspec opens, such as ``s3://bucket/folder``.
        executor: "serial" (or None), "processes:N", "dask:ADDRESS", or any executor of
            the form of ``concurrent.futures``; only ``submit`` and ``shutdown`` are used.
        progress: show how far it is, on stderr.
        run: computes a list of experiments, its one positional argument, and returns or
            yields a history for each; it must be picklable unless the executor is
            serial. If it has a keyword ``on_finished``, that is called with the position
            and the history of each as it ends. By default ``training.train_many``.
        sending: how many experiments go into a call, and whether failed ones run again.

    Returns:
        Records over a dimension for each setting that differs (named by the last part of
        its path), ``save_step``, and axes of their own; NaN where there is nothing.
        ``status``, ``wall_seconds`` and ``key`` over the settings; ``error`` if one failed.

    Raises:
        InputError: before anything is computed if two experiments are the same, the store
            is of a future format or cannot be written, or the executor is not there;
            later if the store is full or a worker has another version of lazyrich.
        KeyboardInterrupt: on Ctrl-C, with how to go on.

    Example:
        >>> import numpy as np, tempfile
        >>> from lazyrich._ground import Status
        >>> from lazyrich.sweeps import grid
        >>> from lazyrich.training import History, Record
        >>> class Decay(Config):
        ...     rate: float = 1.0
        >>> def decay(experiments):
        ...     steps = np.arange(3)
        ...     for one in experiments:
        ...         loss = Record(np.exp(-one.rate * steps), "label units²")
        ...         yield History(one, steps, {"train_loss": loss}, Status.ok, None, 0.0)
        >>> found = sweep(grid(Decay(), {"rate": [1.0, 2.0]}), store=tempfile.mkdtemp(),
        ...               run=decay, progress=False)
        >>> round(float(found.train_loss.sel(rate=2.0, save_step=1)), 3)
        0.135
    """
    kept = fill(
        experiments, store=store, executor=executor, progress=progress, run=run, sending=sending
    )
    dataset = to_dataset(kept)
    dataset.attrs["store"] = os.fspath(store)
    return dataset


def fill(
    experiments: Sequence[Config],
    *,
    store: str | os.PathLike[str],
    executor: Executor | str | None = None,
    progress: bool | str = True,
    run: Run | None = None,
    sending: Sending = Sending(),  # noqa: B008  frozen
) -> list[Outcome]:
    """What ``sweep`` does, without joining the experiments: those of several grids in one go.

    Args:
        experiments: frozen configs, no two the same.
        store: as for ``sweep``; so are the other arguments.
        executor: where to compute.
        progress: show how far it is, on stderr; a text names the sweep there.
        run: computes a list of experiments.
        sending: how many experiments go into a call, and whether failed ones run again.

    Returns:
        The outcomes, in the order of the experiments.

    Raises:
        InputError: as ``sweep``.
        KeyboardInterrupt: as ``sweep``.
    """
    asked = list(experiments)
    keys = _distinct_keys(asked)
    kept = Store(store)
    kept.scan(keys)
    counts = Counts(len(keys), began=time.monotonic())
    todo = []
    for key, experiment in zip(keys, asked, strict=True):
        status = kept.kept[key].facts["status"] if key in kept else None
        if status is None or (status == FAILED and sending.retry_failed):
            todo.append((key, experiment))
        elif status == FAILED:
            counts.failed += 1
        else:
            counts.kept += 1
    name = progress if isinstance(progress, str) else "sweep"
    report = ProgressReport(counts, name=name, is_shown=bool(progress))
    try:
        if todo:
            kept.require_writable()
            chosen: Any = run if run is not None else training.train_many
            if executor not in (None, "serial"):
                pickled((chosen, todo[0][1]))
            workers = workers_from(executor)
            _Driver(kept, workers, chosen, counts, report).compute(todo, sending.batch_size)
    except KeyboardInterrupt:
        left = counts.total - counts.done - counts.failed
        raise KeyboardInterrupt(
            f"stopped with {left} of {counts.total} experiments left; all that are finished are "
            f"in {kept.where}, run the same command to go on."
        ) from None
    finally:
        kept.pack()
        report.close()
    outcomes = kept.outcomes(keys)
    _report_failures(outcomes, kept.where)
    return [outcomes[key] for key in keys if key in outcomes]


def _distinct_keys(experiments: Sequence[Config]) -> list[str]:
    if not experiments:
        raise InputError("There are no experiments to sweep over; give at least one.")
    strangers = {type(one).__name__ for one in experiments if not isinstance(one, Config)}
    if strangers:
        raise InputError(f"Experiments are frozen configs, but some are {', '.join(strangers)}.")
    keys = [experiment_key(one) for one in experiments]
    repeated = {key for key, n in Counter(keys).items() if n > 1}
    if not repeated:
        return keys
    rows = [_settings(one) for one in experiments]
    differ = [path for path in rows[0] if len({str(row.get(path)) for row in rows}) > 1]
    names = short_names([*rows[0]])
    named = []
    for key in sorted(repeated, key=keys.index)[:5]:
        places = [str(i) for i, other in enumerate(keys) if other == key]
        values = ", ".join(f"{names[path]}={rows[int(places[0])][path]}" for path in differ)
        named.append(f"{' and '.join(places)}{f' ({values})' if values else ''}")
    more = f", and {len(repeated) - 5} more" if len(repeated) > 5 else ""
    raise InputError(
        f"The same experiment stands at the places {'; '.join(named)}{more} of the sweep; give "
        "each once."
    )


def _settings(experiment: Config) -> dict[str, Any]:
    return settings_of(
        {
            "config": canonical_json(experiment),
            "experiment": class_name(experiment),
            "numerics": numerics_of(experiment),
        }
    )


def _report_failures(outcomes: dict[str, Outcome], where: str) -> None:
    failed = [one for one in outcomes.values() if one.status == FAILED]
    if failed:
        _log.warning(
            "%d experiments failed; the first: %s. See them with "
            "`lazyrich show %s --where status=failed`, and run them again with --retry-failed.",
            *(len(failed), failed[0].error.splitlines()[0].rstrip("."), where),
        )


class _Driver:
    """Hands parcels over and writes what comes back; the one process that writes."""

    def __init__(
        self, store: Store, workers: Workers, run: Run, counts: Counts, report: ProgressReport
    ) -> None:
        self.store, self.workers, self.run = store, workers, run
        self.counts, self.report = counts, report
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.waiting: deque[list[tuple[str, Config]]] = deque()
        self.sent: dict[Future, dict[str, Config]] = {}
        self.strikes: Counter[str] = Counter()
        self.n_sent = self.n_deaths = 0
        self.has_reply = self.is_stopped = False
        self.batch_size: int | None = None
        self.seconds_each: float | None = None

    def compute(self, todo: list[tuple[str, Config]], batch_size: int | None) -> None:
        """Compute all that is to do, and leave nothing running however it ends."""
        is_finished = False
        try:
            self.batch_size = batch_size
            self.waiting.extend(_compatible(todo))
            self._loop()
            is_finished = True
        finally:
            self.is_stopped = True
            for future in self.sent:
                future.cancel()
            if self.workers.is_own:
                self.workers.executor.shutdown(wait=is_finished)

    def _next_batch(self) -> list[tuple[str, Config]]:
        """Experiments for one call: few enough that little is lost with it."""
        group = self.waiting.popleft()
        size = self.batch_size or (_SERIAL_BATCH if self.workers.is_local else self._parcel_size())
        if len(group) > size:
            self.waiting.appendleft(group[size:])
        return group[:size]

    def _parcel_size(self) -> int:
        """One at first; then a few seconds of work, and several calls for every worker."""
        if self.seconds_each is None:
            return 1
        n_parcels = _PARCELS_PER_WORKER * (self.workers.n_workers or os.cpu_count() or 1)
        share = math.ceil(self.counts.left / n_parcels)
        quick = int(_PARCEL_SECONDS / max(self.seconds_each, 1e-6))
        return max(1, min(_REMOTE_BATCH, share, quick))

    def _loop(self) -> None:
        while self.waiting or self.sent:
            while self.waiting and len(self.sent) < self.workers.in_flight:
                self._send(self._next_batch())
            self.report.update()
            try:
                kind, content = self.inbox.get(timeout=_TICK_SECONDS)
            except Empty:
                continue
            if kind == "outcome":
                for members in self.sent.values():
                    if members.pop(content.key, None) is not None:
                        self._save(content)
            else:
                self._receive(content)

    def _send(self, members: list[tuple[str, Config]]) -> None:
        missing = [(key, one) for key, one in members if not self._has_appeared(key)]
        if not missing:
            return
        keys, experiments = zip(*missing, strict=True)
        self.n_sent += 1
        parcel = Parcel(
            *(self.run, experiments, keys, package_version()),
            x64=is_x64(),
            attempt=self.n_sent,
        )
        try:
            if self.workers.is_local:
                future = self.workers.executor.submit(self._compute_here, parcel)
            else:
                future = self.workers.executor.submit(work, pickled(parcel))
        except BrokenExecutor as error:
            raise InputError(
                f"The executor takes no more work ({error}): a worker of it died; every finished "
                "experiment is kept, run again, or give processes:N, which replaces the dead."
            ) from error
        self.sent[future] = dict(missing)
        self.counts.running += len(missing)
        future.add_done_callback(lambda done: self.inbox.put(("reply", done)))

    def _has_appeared(self, key: str) -> bool:
        """Whether another sweep on the same store was quicker."""
        if key in self.store or not self.store.look_again(key):
            return False
        is_failed = self.store.kept[key].facts["status"] == FAILED
        self.counts.failed += is_failed
        self.counts.kept += not is_failed
        return True

    def _compute_here(self, parcel: Parcel) -> Reply:
        def emit(outcome: Outcome) -> None:
            if self.is_stopped:
                raise RuntimeError("the sweep has ended")
            self.inbox.put(("outcome", outcome))

        return Reply([], *compute(parcel, emit))

    def _receive(self, future: Future) -> None:
        members = self.sent.pop(future)
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or (error is not None and is_lost(error)):
            raise InputError(
                "The scheduler or the executor is gone; every finished experiment is kept, start "
                "it and run again."
            )
        if error is not None:
            self.counts.running -= len(members)
            self._bury(members, error)
            return
        reply: Reply = future.result()
        self.has_reply = True
        if reply.refusal:
            raise InputError(
                f"A worker was refused: {reply.refusal}; install the same lazyrich, and the "
                "module of the run function, for every worker."
            )
        self.seconds_each = reply.seconds / max(1, len(members))
        for outcome in reply.outcomes:
            if members.pop(outcome.key, None) is not None:
                self._save(outcome)
        self.counts.running -= len(members)
        if len(members) == 1:
            self._fail(*members.items(), reply.error)
        else:
            self.waiting.extend([member] for member in members.items())

    def _bury(self, members: dict[str, Config], error: BaseException) -> None:
        """What to do after a call that gave no reply: each alone again, or failed."""
        self.n_deaths += is_death(error)
        if self.n_deaths >= _DEATHS_BEFORE_ANY_REPLY and not self.has_reply:
            raise InputError(
                f"{self.n_deaths} workers died before any gave a result; try one experiment with "
                "the serial executor to see why."
            )
        is_alone = len(members) == 1
        for key, experiment in members.items():
            self.strikes[key] += deaths_of(error) if is_alone else 1
            if not is_death(error) and is_alone:
                self._fail((key, experiment), f"{type(error).__name__}: {error}")
            elif is_alone and self.strikes[key] >= _STRIKES:
                self._fail(
                    (key, experiment),
                    f"its worker died {self.strikes[key]} times while computing it (killed, out "
                    "of memory, or a crash in native code)",
                )
            else:
                self.waiting.append([(key, experiment)])

    def _save(self, outcome: Outcome) -> None:
        self.store.save(outcome)
        self.counts.running -= 1
        self.counts.computed += 1

    def _fail(self, member: tuple[str, Config], error: str) -> None:
        self.store.save(failed_outcome(member[1], error))
        self.counts.failed += 1


def _compatible(todo: list[tuple[str, Config]]) -> list[list[tuple[str, Config]]]:
    """Experiments in groups that one compilation serves.

    An experiment may say so itself, with ``batch_key``; else those belong together that
    differ in seeds and real numbers only.
    """
    groups: dict[Any, list[tuple[str, Config]]] = {}
    for key, experiment in todo:
        shared = getattr(experiment, "batch_key", None) or _shape_of(experiment)
        groups.setdefault(shared, []).append((key, experiment))
    return list(groups.values())


def _shape_of(experiment: Config) -> str:
    return json.dumps(_without_dials(json.loads(canonical_json(experiment))))


def _without_dials(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {
            name: _without_dials(value) for name, value in tree.items() if not name.endswith("seed")
        }
    return None if isinstance(tree, float) else tree
