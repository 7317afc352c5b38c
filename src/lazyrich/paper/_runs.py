"""One run out of a panel, and what is asked of runs again and again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from lazyrich.measures import (
    GrokkingDelay,
    accuracy_delay,
    grokking_delay,
    leave_step,
    peak_before,
    value_at,
)

_loss_delay = jax.jit(grokking_delay, static_argnames="threshold")
_accuracy_delay = jax.jit(accuracy_delay)
_value_at = jax.jit(value_at)
_leave_step = jax.jit(leave_step)


@jax.jit
def _loss_delays(steps: Any, train: Any, test: Any, threshold: Any) -> GrokkingDelay:
    return jax.vmap(lambda a, b: grokking_delay(steps, a, b, threshold=threshold))(train, test)


_values_at = jax.jit(jax.vmap(value_at, in_axes=(None, 0, 0)))


@dataclass(frozen=True)
class Run:
    """The records of one run at its own save points.

    Attributes:
        steps: optimizer updates before each record.
        records: by name, save points first; cut off where the run diverged.
        status: as the store names it; "missing" if there is no such run.
    """

    steps: np.ndarray
    records: dict[str, np.ndarray]
    status: str

    def __getitem__(self, name: str) -> np.ndarray:
        """A record, save points first."""
        return self.records[name]

    def start(self, name: str) -> float:
        """A record before the first step."""
        return float(self.records[name][0]) if len(self.steps) else float("nan")

    def end(self, name: str) -> float:
        """A record at the end; NaN if the run did not get there."""
        is_whole = len(self.steps) and self.status in ("ok", "out_of_steps")
        return float(self.records[name][-1]) if is_whole else float("nan")

    def relative(self, name: str) -> float:
        """A record at the end as a share of its start."""
        return self.end(name) / self.start(name)

    def at(self, name: str, step: float) -> float:
        """A record at a step, linear in log(1 + step) between save points; NaN at infinity."""
        return float(_value_at(self.steps, jnp.asarray(self.records[name]), step))

    def delay(self, threshold: float = 0.1) -> GrokkingDelay:
        """When the losses fall to a share of the initial train loss, and the delay between."""
        losses = (jnp.asarray(self.records[f"{part}_loss"]) for part in ("train", "test"))
        return _floats(_loss_delay(self.steps, *losses, threshold=threshold))

    def accuracy_delay(self, train_level: float, test_level: float) -> GrokkingDelay:
        """When the accuracies rise, and the delay between."""
        curves = (jnp.asarray(self.records[f"{part}_accuracy"]) for part in ("train", "test"))
        return _floats(
            _accuracy_delay(self.steps, *curves, train_level=train_level, test_level=test_level)
        )

    def peak(self, name: str = "test_loss", *, where: np.ndarray | None = None) -> float:
        """Highest record before the test loss falls, as a share of the first."""
        last = self.delay().test_step
        curve = jnp.asarray(self.records[name])
        given = None if where is None else jnp.asarray(where)
        return float(peak_before(jnp.asarray(self.steps), curve, last, where=given)[0] / curve[0])

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
        The run, at the save points that it has of its own.
    """
    one = panel.sel(where)
    kept = np.isfinite(one.train_loss.values)
    steps = one.save_step.values[kept]
    records = {
        str(name): values.transpose("save_step", ...).values[kept]
        for name, values in one.data_vars.items()
        if "save_step" in values.dims
    }
    return Run(steps, records, str(one.status.values))


def each_seed(panel: xr.Dataset, function: Callable[[xr.Dataset], float]) -> list[float]:
    """A function of every seed's part of a panel, NaN where it does not apply."""
    return [float(function(panel.sel(seed=seed))) for seed in panel.seed.values]


def each_run(panel: xr.Dataset, function: Callable[[Run], float], **where: Any) -> list[float]:
    """A function of one run of every seed, at given places along the axes."""
    return [float(function(run_at(panel, seed=seed, **where))) for seed in panel.seed.values]


def along(
    panel: xr.Dataset, axis: str, function: Callable[[Run], float], **where: Any
) -> np.ndarray:
    """A function of the runs along an axis, one row for each seed; NaN where there is no run."""
    return np.array(
        [
            [_or_nan(function, panel, where | {axis: value, "seed": seed}) for value in values]
            for seed in panel.seed.values
            for values in [panel[axis].values]
        ]
    )


def table(panel: xr.Dataset, axes: Sequence[str], function: Callable[[Run], float]) -> np.ndarray:
    """A function of the runs over two axes, one map for each seed; NaN where there is no run."""
    first, second = axes
    return np.stack(
        [along(panel, second, function, **{first: v}) for v in panel[first].values], axis=1
    )


class Delays(NamedTuple):
    """As in ``GrokkingDelay``, arrays over a panel's axes and its seeds."""

    train_step: np.ndarray
    test_step: np.ndarray
    delay: np.ndarray
    ratio: np.ndarray


def all_delays(panel: xr.Dataset, threshold: float = 0.1) -> Delays:
    """The delays of every run of a panel at once, for panels of hundreds of runs.

    Args:
        panel: runs of one save plan.
        threshold: share of the initial train loss.

    Returns:
        The delays; NaN where there is no run.
    """
    train, test = (_rows(panel, f"{part}_loss") for part in ("train", "test"))
    test = np.where(np.isfinite(train), test, np.nan)  # cut where the run diverged, as a Run is
    found = _floats(_loss_delays(panel.save_step.values, train, test, threshold))
    is_there = np.isfinite(train[:, 0])
    shape = panel.status.shape
    return Delays(
        *(
            np.where(is_there, getattr(found, name), np.nan).reshape(shape)
            for name in Delays._fields
        )
    )


def all_at(panel: xr.Dataset, name: str, steps: np.ndarray) -> np.ndarray:
    """A record of every run at a step of its own, over axes and seeds; NaN at infinity."""
    values = _rows(panel, name)
    return np.asarray(_values_at(panel.save_step.values, values, steps.ravel())).reshape(
        panel.status.shape
    )


def _rows(panel: xr.Dataset, name: str) -> np.ndarray:
    record = panel[name].transpose(*panel.status.dims, "save_step").values
    return record.reshape(-1, record.shape[-1])


def _or_nan(function: Callable[[Run], float], panel: xr.Dataset, where: dict[str, Any]) -> float:
    run = run_at(panel, **where)
    return float(function(run)) if len(run.steps) else float("nan")


def _floats(found: GrokkingDelay) -> GrokkingDelay:
    return jax.device_get(found)
