"""Progress reports."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ._history import History


class Progress(NamedTuple):
    """How far the work is, said every second or so and at every evaluation.

    Attributes:
        n_done: steps made, of all runs together.
        n_steps: steps to make, of all runs together.
        steps_per_second: the pace so far.
        seconds_left: at that pace.
        metrics: the scalar records at the latest evaluation of any run.

    Example:
        >>> report = Progress(50, 100, 10.0, 5.0, {"train_loss": 0.1})
        >>> f"{report.n_done / report.n_steps:.0%}, {report.seconds_left:.0f} s left"
        '50%, 5 s left'
    """

    n_done: int
    n_steps: int
    steps_per_second: float
    seconds_left: float
    metrics: dict[str, float]


OnProgress = Callable[[Progress], None]
Log = Callable[[dict[str, float], int], object]


class Listeners(NamedTuple):
    """The callbacks of a job, each optional.

    Attributes:
        progress: called with a ``Progress`` from time to time.
        log: called with the scalar records and the step of each evaluation.
        on_finished: called with the position and the history of each run as it ends.
    """

    progress: OnProgress | None = None
    log: Log | None = None
    on_finished: Callable[[int, History], None] | None = None


class Report:
    """Counts steps and tells ``on_progress``, from whichever thread."""

    def __init__(self, on_progress: OnProgress | None, n_steps: int, lock: threading.RLock) -> None:
        self.on_progress, self.n_steps, self.lock = on_progress, n_steps, lock
        self.begin = time.monotonic()
        self.n_done = self.n_made = 0
        self.metrics: dict[str, float] = {}

    def resumed(self, n_steps: int) -> None:
        """Count steps that an earlier call has made."""
        self.n_done += n_steps

    def steps(self, n_steps: int) -> None:
        """Count steps that were just made."""
        with self.lock:
            self.n_done += n_steps
            self.n_made += n_steps
            self._tell()

    def evaluated(self, metrics: dict[str, float]) -> None:
        """Take the latest records."""
        self.metrics = metrics
        self._tell()

    def finished(self, n_left: int) -> None:
        """Count the steps that an early end has saved."""
        with self.lock:
            self.n_done += n_left
            self._tell()

    def _tell(self) -> None:
        if self.on_progress is None:
            return
        pace = self.n_made / max(time.monotonic() - self.begin, 1e-9)
        left = (self.n_steps - self.n_done) / pace if pace > 0 else float("inf")
        self.on_progress(Progress(self.n_done, self.n_steps, pace, left, self.metrics))
