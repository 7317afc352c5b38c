"""What the page shows of stored runs: settings, outcomes and curves, as JSON values."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, SupportsFloat, TypedDict

import jax
import numpy as np

from lazyrich._base import InputError, Json
from lazyrich.curves import grokking_delay

if TYPE_CHECKING:
    import xarray as xr

    from lazyrich.sweeps import Outcome

MOST_RUNS = 5000
"""Runs that one page shows."""

_DIGITS = 6
_LATE = 2.0
"""From this ratio of the two steps on a run counts as generalising late."""


Shown = bool | int | float | str | None
"""A setting as the page shows it."""


class Index(TypedDict, total=False):
    """All of a document but the curves, as JSON values.

    Attributes:
        title: what it is.
        kind: "store", "run", "figure" or "diagnosis".
        settings: those that differ, by name, one value for each run.
        common: those that are equal.
        quantities: units of the records.
        runs: status, seconds, error and outcome of each run.
        diagnosis: regime, readings and advice.
    """

    title: str
    kind: str
    settings: dict[str, list[Shown]]
    common: dict[str, Shown]
    quantities: dict[str, str]
    runs: list[dict[str, Shown]]
    diagnosis: dict[str, Json]


class Curves(NamedTuple):
    """What was measured of one run.

    Attributes:
        steps: optimizer updates before each record.
        values: scalar records by name.
    """

    steps: np.ndarray
    values: Mapping[str, np.ndarray]

    def to_json(self) -> dict[str, Json]:
        """JSON values of six digits; None for what is not finite."""
        return {
            "steps": [int(step) for step in self.steps],
            "values": {name: [number(v) for v in values] for name, values in self.values.items()},
        }


class Document(NamedTuple):
    """Stored runs, or a diagnosis, as the page shows them.

    Attributes:
        index: title, settings and the outcome of each run.
        curves: of each run.

    Example:
        >>> Document({"title": "nothing"}, []).with_curves()["curves"]
        []
    """

    index: Index
    curves: Sequence[Curves]

    def with_curves(self) -> dict[str, object]:
        """All of it as JSON values, for a page without a server."""
        return {**self.index, "curves": [one.to_json() for one in self.curves]}


class Described(NamedTuple):
    """What is shown of every run besides its curves.

    Attributes:
        settings: the settings that differ, by name, one value for each run.
        common: the settings that are equal.
        units: of each record.
        facts: of each run: status, seconds, error.
    """

    settings: Mapping[str, Sequence[object]]
    common: Mapping[str, object]
    units: Mapping[str, str]
    facts: Sequence[Mapping[str, Shown]]


def number(value: SupportsFloat) -> float | None:
    """A number of six digits, or None if it is not finite."""
    value = float(value)
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def document_of_outcomes(outcomes: "Sequence[Outcome]", title: str, kind: str) -> Document:
    """Experiments of a store.

    Raises:
        InputError: if there are more than a page can show.
    """
    from lazyrich.sweeps import differing, short_names
    from lazyrich.sweeps._layout import settings_of

    if len(outcomes) > MOST_RUNS:
        raise InputError(
            f"{title} has {len(outcomes)} experiments, a page shows {MOST_RUNS}; "
            "copy the ones of interest into a smaller store, or use lazyrich show --where."
        )
    settings = differing(outcomes)
    rows = [settings_of(outcome.facts) for outcome in outcomes]
    names = short_names(list(dict.fromkeys(path for row in rows for path in row)))
    first = rows[0]
    common = {names[path]: value for path, value in first.items() if names[path] not in settings}
    curves, units = [], {}
    for outcome in outcomes:
        scalars = {n: one for n, one in outcome.records.items() if one.values.ndim == 1}
        units |= {name: one.unit for name, one in scalars.items()}
        curves.append(Curves(outcome.steps, {name: one.values for name, one in scalars.items()}))
    facts = [
        {
            "status": outcome.status,
            "seconds": number(outcome.wall_seconds),
            "error": outcome.error.partition("\n")[0][:300],
        }
        for outcome in outcomes
    ]
    return _document(title, kind, Described(settings, common, units, facts), curves)


def document_of_panel(
    panel: "xr.Dataset", title: str, *, names: Sequence[str] | None = None, every: int = 1
) -> Document:
    """A labelled dataset such as ``sweep`` returns, or a figure's file holds.

    Args:
        panel: over its axes and ``step``.
        title: what it is.
        names: the records to show; None shows all that have no other axes.
        every: of the records of a run show one in so many.

    Returns:
        The runs that are there.
    """
    axes = [str(axis) for axis in panel["status"].dims]
    scalars = [
        str(name)
        for name, values in panel.data_vars.items()
        if set(values.dims) == {*axes, "step"} and (names is None or name in names)
    ]
    steps, curves, facts = panel["step"].values, [], []
    settings: dict[str, list[object]] = {axis: [] for axis in axes}
    for place in np.ndindex(*(panel.sizes[axis] for axis in axes)):
        run = panel.isel(dict(zip(axes, place, strict=True)))
        if str(run["status"].item()) == "missing":
            continue
        for axis in axes:
            settings[axis].append(_plain(run[axis].values))
        values = {name: run[name].values for name in scalars}
        there = np.flatnonzero(np.any([np.isfinite(v) for v in values.values()], axis=0))
        keep = there[[*range(0, max(0, len(there) - 1), every), -1]] if len(there) else there
        curves.append(Curves(steps[keep], {name: v[keep] for name, v in values.items()}))
        seconds = run["wall_seconds"].item() if "wall_seconds" in run else math.nan
        facts.append({"status": str(run["status"].item()), "seconds": number(seconds), "error": ""})
    units = {name: str(panel[name].attrs.get("units", "dimensionless")) for name in scalars}
    common = json.loads(panel.attrs.get("common", "{}"))
    return _document(title, "figure", Described(settings, common, units, facts), curves)


def document_of_diagnosis(diagnosis: Mapping[str, Json], title: str) -> Document:
    """A diagnosis, from its ``to_dict``; what a monitor recorded becomes a run."""
    given = diagnosis["records"]
    assert isinstance(given, list)
    records = [one for one in given if isinstance(one, dict) and "step" in one]
    index = Index()
    curves: list[Curves] = []
    if len(records) > 1:
        names = [
            name for name in dict.fromkeys(k for one in records for k in one) if name != "step"
        ]
        values = {n: np.array([_or_nan(one.get(n)) for one in records], float) for n in names}
        curves = [Curves(np.array([int(_or_nan(one["step"])) for one in records]), values)]
        facts = [{"status": "ok", "seconds": None, "error": ""}]
        about = Described({}, {}, dict.fromkeys(names, "dimensionless"), facts)
        index = _document(title, "diagnosis", about, curves).index
    shown = {name: diagnosis[name] for name in ("regime", "reason", "readings", "advice", "notes")}
    return Document({**index, "title": title, "kind": "diagnosis", "diagnosis": shown}, curves)


def _or_nan(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _document(title: str, kind: str, about: Described, curves: Sequence[Curves]) -> Document:
    results = _results(curves)
    settings = {name: [_shown(v) for v in column] for name, column in about.settings.items()}
    index: Index = {
        "title": title,
        "kind": kind,
        "settings": {name: column for name, column in settings.items() if column},
        "common": {name: _shown(value) for name, value in about.common.items()},
        "quantities": dict(about.units),
        "runs": [{**fact, **result} for fact, result in zip(about.facts, results, strict=True)],
    }
    return Document(index, curves)


def _results(curves: Sequence[Curves]) -> list[dict[str, Shown]]:
    """The outcome of each run: when its losses fall, how it ends, its outcome in words."""
    found: list[dict[str, Shown]] = [dict(_NOTHING) for _ in curves]
    groups: dict[int, list[int]] = {}
    for k, one in enumerate(curves):
        if _has_losses(one):
            groups.setdefault(len(one.steps), []).append(k)
    for numbers in groups.values():  # together, for one call takes milliseconds
        steps, train, test = (
            np.stack(part) for part in zip(*_losses(curves, numbers), strict=True)
        )
        with jax.enable_x64(True):
            delays = jax.device_get(jax.vmap(grokking_delay)(steps, train, test))
        for at, k in enumerate(numbers):
            delay = {name: float(part[at]) for name, part in delays._asdict().items()}
            found[k] = _result(delay, train[at], test[at])
    return found


_NOTHING: dict[str, Shown] = {
    **dict.fromkeys(("train_step", "test_step", "delay", "ratio", "final_test", "peak_test")),
    "is_censored": False,
    "outcome": "–",
}


def _has_losses(one: Curves) -> bool:
    if not {"train_loss", "test_loss"} <= one.values.keys() or not len(one.steps):
        return False
    return all(0 < one.values[name][0] < math.inf for name in ("train_loss", "test_loss"))


def _losses(curves: Sequence[Curves], numbers: Sequence[int]) -> Iterator[tuple[np.ndarray, ...]]:
    for k in numbers:
        values = (curves[k].steps, *(curves[k].values[n] for n in ("train_loss", "test_loss")))
        yield tuple(np.asarray(one, float) for one in values)


def _result(delay: dict[str, float], train: np.ndarray, test: np.ndarray) -> dict[str, Shown]:
    if not math.isfinite(delay["train_step"]):
        outcome = "does not fit"
    elif not math.isfinite(delay["test_step"]):
        outcome = "fits only"
    else:
        outcome = "generalises late" if delay["ratio"] >= _LATE else "generalises with fitting"
    return {
        **{name: number(delay[name]) for name in ("train_step", "test_step", "delay", "ratio")},
        "is_censored": bool(delay["is_censored"]),
        "final_test": number(test[-1] / train[0]),
        "peak_test": number(np.nanmax(test) / test[0]),
        "outcome": outcome,
    }


def _plain(value: np.ndarray) -> object:
    return value.item() if value.ndim == 0 else value.tolist()


def _shown(value: object) -> Shown:
    """A setting as a JSON value; numbers that are not finite as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
