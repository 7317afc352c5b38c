"""Sends experiments to workers and stores the results; marks those that crash workers as failed."""

import json
import logging
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Hashable
from concurrent.futures import BrokenExecutor, Future
from queue import Empty, SimpleQueue

from lazyrich._base import Config, InputError, Json
from lazyrich.training import Simulation

from ._executors import Workers, deaths_of, is_death, is_lost, pickled
from ._failures import DIED, marked
from ._progress import Counts, ProgressReport
from ._worker import Chunk, Reply, Run, compute, work
from .store._key import canonical_json
from .store._result import FAILED, Outcome, failed_outcome, is_x64, package_version
from .store._store import Store

_log = logging.getLogger("lazyrich.sweeps")

_SERIAL_BATCH, _REMOTE_BATCH = 64, 16
_CHUNKS_PER_WORKER, _CHUNK_SECONDS = 4, 5.0
_FAILURES = 3
_DEATHS_BEFORE_ANY_REPLY = 12
_TICK_SECONDS = 0.25


class Driver:
    """Hands chunks over and writes what comes back; the one process that writes."""

    def __init__(
        self, store: Store, workers: Workers, run: Run, counts: Counts, report: ProgressReport
    ) -> None:
        self.store, self.workers, self.run = store, workers, run
        self.counts, self.report = counts, report
        self.inbox: SimpleQueue[Future | Outcome] = SimpleQueue()
        self.waiting: deque[list[tuple[str, Config]]] = deque()
        self.sent: dict[Future, dict[str, Config]] = {}
        self.failures_of: Counter[str] = Counter()
        self.on_kept: Callable[[str], object] = lambda key: None
        self.n_sent = self.n_deaths = 0
        self.has_reply = self.is_stopped = self.is_advised = False
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
        size = self.batch_size or (_SERIAL_BATCH if self.workers.is_local else self._chunk_size())
        if len(group) > size:
            self.waiting.appendleft(group[size:])
        return group[:size]

    def _chunk_size(self) -> int:
        """One at first; then a few seconds of work, and several calls for every worker."""
        if self.seconds_each is None:
            return 1
        n_chunks = _CHUNKS_PER_WORKER * (self.workers.n_workers or os.cpu_count() or 1)
        share = math.ceil(self.counts.left / n_chunks)
        quick = int(_CHUNK_SECONDS / max(self.seconds_each, 1e-6))
        return max(1, min(_REMOTE_BATCH, share, quick))

    def _loop(self) -> None:
        while self.waiting or self.sent:
            while self.waiting and len(self.sent) < self.workers.in_flight:
                self._send(self._next_batch())
            self.report.update()
            try:
                arrived = self.inbox.get(timeout=_TICK_SECONDS)
            except Empty:
                continue
            if isinstance(arrived, Outcome):
                for members in self.sent.values():
                    if members.pop(arrived.key, None) is not None:
                        self._save(arrived)
            else:
                self._receive(arrived)

    def _send(self, members: list[tuple[str, Config]]) -> None:
        missing = [(key, one) for key, one in members if not self._has_appeared(key)]
        if not missing:
            return
        keys, experiments = zip(*missing, strict=True)
        self.n_sent += 1
        chunk = Chunk(
            self.run,
            experiments,
            keys,
            package_version(),
            x64=is_x64(),
            attempt=self.n_sent,
        )
        try:
            if self.workers.is_local:
                future = self.workers.executor.submit(self._compute_here, chunk)
            else:
                future = self.workers.executor.submit(work, pickled(chunk))
        except BrokenExecutor as error:
            raise InputError(
                f"The executor takes no more work ({error}): a worker of it died; every finished "
                "experiment is kept, run again, or give processes:N, which replaces "
                "workers that die."
            ) from error
        self.sent[future] = dict(missing)
        self.counts.running += len(missing)
        future.add_done_callback(self.inbox.put)

    def _has_appeared(self, key: str) -> bool:
        """Whether another sweep on the same store was quicker."""
        if key in self.store or not self.store.look_again(key):
            return False
        is_failed = self.store.kept[key].facts["status"] == FAILED
        self.counts.failed += is_failed
        self.counts.kept += not is_failed
        return True

    def _compute_here(self, chunk: Chunk) -> Reply:
        def emit(outcome: Outcome) -> None:
            if self.is_stopped:
                raise RuntimeError("the sweep has ended")
            self.inbox.put(outcome)

        return Reply([], *compute(chunk, emit))

    def _receive(self, future: Future) -> None:
        members = self.sent.pop(future)
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or (error is not None and is_lost(error)):
            raise InputError(
                "The scheduler or the executor has ended; every finished experiment is kept, start "
                "it and run again."
            )
        if error is not None:
            self.counts.running -= len(members)
            self._quarantine(members, error)
            return
        reply: Reply = future.result()
        self.has_reply = True
        if reply.refusal:
            raise InputError(
                f"A worker was refused: {reply.refusal}; install the same lazyrich, and the "
                "module of the run function, for every worker."
            )
        if reply.advice and not self.is_advised:
            self.is_advised = True
            _log.warning("%s", reply.advice)
        self.seconds_each = reply.seconds / max(1, len(members))
        for outcome in reply.outcomes:
            if members.pop(outcome.key, None) is not None:
                self._save(outcome)
        self.counts.running -= len(members)
        if len(members) == 1:
            self._fail(*members.items(), reply.error)
        else:
            self.waiting.extend([member] for member in members.items())

    def _quarantine(self, members: dict[str, Config], error: BaseException) -> None:
        """What to do after a call that gave no reply: each alone again, or failed."""
        self.n_deaths += is_death(error)
        if self.n_deaths >= _DEATHS_BEFORE_ANY_REPLY and not self.has_reply:
            raise InputError(
                f"{self.n_deaths} workers died before any gave a result; try one experiment with "
                "the serial executor to see why."
            )
        is_alone = len(members) == 1
        for key, experiment in members.items():
            self.failures_of[key] += deaths_of(error) if is_alone else 1
            if not is_death(error) and is_alone:
                self._fail((key, experiment), f"{type(error).__name__}: {error}")
            elif is_alone and self.failures_of[key] >= _FAILURES:
                self._fail(
                    (key, experiment),
                    f"{DIED} {self.failures_of[key]} times while computing it (killed, out "
                    "of memory, or a crash in native code)",
                )
            else:
                self.waiting.append([(key, experiment)])

    def _save(self, outcome: Outcome) -> None:
        self.store.save(outcome)
        self.counts.running -= 1
        self.counts.computed += 1
        self.on_kept(outcome.key)

    def _fail(self, member: tuple[str, Config], error: str) -> None:
        self.store.save(marked(failed_outcome(member[1], error), self.run))
        self.counts.failed += 1
        self.on_kept(member[0])


def _compatible(todo: list[tuple[str, Config]]) -> list[list[tuple[str, Config]]]:
    """Experiments in groups that one compilation serves."""
    groups: dict[Hashable, list[tuple[str, Config]]] = {}
    for key, experiment in todo:
        groups.setdefault(_shared_by(experiment), []).append((key, experiment))
    return list(groups.values())


def _shared_by(experiment: Config) -> Hashable:
    """A simulation's static key; else, or where that is all of it, all but reals and seeds."""
    if isinstance(experiment, Simulation):
        key = experiment.static_key()
        if key is not experiment:
            return type(experiment), key
    return json.dumps(_without_numbers(json.loads(canonical_json(experiment))))


def _without_numbers(tree: Json) -> Json:
    if isinstance(tree, dict):
        return {
            name: _without_numbers(value)
            for name, value in tree.items()
            if not name.endswith("seed")
        }
    return None if isinstance(tree, float) else tree
