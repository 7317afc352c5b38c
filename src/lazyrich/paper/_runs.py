"""One run out of a panel, and what is asked of runs again and again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from lazyrich.measures import (
    GrokkingDelay,
    accuracy_delay,
    concordance,
    grokking_delay,
    leave_step,
    peak_before,
    value_at,
)

from ._value import Value as Value
from ._value import missing, reason_of, tally

_loss_delay = jax.jit(grokking_delay, static_argnames="threshold")
_accuracy_delay = jax.jit(accuracy_delay)
_value_at = jax.jit(value_at)
_leave_step = jax.jit(leave_step)


@jax.jit
def _loss_delays(steps: Any, train: Any, test: Any, threshold: Any) -> GrokkingDelay:
    return jax.vmap(lambda a, b: grokking_delay(steps, a, b, threshold=threshold))(train, test)


_values_at = jax.jit(jax.vmap(value_at, in_axes=(None, 0, 0)))


class Delays(NamedTuple):
    """As in ``GrokkingDelay``, of one run or arrays over a panel's axes and its seeds.

    A step that was never reached is infinite, and so is a delay or ratio whose test step
    was not. Delay and ratio are NaN where the train curve never got there: then there is
    none.
    """

    train_step: Any
    test_step: Any
    delay: Any
    ratio: Any


# A run whose train loss never fell to this share of its start has not been trained, unless
# its train accuracy reached as much.
_MOVED = 0.9
_CONVERGED = 0.01
_ROUNDING = 1e-11
NEVER_REACHED = "the step that it is read at is never reached"


@dataclass(frozen=True)
class Run:
    """The records of one run at its own save points.

    Attributes:
        steps: optimizer updates before each record.
        records: by name, save points first; cut off where the run diverged, one NaN each
            if there is no run.
        status: as the store names it; "missing" if there is no such run.
    """

    steps: np.ndarray
    records: dict[str, np.ndarray]
    status: str

    def __getitem__(self, name: str) -> np.ndarray:
        """A record, save points first."""
        return self.records[name]

    @property
    def fault(self) -> str:
        """Why the run did not come to its end: diverged, failed or missing; "" if it did."""
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
        return "" if is_accurate or loss.min() <= _MOVED * loss[0] else _unfallen(_MOVED)

    def start(self, name: str) -> float:
        """A record before the first step."""
        return float(self.records[name][0])

    def end(self, name: str) -> float:
        """A record at the end; NaN if the run did not get there."""
        return missing(self.fault) if self.fault else float(self.records[name][-1])

    def relative(self, name: str) -> float:
        """A record at the end as a share of its start."""
        return self.end(name) / self.start(name)

    def converged(self, name: str, *, floor: float = 0.01) -> float:
        """A record at the end, if it has come to rest; NaN if not.

        At rest: over the last third of log time it stays within 1 % of where it ends, or
        within 1 % of ``floor`` times its start if it has fallen below that; or the train
        loss has come down to rounding, where no gradient is left to move anything.
        """
        if self.fault:
            return missing(self.fault)
        loss = self.records["train_loss"]
        if loss[-1] <= _ROUNDING * loss[0]:
            return float(self.records[name][-1])
        curve, since = self.records[name], float(self.steps[-1]) ** (2 / 3)
        late = [self.at(name, since), *curve[self.steps >= since]]
        size = max(abs(curve[-1]), floor * abs(curve[0]))
        is_at_rest = max(abs(value - curve[-1]) for value in late) <= _CONVERGED * size
        return float(curve[-1]) if is_at_rest else missing("not converged")

    def at(self, name: str, step: float) -> float:
        """A record at a step, linear in log(1 + step) between save points; NaN at infinity."""
        if not np.isfinite(step):
            return missing(reason_of(step) or NEVER_REACHED)
        return float(_value_at(self.steps, jnp.asarray(self.records[name]), step))

    def delay(self, threshold: float = 0.1) -> Delays:
        """When the losses fall to a share of the initial train loss, and the delay between."""
        losses = (jnp.asarray(self.records[f"{part}_loss"]) for part in ("train", "test"))
        found = _loss_delay(self.steps, *losses, threshold=threshold)
        return self._trained(found, _unfallen(threshold))

    def accuracy_delay(self, train_level: float, test_level: float) -> Delays:
        """When the accuracies rise, and the delay between."""
        curves = (jnp.asarray(self.records[f"{part}_accuracy"]) for part in ("train", "test"))
        found = _accuracy_delay(self.steps, *curves, train_level=train_level, test_level=test_level)
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
        curve = jnp.asarray(self.records[name])
        given = None if where is None else jnp.asarray(where)
        found = float(peak_before(jnp.asarray(self.steps), curve, last, where=given)[0] / curve[0])
        return found if np.isfinite(found) else missing("no record before the fall counts")

    def leave_step(self) -> float:
        """First record at which the test losses of net and twin differ by 5 % of the start."""
        curves = (jnp.asarray(self.records[f"{who}test_loss"]) for who in ("", "twin_"))
        return float(_leave_step(self.steps, *curves))


def run_at(panel: xr.Dataset, **where: Any) -> Run:
    """One run of a panel.

    Args:
        panel: over axes, ``seed`` and ``save_step``.
        where: a value for every axis, such as ``alpha=2.0, seed=0``.

    Returns:
        The run, at the save points that it has of its own; "missing" if there is none.
    """
    try:
        one = panel.sel(where)
    except KeyError:  # a setting that was changed for all runs, so that none has this value
        one = panel.isel(dict.fromkeys(where, 0)).drop_vars("status").where(False)
        one["status"] = "missing"
    kept = np.flatnonzero(np.isfinite(one.train_loss.values))
    kept = kept if len(kept) else [0]
    steps = one.save_step.values[kept]
    records = {
        str(name): values.transpose("save_step", ...).values[kept]
        for name, values in one.data_vars.items()
        if "save_step" in values.dims
    }
    return Run(steps, records, str(one.status.values))


def measured(function: Callable[[Run], float], run: Run, *, untrained: bool = False) -> float:
    """A function of a run; NaN, and why, where the run was not trained.

    Args:
        function: of a run that has come to its end.
        run: any.
        untrained: the function makes sense for a run whose train loss never fell.
    """
    fault = run.fault if untrained else run.untrained
    if fault:
        return missing(fault)
    found = function(run)
    return found if isinstance(found, Value) else float(found)


def each_seed(panel: xr.Dataset, function: Callable[[xr.Dataset], float]) -> list[float]:
    """A function of every seed's part of a panel, NaN where it does not apply."""
    return [function(panel.sel(seed=seed)) for seed in panel.seed.values]


def each_run(
    panel: xr.Dataset, function: Callable[[Run], float], *, untrained: bool = False, **where: Any
) -> list[float]:
    """A function of one run of every seed, at given places along the axes.

    NaN, and why, where a run failed, diverged or was not trained: see ``measured``.
    """
    runs = (run_at(panel, seed=seed, **where) for seed in panel.seed.values)
    return [measured(function, run, untrained=untrained) for run in runs]


def by_claim(
    panel: xr.Dataset, function: Callable[[Run], Mapping[str, float]], **where: Any
) -> dict[str, list[float]]:
    """Several statistics of one run of every seed, by claim.

    NaN, and why, where a run failed, diverged or was not trained.
    """
    runs = [run_at(panel, seed=seed, **where) for seed in panel.seed.values]
    rows = [None if run.untrained else function(run) for run in runs]
    names = next((list(row) for row in rows if row is not None), [])
    return {
        name: [
            missing(run.untrained) if row is None else row[name]
            for run, row in zip(runs, rows, strict=True)
        ]
        for name in names
    }


def along(
    panel: xr.Dataset,
    axis: str,
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
    **where: Any,
) -> np.ndarray:
    """A function of the runs along an axis, one row for each seed; NaN as in ``each_run``."""
    columns = [
        each_run(panel, function, untrained=untrained, **where, **{axis: value})
        for value in panel[axis].values
    ]
    return np.array(columns, float).T


def concordances(
    panel: xr.Dataset,
    axis: str,
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
    **where: Any,
) -> list[float]:
    """Whether a function of the runs grows along an axis, from −1 to 1, for each seed.

    Runs that were not trained are left out, and the value says how many.
    """
    columns = [
        each_run(panel, function, untrained=untrained, **where, **{axis: value})
        for value in panel[axis].values
    ]
    return [concordance_of(panel[axis].values, row) for row in zip(*columns, strict=True)]


def concordance_of(x: Sequence[float] | np.ndarray, row: Sequence[float] | np.ndarray) -> float:
    """The concordance of two lists, with a word on what was left out or why it is NaN."""
    left_out = [reason_of(value) or "not measured" for value in row if np.isnan(value)]
    found = concordance(x, np.array(row, float))
    said = f"without {len(left_out)} of {len(row)} runs ({tally(left_out)})" if left_out else ""
    if np.isnan(found):
        return missing(said or "fewer than three pairs of runs whose order is known")
    return Value(found, said) if said else found


def table(
    panel: xr.Dataset,
    axes: Sequence[str],
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
) -> np.ndarray:
    """A function of the runs over two axes, one map for each seed; NaN as in ``each_run``."""
    first, second = axes
    rows = [
        along(panel, second, function, untrained=untrained, **{first: value})
        for value in panel[first].values
    ]
    return np.stack(rows, axis=1)


def all_delays(panel: xr.Dataset, threshold: float = 0.1) -> Delays:
    """The delays of every run of a panel at once, for panels of hundreds of runs.

    Args:
        panel: runs of one save plan.
        threshold: share of the initial train loss.

    Returns:
        The delays as a ``Run`` gives them; all NaN where there is no run.
    """
    train, test = (_rows(panel, f"{part}_loss") for part in ("train", "test"))
    test = np.where(np.isfinite(train), test, np.nan)  # cut where the run diverged, as a Run is
    found = jax.device_get(_loss_delays(panel.save_step.values, train, test, threshold))
    is_there = np.isfinite(train[:, 0])
    is_whole = np.isin(panel.status.values.ravel(), ("ok", "out_of_steps"))
    has_delay = is_whole & np.isfinite(found.train_step)
    shape = panel.status.shape
    return Delays(
        *(
            np.where(has_delay if name in ("delay", "ratio") else is_there, values, np.nan).reshape(
                shape
            )
            for name, values in zip(Delays._fields, found, strict=False)
        )
    )


def all_at(panel: xr.Dataset, name: str, steps: np.ndarray) -> np.ndarray:
    """A record of every run at a step of its own, over axes and seeds; NaN at infinity."""
    values = _rows(panel, name)
    return np.asarray(_values_at(panel.save_step.values, values, steps.ravel())).reshape(
        panel.status.shape
    )


def faults_of(panel: xr.Dataset, seed: Any) -> list[str]:
    """Why runs of a seed may have given no number: one reason for each run that has one."""
    if seed not in panel.seed.values:
        return []
    one = panel.sel(seed=seed)
    status = one.status.values.ravel()
    found = [str(s) for s in status if s not in ("ok", "out_of_steps")]
    if "train_loss" in one and one.sizes["save_step"]:
        loss = one.train_loss.transpose(*one.status.dims, "save_step").values
        loss = loss.reshape(len(status), -1)
        fell = np.nanmin(np.where(np.isfinite(loss), loss, np.inf), axis=1) <= 0.1 * loss[:, 0]
        is_whole = np.isin(status, ("ok", "out_of_steps"))
        found += [_unfallen(0.1)] * int(np.sum(is_whole & ~fell))
    return found


def _unfallen(threshold: float) -> str:
    return f"the train loss did not fall to {threshold:g} of its start"


def _rows(panel: xr.Dataset, name: str) -> np.ndarray:
    record = panel[name].transpose(*panel.status.dims, "save_step").values
    return record.reshape(-1, record.shape[-1])
