"""Statistics of the runs of a panel, over its seeds and along its axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, ScalarLike
from numpy.typing import ArrayLike

from lazyrich.curves import GrokkingDelay, concordance, grokking_delay, value_at

from ._run import Delays as Delays
from ._run import NotRecordedError as NotRecordedError
from ._run import Run as Run
from ._run import measured as measured
from ._run import run_at as run_at
from ._run import unfallen
from ._value import NO_CONTRAST, NO_RUN, is_left_out, missing, reason_of, tally
from ._value import Value as Value

# Of fewer runs no order is asked.
_FEWEST = 3


class AllDelays(NamedTuple):
    """As ``Delays``, as arrays over a panel's axes and its seeds."""

    train_step: np.ndarray
    test_step: np.ndarray
    delay: np.ndarray
    ratio: np.ndarray


@jax.jit
def _loss_delays(steps: Array, train: Array, test: Array, threshold: ScalarLike) -> GrokkingDelay:
    return jax.vmap(lambda a, b: grokking_delay(steps, a, b, threshold=threshold))(train, test)


_values_at = jax.jit(jax.vmap(value_at, in_axes=(None, 0, 0)))


def each_run(
    panel: xr.Dataset, function: Callable[[Run], float], *, untrained: bool = False, **where: object
) -> list[float]:
    """A function of one run of every seed, at given places along the axes.

    NaN, and why, where a run failed, diverged or was not trained: see ``measured``.
    """
    runs = (run_at(panel, seed=seed, **where) for seed in panel.seed.values)
    return [measured(function, run, untrained=untrained) for run in runs]


def by_claim(
    panel: xr.Dataset, functions: Mapping[str, Callable[[Run], float]], **where: object
) -> dict[str, list[float]]:
    """Several functions of one run of every seed, by claim; NaN as in ``each_run``."""
    runs = [run_at(panel, seed=seed, **where) for seed in panel.seed.values]
    return {name: [measured(one, run) for run in runs] for name, one in functions.items()}


def rows_along(
    panel: xr.Dataset,
    axis: str,
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
    **where: object,
) -> list[tuple[float, ...]]:
    """A function of the runs along an axis, one row for each seed; NaN as in ``each_run``."""
    columns = [
        each_run(panel, function, untrained=untrained, **where, **{axis: value})
        for value in panel[axis].values
    ]
    return list(zip(*columns, strict=True))


def along(
    panel: xr.Dataset,
    axis: str,
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
    **where: object,
) -> np.ndarray:
    """``rows_along`` as an array, for pictures: numbers without their reasons."""
    return np.array(rows_along(panel, axis, function, untrained=untrained, **where), float)


def concordances(
    panel: xr.Dataset,
    axis: str,
    function: Callable[[Run], float],
    *,
    untrained: bool = False,
    **where: object,
) -> list[float]:
    """Whether a function of the runs grows along an axis, from −1 to 1, for each seed.

    Runs that were not trained are left out, and the value says how many.
    """
    rows = rows_along(panel, axis, function, untrained=untrained, **where)
    return [concordance_of(panel[axis].values, row) for row in rows]


def concordance_of(x: Sequence[float] | np.ndarray, row: Sequence[float] | np.ndarray) -> float:
    """The concordance of two lists, with a word on what was left out or why it is NaN."""
    reasons = [reason_of(value) for value in row if np.isnan(value)]
    if len(row) < _FEWEST:
        return missing(NO_CONTRAST)
    if len(reasons) == len(row) and all(not one or is_left_out(one) for one in reasons):
        return missing(reasons[0])
    left_out = [one or "not measured" for one in reasons]
    found = concordance(np.asarray(x), np.array(row, float))
    said = f"without {len(left_out)} of {len(row)} runs ({tally(left_out)})" if left_out else ""
    if np.isnan(found):
        return missing(said or "fewer than three pairs of runs whose order is known")
    return Value(found, said) if said else found


def log_slope(x: ArrayLike, row: Sequence[float]) -> float:
    """Slope over log x of log y; NaN, and why, unless all of two or more y are above zero."""
    if len(row) < _FEWEST - 1:
        return missing(NO_CONTRAST)
    for value in row:
        if not 0 < value < np.inf:
            return missing(reason_of(value) or "a value that is none or never")
    return float(np.polyfit(np.log(x), np.log(np.array(row, float)), 1)[0])


def least_of(row: Sequence[float]) -> float:
    """The smallest value; never or NaN if one of them is."""
    odd = [value for value in row if not np.isfinite(value)]
    return min(odd, key=np.isinf) if odd else min(row)


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


def all_delays(panel: xr.Dataset, threshold: float = 0.1) -> AllDelays:
    """The delays of every run of a panel at once, for panels of hundreds of runs.

    Args:
        panel: runs of one evaluation schedule.
        threshold: share of the initial train loss.

    Returns:
        The delays as a ``Run`` gives them; all NaN where there is no run.
    """
    train, test = (_rows(panel, f"{part}_loss") for part in ("train", "test"))
    test = np.where(np.isfinite(train), test, np.nan)  # cut where the run diverged, as a Run is
    found = jax.device_get(_loss_delays(panel.step.values, train, test, threshold))
    is_there = np.isfinite(train[:, 0])
    is_whole = np.isin(panel.status.values.ravel(), ("ok", "out_of_steps"))
    has_delay = is_whole & np.isfinite(found.train_step)
    shape = panel.status.shape
    return AllDelays(
        *(
            np.where(has_delay if name in ("delay", "ratio") else is_there, values, np.nan).reshape(
                shape
            )
            for name, values in zip(AllDelays._fields, found, strict=False)
        )
    )


def all_at(panel: xr.Dataset, name: str, steps: np.ndarray) -> np.ndarray:
    """A record of every run at a step of its own, over axes and seeds; NaN at infinity.

    Raises:
        NotRecordedError: if the runs do not have it.
    """
    if name not in panel:
        raise NotRecordedError(name)
    values = _rows(panel, name)
    return np.asarray(_values_at(panel.step.values, values, steps.ravel())).reshape(
        panel.status.shape
    )


def faults_of(panel: xr.Dataset, seed: int) -> list[str]:
    """Why runs of a seed may have given no number: one reason for each run that has one."""
    if seed not in panel.seed.values:
        return []
    one = panel.sel(seed=seed)
    status = one.status.values.ravel()
    found = [str(s) for s in status if s not in ("ok", "out_of_steps")]
    found = [NO_RUN if fault == "missing" else fault for fault in found]
    if "train_loss" in one and one.sizes["step"]:
        loss = one.train_loss.transpose(*one.status.dims, "step").values
        loss = loss.reshape(len(status), -1)
        fell = np.nanmin(np.where(np.isfinite(loss), loss, np.inf), axis=1) <= 0.1 * loss[:, 0]
        is_whole = np.isin(status, ("ok", "out_of_steps"))
        found += [unfallen(0.1)] * int(np.sum(is_whole & ~fell))
    return found


def _rows(panel: xr.Dataset, name: str) -> np.ndarray:
    record = panel[name].transpose(*panel.status.dims, "step").values
    return record.reshape(-1, record.shape[-1])
