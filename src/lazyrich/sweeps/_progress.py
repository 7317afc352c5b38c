"""How far a sweep is: done, running, failed, left, its rate, the time left."""

import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_LINE_SECONDS = 10.0


@dataclass
class Counts:
    """How many experiments stand where.

    Attributes:
        total: all of the sweep.
        kept: were in the store before.
        computed: finished by this sweep.
        failed: could not be computed, in this sweep or before.
        running: handed over and not back.
        began: when, seconds of a clock that only goes forward.
    """

    total: int
    kept: int = 0
    computed: int = 0
    failed: int = 0
    running: int = 0
    began: float = 0.0

    @property
    def done(self) -> int:
        """Finished, before or now."""
        return self.kept + self.computed

    @property
    def left(self) -> int:
        """Neither done nor failed nor running."""
        return max(0, self.total - self.done - self.failed - self.running)

    @property
    def rate(self) -> float:
        """Experiments computed a second, by this sweep."""
        return self.computed / max(time.monotonic() - self.began, 1e-9)

    def __str__(self) -> str:
        left = self.total - self.done - self.failed
        rate = self.rate
        tail = f", {_rate(rate)}, {_span(left / rate)} left" if rate > 0 and left else ""
        return (
            f"{self.done} done, {self.running} running, {self.failed} failed, "
            f"{self.left} left of {self.total}{tail}"
        )


class ProgressReport:
    """Shows counts: a bar on a terminal, a line every ten seconds elsewhere.

    Args:
        counts: what to show; read again at every ``update``.
        name: of the sweep.
        is_shown: False shows nothing.
    """

    def __init__(self, counts: Counts, *, name: str, is_shown: bool) -> None:
        self.counts, self.name = counts, name
        self._console = Console(stderr=True)
        self._is_shown = is_shown
        self._last = ""
        self._next_line = 0.0
        self._bar: Progress | None = None
        if is_shown and self._console.is_terminal:
            columns = (
                TextColumn("{task.fields[name]}", markup=False),
                BarColumn(),
                TextColumn("{task.description}", markup=False),
            )
            self._bar = Progress(*columns, console=self._console)
            self._row = self._bar.add_task("", total=counts.total, name=name)
            self._bar.start()

    def update(self) -> None:
        """Show where the sweep is now."""
        if self._bar is not None:
            finished = self.counts.done + self.counts.failed
            self._bar.update(self._row, completed=finished, description=str(self.counts))
        elif self._is_shown and time.monotonic() >= self._next_line:
            self._line()

    def close(self) -> None:
        """Show the last counts, and leave the terminal as it was."""
        self.update()
        if self._bar is not None:
            self._bar.stop()
        elif self._is_shown:
            self._line()

    def _line(self) -> None:
        text = str(self.counts)
        if text != self._last:
            sys.stderr.write(f"{self.name}: {text}\n")
            sys.stderr.flush()
        self._last = text
        self._next_line = time.monotonic() + _LINE_SECONDS


def _rate(rate: float) -> str:
    return f"{rate:.3g}/s" if rate >= 1 else f"{60 * rate:.3g}/min"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
