"""Experiments as one labelled dataset."""

import json
from collections.abc import Sequence
from types import EllipsisType

import numpy as np
import xarray as xr

from lazyrich._base import InputError
from lazyrich.training import Record

from ._layout import Axes, arrange, in_order, labels, settings_of
from .store._codec import STEPS
from .store._result import FAILED, Outcome

_ABOUT = ("status", "wall_seconds", "key", "error")
MISSING = "missing"
"""Status of a cell of the grid where there is no experiment."""


def to_dataset(outcomes: Sequence[Outcome]) -> xr.Dataset:
    """One dataset with a dimension for every setting that differs.

    Args:
        outcomes: no two with equal settings.

    Returns:
        Records over the dimensions of the grid, ``step`` and their own axes; NaN
        where an experiment has no such record; ``status``, ``wall_seconds`` and ``key``
        over the grid, and ``error`` if one failed.

    Example:
        >>> from lazyrich._base import Config, Status
        >>> from lazyrich.sweeps import outcome_of
        >>> from lazyrich.training import History
        >>> class Walk(Config):
        ...     length: float = 1.0
        >>> walks = [
        ...     History(Walk(length=x), np.arange(2), {"height": Record(x * np.arange(2.0))},
        ...         Status.ok, None, 0.1)
        ...     for x in (1.0, 3.0)]
        >>> to_dataset([outcome_of(walk) for walk in walks]).height.sel(length=3.0).values
        array([0., 3.])
    """
    rows = [settings_of(outcome.facts) for outcome in outcomes]
    names = {name for outcome in outcomes for name in outcome.records}
    axis_names = {
        axis for outcome in outcomes for one in outcome.records.values() for axis in one.axes
    }
    axes = arrange(rows, reserved={STEPS, *_ABOUT, *names, *axis_names})
    shape = tuple(len(values) for values in axes.dims.values())
    dataset = xr.Dataset(coords=_coordinates(axes))
    all_steps = [outcome.steps for outcome in outcomes if len(outcome.steps)]
    steps = np.unique(np.concatenate(all_steps)) if all_steps else np.zeros(0, int)
    dataset.coords[STEPS] = (STEPS, steps, {"units": "steps"})
    axis_labels = _axis_labels(outcomes)
    for axis, values in axis_labels.items():
        dataset.coords[axis] = (axis, labels(values))
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.records):
        dataset[name] = _joined(name, outcomes, axes, steps, axis_labels)
    dims = tuple(axes.dims)
    dataset["status"] = (dims, _facts(outcomes, axes, shape, "status", MISSING))
    dataset["wall_seconds"] = (dims, _facts(outcomes, axes, shape, "wall_seconds", np.nan))
    dataset["wall_seconds"].attrs["units"] = "seconds"
    dataset["key"] = (dims, _facts(outcomes, axes, shape, "key", ""))
    if any(outcome.status == FAILED for outcome in outcomes):
        dataset["error"] = (dims, _facts(outcomes, axes, shape, "error", ""))
    dataset.attrs["common"] = json.dumps(axes.common, sort_keys=True, ensure_ascii=False)
    return dataset


def _coordinates(axes: Axes) -> dict[str, np.ndarray | tuple[str, np.ndarray]]:
    found: dict[str, np.ndarray | tuple[str, np.ndarray]] = {
        name: labels(values) for name, values in axes.dims.items()
    }
    for name, (dimension, values) in axes.along.items():
        found[name] = (dimension, labels(values))
    return found


def _axis_labels(outcomes: Sequence[Outcome]) -> dict[str, list[object]]:
    """All labels of every axis that records have besides the evaluation steps."""
    found: dict[str, list[object]] = {}
    for outcome in outcomes:
        for record in outcome.records.values():
            for place, axis in enumerate(record.axes):
                found.setdefault(axis, []).extend(_labels_of(record, place))
    return {axis: in_order(values) for axis, values in found.items()}


def _labels_of(record: Record, place: int) -> Sequence[object]:
    given = record.coordinates[place]
    return range(record.values.shape[1 + place]) if given is None else given


def _joined(
    name: str,
    outcomes: Sequence[Outcome],
    axes: Axes,
    steps: np.ndarray,
    axis_labels: dict[str, list[object]],
) -> xr.Variable:
    """One record of all experiments in one array."""
    holders = [(i, one.records[name]) for i, one in enumerate(outcomes) if name in one.records]
    first = holders[0][1]
    if any(record.axes != first.axes for _, record in holders):
        raise InputError(
            f"The record {name} has other axes in some experiments than in others; open them "
            "apart, with a filter."
        )
    shape = tuple(len(values) for values in axes.dims.values())
    tail = (len(steps), *(len(axis_labels[axis]) for axis in first.axes))
    dtype = np.result_type(*{record.values.dtype for _, record in holders})
    kind = dtype if dtype.kind == "f" else np.dtype(float)
    joined = np.full(shape + tail, np.nan, kind)
    places: dict[object, EllipsisType | tuple[np.ndarray, ...]] = {}
    n_filled = 0
    for i, record in holders:
        own = outcomes[i].steps
        spot = (own.tobytes(), own.dtype, record.coordinates, record.values.shape)
        if spot not in places:
            at = [np.searchsorted(steps, own)]
            for place, axis in enumerate(record.axes):
                where = {label: j for j, label in enumerate(axis_labels[axis])}
                at.append(np.array([where[label] for label in _labels_of(record, place)], int))
            is_whole = all(
                np.array_equal(one, np.arange(n)) for one, n in zip(at, tail, strict=True)
            )
            places[spot] = ... if is_whole else np.ix_(*at)
        joined[axes.cells[i]][places[spot]] = record.values
        n_filled += record.values.size
    whole = joined.astype(dtype) if n_filled == joined.size and dtype != kind else joined
    return xr.Variable((*axes.dims, STEPS, *first.axes), whole, {"units": first.unit})


def _facts(
    outcomes: Sequence[Outcome], axes: Axes, shape: tuple[int, ...], name: str, absent: str | float
) -> np.ndarray:
    values = [getattr(outcome, name) for outcome in outcomes]
    dtype = float if isinstance(absent, float) else np.asarray([absent, *values], dtype=str).dtype
    grid = np.full(shape, absent, dtype)
    for cell, value in zip(axes.cells, values, strict=True):
        grid[cell] = value
    return grid
