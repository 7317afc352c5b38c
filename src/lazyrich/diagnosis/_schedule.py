"""When a monitor measures: at steps 1, 2, 5, 10, …, within a share of the run time."""

import time
from collections.abc import Callable

from lazyrich._base import InputError


def next_scheduled(step: int) -> int:
    """The smallest of 0, 1, 2, 5, 10, 20, 50, … that is above a step.

    Args:
        step: a whole number from −1.

    Returns:
        The next step at which a monitor measures.

    Example:
        >>> [next_scheduled(step) for step in (-1, 0, 1, 4, 10, 99)]
        [0, 1, 2, 5, 20, 100]
    """
    if step < 0:
        return 0
    scale = 1
    while True:
        for factor in (1, 2, 5):
            if factor * scale > step:
                return factor * scale
        scale *= 10


class Throttle:
    """Says when to measure, so that measuring takes at most a share of the time.

    A scheduled step that cannot be afforded is made up for at the first step that can.

    Attributes:
        share: of the run time that may be spent.
        spent: seconds spent so far.
        elapsed: seconds of the run before the last resume.
        due_step: the next step that is scheduled.
        n_put_off: how often a scheduled step could not be afforded at once.

    Example:
        >>> throttle = Throttle(1.0)
        >>> throttle.is_due(0), throttle.is_due(1)
        (False, True)
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start the clock.

        Raises:
            InputError: if the share is not a number above 0 and up to 1.
        """
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if not is_number or not 0 < share <= 1:
            raise InputError(
                f"share is {share!r}; it must be above 0 and at most 1: the part of the run time "
                "that may be spent on measuring, such as 0.02."
            )
        self.share, self.clock = float(share), clock
        self.spent = self.elapsed = self.cost = 0.0
        self.due_step, self.n_put_off = 1, 0
        self.began = clock()

    @property
    def run_time(self) -> float:
        """Seconds since the start, those before a resume included."""
        return self.elapsed + self.clock() - self.began

    def is_due(self, step: int) -> bool:
        """Whether to measure at this step."""
        if step < self.due_step:
            return False
        is_affordable = self.share >= 1 or self.spent + self.cost <= self.share * self.run_time
        if not is_affordable and step == self.due_step:
            self.n_put_off += 1
        return is_affordable

    def referenced(self, seconds: float) -> None:
        """Count the reference; a measurement is then expected to cost half as much again."""
        self.spent += seconds
        self.cost = 1.5 * seconds

    def measured(self, step: int, seconds: float) -> None:
        """Count a measurement."""
        self.spent += seconds
        self.cost = seconds
        self.due_step = next_scheduled(step)

    def state(self) -> dict[str, float]:
        """What a resumed run goes on from."""
        return {
            "spent": self.spent,
            "elapsed": self.run_time,
            "cost": self.cost,
            "due_step": self.due_step,
            "n_put_off": self.n_put_off,
        }

    def resume(self, state: dict[str, float]) -> None:
        """Go on from a saved state."""
        self.spent, self.cost = float(state["spent"]), float(state["cost"])
        self.elapsed, self.began = float(state["elapsed"]), self.clock()
        self.due_step, self.n_put_off = int(state["due_step"]), int(state["n_put_off"])

    def __str__(self) -> str:
        """What was spent."""
        run_time = self.run_time
        part = self.spent / run_time if run_time else 0.0
        return f"{self.spent:.2g} s of {run_time:.3g} s ({part:.1%}; at most {self.share:.0%})"
