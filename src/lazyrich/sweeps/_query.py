"""Query a store: select experiments, as a dataset or as a table."""

import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import PyTree

from lazyrich._base import (
    InputError,
    matching_paths,
    nearest_name,
    read_value,
    say_renamed,
    shown,
)
from lazyrich.training import CommitteeExperiment, Experiment, experiment_from_json

from ._dataset import to_dataset
from ._layout import plain, settings_of, short_names
from ._tables import FACTS, write_table
from .store._key import present_form
from .store._result import Facts, Outcome
from .store._store import Store

_SIGNS: dict[str, Callable[[PyTree, PyTree], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORMER_NAMES = {**Experiment.former_names, **CommitteeExperiment.former_names}
_CONDITION = re.compile(r" *([^\s=<>!]+) *(!=|<=|>=|=|<|>) *(.+?) *")


def find(store: str | os.PathLike[str], where: Iterable[str] = ()) -> list[Outcome]:
    """The experiments of a store that meet all conditions.

    Args:
        store: a folder, or a URL that fsspec opens.
        where: conditions such as ``alpha=1``, ``epsilon<=0.1``, ``net.kind=mlp`` or
            ``status!=ok``; a setting is named by its path or by an end of it that no
            other has.

    Returns:
        The experiments, in the order of their settings.

    Raises:
        InputError: if there is no store, a condition cannot be read, or it names no setting.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from lazyrich._base import Config, Status
        >>> from lazyrich.sweeps import outcome_of
        >>> from lazyrich.training import History, Record
        >>> class Walk(Config):
        ...     length: float = 1.0
        >>> def outcome(length):
        ...     records = {"height": Record(np.array([length]))}
        ...     return outcome_of(
        ...         History(Walk(length=length), np.array([0]), records, Status.ok, None, 0.1))
        >>> store = Store(tempfile.mkdtemp())
        >>> store.save(outcome(1.0)), store.save(outcome(2.0))
        (None, None)
        >>> [one.records["height"].values.tolist() for one in find(store.where, ["length>1"])]
        [[2.0]]
    """
    source = Store(store)
    source.scan()
    source.warn_of_damaged()
    if not source.kept:
        raise InputError(f"There are no experiments in {source.where}; give the folder of a store.")
    stored = {key: _row(kept.facts) for key, kept in source.kept.items()}
    rows = stored
    for condition in where:
        if not _is_in_all(condition, rows.values()):
            rows = {key: row | _left_out(source.kept[key].facts) for key, row in rows.items()}
        is_met = _condition(condition, [*rows.values()])
        rows = {key: row for key, row in rows.items() if is_met(row)}
    if not rows:
        raise InputError(
            f"None of the {len(source.kept)} experiments in {source.where} meets "
            f"{' and '.join(where)}."
        )
    outcomes = source.outcomes(rows)
    shortest_first = sorted(rows, key=lambda key: (len(stored[key]), key))
    paths = dict.fromkeys(path for key in shortest_first for path in stored[key])
    paths = [path for path in paths if path not in FACTS]

    def place(key: str) -> tuple[list[object], str]:
        return [_rank(stored[key].get(path)) for path in paths], key

    return [outcomes[key] for key in sorted(outcomes, key=place)]


def open_dataset(store: str | os.PathLike[str], where: Iterable[str] = ()) -> xr.Dataset:
    """The experiments of a store that meet all conditions, as one dataset.

    What was computed with several versions of the numerics has them as a dimension.

    Args:
        store: a folder, or a URL that fsspec opens.
        where: conditions, as for ``find``.

    Returns:
        As ``sweep`` returns it.

    Raises:
        InputError: as for ``find``.

    Example:
        >>> open_dataset("nowhere", ["alpha<=1", "status=ok"])
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: There are no experiments in nowhere; give the folder
        of a store.
    """
    return to_dataset(find(store, where))


def differing(
    outcomes: Sequence[Outcome], *, within_kinds: bool = False
) -> dict[str, list[object]]:
    """The settings that are not equal in all experiments, by short name.

    Args:
        outcomes: such as ``find`` gives.
        within_kinds: leave out what differs between experiments of different kinds only,
            of which most settings are in one kind.

    Returns:
        For each such setting its value in every experiment; None where it has none.

    Example:
        >>> short = Outcome("", "Walk", '{"length": 1.0}', {}, "ok", "", 0.1, {}, np.zeros(0), {})
        >>> long = short._replace(config='{"length": 2.0}')
        >>> differing([short, long])
        {'length': [1.0, 2.0]}
    """
    rows = [settings_of(outcome.facts) for outcome in outcomes]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    names = short_names(paths)
    columns = {names[path]: [row.get(path) for row in rows] for path in paths}
    kinds = [row["experiment"] if within_kinds else "" for row in rows]
    firsts = {kind: k for k, kind in reversed([*enumerate(kinds)])}

    def differs(name: str, values: list[object]) -> bool:
        if name == "experiment":
            return any(value != values[0] for value in values)
        pairs = zip(values, kinds, strict=True)
        return any(value != values[firsts[kind]] for value, kind in pairs)

    return {name: values for name, values in columns.items() if differs(name, values)}


def export(outcomes: Sequence[Outcome], path: Path) -> int:
    """Write experiments as a table with a row for every record of every run.

    Columns: the settings that differ, ``status``, ``wall_seconds``, ``key``, ``step``,
    and each measured quantity; one with an axis has a column for each place along it,
    such as ``solved[threshold=0.5]``. A failed experiment has one row, without numbers.

    Args:
        outcomes: such as ``find`` gives.
        path: where to; ``.csv``, or ``.parquet``, which needs pyarrow.

    Returns:
        The number of rows.

    Raises:
        InputError: if the ending is another, pyarrow is missing, the file cannot be written,
            or another file is there than such a table.

    Example:
        >>> import tempfile
        >>> from lazyrich.training import Record
        >>> steps, records = np.arange(2), {"height": Record(np.array([0.0, 1.0]))}
        >>> walk = Outcome("", "Walk", '{"length": 1.0}', {}, "ok", "", 0.1, {}, steps, records)
        >>> export([walk], Path(tempfile.mkdtemp()) / "walks.csv")  # a row for each step
        2
    """
    import pandas as pd

    settings = differing(outcomes)
    parts = []
    for i, outcome in enumerate(outcomes):
        about = {name: _cell(values[i]) for name, values in settings.items()}
        about |= {name: getattr(outcome, name) for name in FACTS}
        columns: dict[str, np.ndarray] = {"step": outcome.steps}
        for name, record in outcome.records.items():
            flat = record.values.reshape(len(outcome.steps), -1)
            for place, label in enumerate(_column_names(name, outcome)):
                columns[label] = flat[:, place]
        part = pd.DataFrame(columns if len(outcome.steps) else {"step": [pd.NA]})
        for column, (name, value) in enumerate(about.items()):
            part.insert(column, name, value)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    write_table(table, path)
    return len(table)


def _row(facts: Facts) -> dict[str, object]:
    return settings_of(facts) | {name: value for name, value in facts.items() if name in FACTS}


def _is_in_all(text: str, rows: Iterable[dict[str, object]]) -> bool:
    """Whether the setting of a condition, if it can be read, is stored in every row."""
    match = _CONDITION.fullmatch(text)
    return match is None or all(matching_paths(match[1], [*row]) for row in rows)


def _left_out(facts: Facts) -> dict[str, object]:
    """Settings that are not stored, being at the default that they had before they were added."""
    tree = present_form(json.loads(facts["config"]))
    try:
        whole = experiment_from_json(json.dumps(tree)).model_dump_json()
    except InputError:  # of a class of the user's
        return {}
    stored = settings_of(facts)
    every = settings_of(
        {"experiment": facts["experiment"], "config": whole, "numerics": facts["numerics"]}
    )
    return {path: value for path, value in every.items() if path not in stored}


def _condition(text: str, rows: Sequence[dict[str, object]]) -> Callable[[dict[str, object]], bool]:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InputError(
            f"The condition {shown(text)} cannot be read; write NAME=VALUE, or !=, <, <=, >, >= "
            "for =."
        )
    name, sign, given = match.groups()
    # Experiments of several kinds may have a setting of this name in several places.
    place = {shape: matching_paths(name, shape) for shape in {tuple(row) for row in rows}}
    fitting = [*dict.fromkeys(path for paths in place.values() for path in paths)]
    if not fitting and name in _FORMER_NAMES:
        say_renamed(name, _FORMER_NAMES[name])
        return _condition(text.replace(name, _FORMER_NAMES[name], 1), rows)
    if not fitting or any(len(paths) > 1 for paths in place.values()):
        known = list(dict.fromkeys(path for shape in place for path in shape))
        which = f"it could be {' or '.join(fitting)}." if fitting else nearest_name(name, known)
        raise InputError(f"The condition {shown(text)} names no setting; {which}")
    values = [row[path] for row in rows for path in place[tuple(row)]]
    wanted = _wanted(text, given, {_kind(value) for value in values})

    def is_met(row: dict[str, object]) -> bool:
        paths = place[tuple(row)]
        if not paths:
            return False
        value = row[paths[0]]
        if _kind(value) != _kind(wanted):
            return sign == "!="
        if value is None:
            return sign in ("=", "<=", ">=")
        return _SIGNS[sign](value, wanted)

    return is_met


def _wanted(text: str, given: str, kinds: set[str]) -> object:
    """The value to compare with, of a kind that the setting has."""
    if kinds <= {"text", "nothing"} and given != "null" and given[0] not in '[{"':
        return given  # also where it looks like a number, as a key can
    try:
        wanted = plain(read_value(given))
    except InputError as error:
        raise InputError(f"The condition {shown(text)} cannot be read: {error}") from None
    if _kind(wanted) in kinds | {"nothing"}:
        return wanted
    raise InputError(
        f"The condition {shown(text)} compares {' or '.join(sorted(kinds))} with "
        f"{_kind(wanted)}; give {sorted(kinds)[0]}."
    )


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, tuple) else "text"


def _rank(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then everything else by its text."""
    return (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))


def _cell(value: object) -> str | int | float | None:
    return value if value is None or isinstance(value, int | float | str) else json.dumps(value)


def _column_names(name: str, outcome: Outcome) -> list[str]:
    record = outcome.records[name]
    names = [""]
    for place, axis in enumerate(record.axes):
        given = record.coordinates[place]
        values = range(record.values.shape[1 + place]) if given is None else given
        names = [f"{start}{',' if start else ''}{axis}={v}" for start in names for v in values]
    return [f"{name}[{one}]" if one else name for one in names]
