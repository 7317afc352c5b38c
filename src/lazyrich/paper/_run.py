"""One run out of a panel: its losses, delays, peaks and ends, or why it has none."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from lazyrich.curves import (
    GrokkingDelay,
    accuracy_delay,
    departure_step,
    grokking_delay,
    peak_before,
    value_at,
)

from ._value import NO_RUN, Value, missing, not_recorded, reason_of
from ._verdict import Claim

_loss_delay = jax.jit(grokking_delay, static_argnames="threshold")
_accuracy_delay = jax.jit(accuracy_delay)
_value_at = jax.jit(value_at)
_leave_step = jax.jit(departure_step)


class Delays(NamedTuple):
    """As in ``GrokkingDelay``, of one run.

    A step that was never reached is infinite, and so is a delay or ratio whose test step
    was not. Delay and ratio are NaN where the train curve never got there: then there is
    none.
    """

    train_step: float
    test_step: float
    delay: float
    ratio: float


# A run whose train loss never fell to this share of its start has not been trained, unless
# its train accuracy reached as much.
_MOVED = 0.9
_CONVERGED = 0.01
_ROUNDING = 1e-11
_FEWEST_RECORDS = 64
NOT_CONVERGED = "not converged"
NEVER_REACHED = "the step that it is read at is never reached"


class NotRecordedError(KeyError):
    """A record that the run does not have, because it was not asked for."""


@dataclass(frozen=True)
class Run:
    """The records of one run at its own evaluation steps.

    Attributes:
        steps: optimizer updates before each record.
        records: by name, evaluation steps first; cut off where the run diverged, one NaN each
            if there is no run.
        status: as the store names it; "missing" if there is no such run.
        is_printed: it is an authors' own draw, which is judged where the paper ends.
    """

    steps: np.ndarray
    records: dict[str, np.ndarray]
    status: str
    is_printed: bool = False

    def __getitem__(self, name: str) -> np.ndarray:
        """A record, evaluation steps first.

        Raises:
            NotRecordedError: if the run was asked to leave it out.
        """
        if name not in self.records:
            raise NotRecordedError(name)
        return self.records[name]

    @property
    def fault(self) -> str:
        """Why the run did not come to its end: diverged, failed, no such run; "" if it did."""
        if self.status == "missing":
            return NO_RUN
        return "" if self.status in ("ok", "out_of_steps") else self.status

    @property
    def untrained(self) -> str:
        """Why the run was not trained: its fault, or a train loss that never fell.

        Where there are accuracies, a train accuracy that was high counts as well.
        """
        if self.fault:
            return self.fault
        loss = self.records["train_loss"]
        is_accurate = np.max(self.records.get("train_accuracy", 0)) >= _MOVED
        return "" if is_accurate or loss.min() <= _MOVED * loss[0] else unfallen(_MOVED)

    def start(self, name: str) -> float:
        """A record before the first step."""
        return float(self[name][0])

    def end(self, name: str) -> float:
        """A record at the end; NaN if the run did not get there."""
        return missing(self.fault) if self.fault else float(self[name][-1])

    def relative(self, name: str) -> float:
        """A record at the end as a share of its start."""
        return self.end(name) / self.start(name)

    def converged(self, name: str, *, floor: float = 0.01) -> float:
        """A record at the end, if it has come to rest; NaN if not.

        At rest: over the last third of log time it stays within 1 % of where it ends, or
        within 1 % of ``floor`` times its start if it has fallen below that; or the train
        loss has come down to rounding, where no gradient is left to move anything. The
        authors' own draw is judged where the paper ends, at rest or not.
        """
        if self.fault or self.is_printed:
            return self.end(name)
        falls, rises = self._moves(name, floor)
        return missing(NOT_CONVERGED) if falls or rises else self.end(name)

    def settled(self, name: str, claim: Claim, *, over: float = 1.0) -> float:
        """A record at the end over a scale, where that settles a claim on its final value.

        At rest as in ``converged``; or still falling where everything below decides the
        claim as the end does; or still rising where everything above does. NaN if not.

        Args:
            name: of a record that is not negative, such as a loss.
            claim: whose threshold it is held against.
            over: the scale, above zero.
        """
        value = self.end(name) / float(over)
        if self.fault or self.is_printed:
            return value
        falls, rises = self._moves(name, 0.01)
        settles_below = claim.is_met(value) if claim.low is None else value < claim.low
        settles_above = claim.is_met(value) if claim.high is None else value > claim.high
        if (falls and not settles_below) or (rises and not settles_above):
            return missing(NOT_CONVERGED)
        if falls or rises:
            return Value(value, f"still {'falling' if falls else 'rising'} at the end")
        return value

    def _moves(self, name: str, floor: float) -> tuple[bool, bool]:
        """Whether a record falls, and whether it rises, over the last third of log time."""
        loss = self["train_loss"]
        if loss[-1] <= _ROUNDING * loss[0]:
            return False, False
        curve, since = self[name], float(self.steps[-1]) ** (2 / 3)
        late = [self.at(name, since), *curve[self.steps >= since]]
        margin = _CONVERGED * max(abs(curve[-1]), floor * abs(curve[0]))
        return bool(max(late) - curve[-1] > margin), bool(curve[-1] - min(late) > margin)

    def at(self, name: str, step: float) -> float:
        """A record at a step, linear in log(1 + step) between evaluation steps; NaN at infinity."""
        if not np.isfinite(step):
            return missing(reason_of(step) or NEVER_REACHED)
        return float(_value_at(*self._repeated(name), step))

    def delay(self, threshold: float = 0.1) -> Delays:
        """When the losses fall to a share of the initial train loss, and the delay between."""
        found = _loss_delay(*self._repeated("train_loss", "test_loss"), threshold=threshold)
        return self._trained(found, unfallen(threshold))

    def accuracy_delay(self, train_level: float, test_level: float) -> Delays:
        """When the accuracies rise, and the delay between."""
        curves = self._repeated("train_accuracy", "test_accuracy")
        found = _accuracy_delay(*curves, train_level=train_level, test_level=test_level)
        return self._trained(found, f"the train accuracy did not reach {100 * train_level:g} %")

    def _trained(self, found: GrokkingDelay, unless: str) -> Delays:
        """The delays as numbers, if there is one."""
        train, test, delay, ratio = map(float, jax.device_get(found)[:4])
        if self.fault or np.isinf(train):
            delay = ratio = missing(self.fault or unless)
        elif train == 0 < test:
            ratio = missing("the train curve is there before the first step")
        return Delays(train, test, delay, ratio)

    def peak(self, name: str = "test_loss", *, where: np.ndarray | None = None) -> float:
        """Highest record before the test loss falls, as a share of the first."""
        if self.untrained:
            return missing(self.untrained)
        last = self.delay().test_step
        curve = jnp.asarray(self[name])
        given = None if where is None else jnp.asarray(where)
        found = float(peak_before(jnp.asarray(self.steps), curve, last, where=given)[0] / curve[0])
        return found if np.isfinite(found) else missing("no record before the fall counts")

    def departure_step(self) -> float:
        """First record where the test loss leaves the linearized network's by 5 % of the start."""
        return float(_leave_step(*self._repeated("test_loss", "linearized_test_loss")))

    def _repeated(self, *names: str) -> list[np.ndarray]:
        """Steps and records, the last one repeated up to 64, 128, 256, … records.

        What is read off a curve does not change by it, and runs that ended after any number
        of records share a compilation.
        """
        n = len(self.steps)
        rest = max(_FEWEST_RECORDS, 1 << (n - 1).bit_length()) - n
        return [
            np.pad(one, (0, rest), "edge") for one in (self.steps, *map(self.__getitem__, names))
        ]


def run_at(panel: xr.Dataset, **where: object) -> Run:
    """One run of a panel.

    Args:
        panel: over axes, ``seed`` and ``step``.
        where: a value for every axis, such as ``alpha=2.0, seed=0``.

    Returns:
        The run, at the evaluation steps that it has of its own; "missing" if there is none.
    """
    try:
        one = panel.sel(where)
    except KeyError:  # a setting that was changed for all runs, so that none has this value
        one = panel.isel(dict.fromkeys(where, 0)).drop_vars("status").where(False)
        one["status"] = "missing"
    kept = np.flatnonzero(np.isfinite(one.train_loss.values))
    kept = kept if len(kept) else [0]
    steps = one.step.values[kept]
    records = {
        str(name): values.transpose("step", ...).values[kept]
        for name, values in one.data_vars.items()
        if "step" in values.dims
    }
    return Run(steps, records, str(one.status.values), _is_printed(panel.attrs.get("common", "{}")))


@lru_cache(maxsize=64)
def _is_printed(common: str) -> bool:
    """Whether the settings that all runs of a panel share name the authors' own draw."""
    return any(path.startswith("printed.") for path in json.loads(common))


def measured(function: Callable[[Run], float], run: Run, *, untrained: bool = False) -> float:
    """A function of a run; NaN, and why, where the run was not trained or it was not recorded.

    Args:
        function: of a run that has come to its end.
        run: any.
        untrained: the function makes sense for a run whose train loss never fell.
    """
    fault = run.fault if untrained else run.untrained
    if fault:
        return missing(fault)
    try:
        found = function(run)
    except NotRecordedError as error:
        return not_recorded(error.args[0])
    return found if isinstance(found, Value) else float(found)


def unfallen(threshold: float) -> str:
    """Why a run has no delay where its train loss stayed above a share of its start."""
    return f"the train loss did not fall to {threshold:g} of its start"
