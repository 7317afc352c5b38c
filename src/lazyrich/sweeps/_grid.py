"""Experiments from axes: products, axes that change together, log-spaced values."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import NamedTuple, TypeVar

import numpy as np

from lazyrich._base import (
    MOST_EXPERIMENTS,
    Config,
    InputError,
    full_path,
    grouped,
    read_json,
    read_value,
    read_whole_number,
    require_countable,
    shown,
)

SomeConfig = TypeVar("SomeConfig", bound=Config)

_MOST_NAMED = 8
_RANGE = re.compile(r"-?[0-9]+(:-?[0-9]+){1,2}")


def grid(
    base: SomeConfig,
    axes: Mapping[str | tuple[str, ...], Iterable[object]] | Mapping[str, Iterable[object]],
    *,
    limit: int = MOST_EXPERIMENTS,
) -> list[SomeConfig]:
    """Every combination of the values along some axes, as experiments.

    Lists of experiments can be added: ``grid(a, …) + grid(b, …)`` is a sweep too.

    Args:
        base: what every experiment starts from.
        axes: for each field its values. A field is named by its dotted path, or by the
            end of it where no other field ends so. A tuple of names, with tuples of
            values, changes those fields together, as one axis.
        limit: most experiments; they are counted before any is made.

    Returns:
        The experiments; the last axis changes fastest.

    Raises:
        InputError: naming every field that is unknown, every value that is not valid and
            every value that stands twice, all at once; or if there are more than the limit.

    Example:
        >>> class Walk(Config):
        ...     length: float = 1.0
        ...     n_steps: int = 10
        ...     seed: int = 0
        >>> walks = grid(Walk(), {("length", "n_steps"): [(1.0, 10), (0.1, 100)], "seed": range(3)})
        >>> len(walks), walks[-1]
        (6, Walk(length=0.1, n_steps=100, seed=2))
    """
    _require_kinds(base, axes)
    # Values that have no length are taken up to the limit only.
    values_of = {
        name: values if isinstance(values, Sized) else [*itertools.islice(values, limit + 1)]
        for name, values in axes.items()
    }
    require_countable(math.prod(map(len, values_of.values())), limit=limit)
    columns = _columns(base.model_dump(), values_of)
    experiments = []
    causes: Counter[str] = Counter()
    for combination in itertools.product(*columns):
        changes = {path: value for part in combination for path, value in part.items()}
        try:
            experiments.append(base.changed(changes))
        except InputError as error:
            causes[str(error).rsplit(" cannot be made: ", 1)[-1].rstrip(".")] += 1
    if causes:
        raise InputError(_sentence(causes, math.prod(map(len, columns))))
    return experiments


def _require_kinds(base: object, axes: object) -> None:
    if not isinstance(base, Config):
        raise InputError(
            f'The grid starts from {shown(base)}; give an experiment, such as preset("polynomial").'
        )
    if not isinstance(axes, Mapping):
        raise InputError(f'The axes are {shown(axes)}; give a mapping such as {{"alpha": [1, 2]}}.')
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InputError(f"The axis {shown(name)} is {shown(values)}; give a list of values.")


def _columns(
    tree: Mapping[str, object], axes: Mapping[str | tuple[str, ...], Iterable[object]]
) -> list[list[dict[str, object]]]:
    """For each axis what it changes at each of its places, by path."""
    columns: list[list[dict[str, object]]] = []
    wrong: list[str] = []
    for name, values in axes.items():
        given = list(values)
        names = (name,) if isinstance(name, str) else name
        paths = [full_path(one, tree) for one in names]
        rows = [(value,) if isinstance(name, str) else _row(value) for value in given]
        label = "+".join(names)
        if not given:
            wrong.append(f"{label} has no values")
        if any(len(row) != len(paths) for row in rows):
            wrong.append(f"{label} names {len(paths)} fields, but not every value has as many")
            continue
        repeated = [row for row, n in Counter(map(_hashable, rows)).items() if n > 1]
        wrong += [f"{label} holds {' + '.join(row)} more than once" for row in repeated]
        columns.append([dict(zip(paths, row, strict=True)) for row in rows])
    named = Counter(path for column in columns if column for path in column[0])
    wrong += [f"{path} is named by {n} axes" for path, n in named.items() if n > 1]
    if wrong:
        raise InputError(f"The grid cannot be made: {'; '.join(wrong)}.")
    return columns


def _row(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def log_spaced(first: float | int, last: float | int, n: int) -> list[float]:
    """Values at equal ratios, with both ends.

    Rounded to twelve digits, so that the same number from two grids is the same.

    Args:
        first: one end, above zero.
        last: the other end, above zero.
        n: how many, two or more.

    Returns:
        The values, from the first to the last.

    Raises:
        InputError: if an end is not above zero, or fewer than two values are asked for.

    Example:
        >>> log_spaced(0.1, 10, 5)
        [0.1, 0.316227766017, 1.0, 3.16227766017, 10.0]
    """
    _require_log_range(first, last, n)
    return [float(f"{value:.12g}") for value in np.geomspace(first, last, n)]


def _require_log_range(first: float | int, last: float | int, n: int) -> None:
    if not (0 < first < math.inf and 0 < last < math.inf and n >= 2):
        raise InputError(
            f"log:{first}:{last}:{n} is not a range; give two ends above zero and at least 2 "
            "values."
        )


def axes_from_text(
    product: Sequence[str], together: Sequence[str] = (), *, limit: int = MOST_EXPERIMENTS
) -> dict[str | tuple[str, ...], list[object]]:
    """Axes as they are typed: ``alpha=0.1,1,10``, ``seed=0:8``, ``alpha=log:0.1:10:5``.

    Values are numbers, ``true``, ``false``, ``null`` or words, separated by commas;
    ``FIRST:LAST`` counts from FIRST up to, but not including, LAST;
    ``log:FIRST:LAST:N`` gives N values at equal ratios. A value that is a list or an
    object is JSON, such as ``sizes=[100,100],[200,200]``.

    Args:
        product: axes of which every combination is wanted.
        together: axes that change together, as one.
        limit: most experiments; they are counted before any value is written out.

    Returns:
        The values of each axis, by its path or, of axes that change together, by their paths.

    Raises:
        InputError: naming every axis that cannot be read; or if there are more than the
            limit.

    Example:
        >>> axes_from_text(["seed=0:3", "net.kind=mlp,committee"])
        {'seed': [0, 1, 2], 'net.kind': ['mlp', 'committee']}
        >>> axes_from_text([], ["alpha=1,2", "n_steps=100,400"])
        {('alpha', 'n_steps'): [(1, 100), (2, 400)]}
    """
    wrong: list[str] = []
    apart = [_axis(text, wrong) for text in product]
    joint = [_axis(text, wrong) for text in together]
    repeated = [name for name, n in Counter(one.name for one in apart + joint).items() if n > 1]
    wrong += [f"{name} is given more than once" for name in repeated]
    if len({one.n for one in joint}) > 1:
        lengths = ", ".join(f"{one.name} has {grouped(one.n)}" for one in joint)
        wrong.append(f"axes that change together need equally many values, but {lengths}")
    if wrong:
        raise InputError(f"The axes cannot be read: {'; '.join(wrong)}.")
    require_countable(math.prod(one.n for one in [*apart, *joint[:1]]), limit=limit)
    axes: dict[str | tuple[str, ...], list[object]] = {}
    if joint:
        rows = zip(*(one.values() for one in joint), strict=True)
        axes[tuple(one.name for one in joint)] = [*rows]
    return axes | {one.name: one.values() for one in apart}


class _Axis(NamedTuple):
    """Values along an axis that are not written out before they are counted."""

    name: str
    n: int
    values: Callable[[], list[object]]


def _axis(text: str, wrong: list[str]) -> _Axis:
    name, equals, given = text.partition("=")
    name = name.strip(" ")
    try:
        if not (name and equals and given):
            raise InputError("write it as NAME=VALUES, such as alpha=0.1,1,10 or seed=0:8")
        return _Axis(name, *_values(given.strip(" ")))
    except InputError as error:
        cause = str(error).rstrip(".")
        wrong.append(f"{shown(text)} ({cause[0].lower()}{cause[1:]})")
        return _Axis(name, 0, list)


def _values(text: str) -> tuple[int, Callable[[], list[object]]]:
    kind, *parts = text.split(":")
    if kind == "log" and len(parts) == 3:
        ends = _number(parts[0]), _number(parts[1])
        n = read_whole_number(parts[2], name="the number of values")
        _require_log_range(*ends, n)
        return n, lambda: [*log_spaced(*ends, n)]
    if _RANGE.fullmatch(text):
        bounds = [read_whole_number(part, name="an end of the range") for part in (kind, *parts)]
        if len(bounds) == 3 and bounds[2] == 0:
            raise InputError("the range has a step of 0")
        found = range(*bounds)
        if not found:
            raise InputError("the range is empty")
        # Not len(), which takes no number beyond a machine's word.
        return 1 + abs(found[-1] - found[0]) // abs(found.step), lambda: [*found]
    is_json = text[:1] in ("[", "{", '"')
    read = read_json(f"[{text}]") if is_json else [*map(read_value, text.split(","))]
    assert isinstance(read, list)
    return len(read), lambda: [*read]


def _number(text: str) -> float | int:
    value = read_value(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{shown(text)} is not a number")
    return value


def _hashable(row: Sequence[object]) -> tuple[str, ...]:
    """Values as text; a whole number and the float equal to it are the same value."""
    return tuple(
        json.dumps(float(value) if isinstance(value, int | float) else value, default=str)
        for value in row
    )


def _sentence(causes: Counter[str], n: int) -> str:
    named = [f"{cause} (in {times})" for cause, times in causes.most_common(_MOST_NAMED)]
    rest = len(causes) - len(named)
    more = f"; and {rest} other causes" if rest > 0 else ""
    return (
        f"{sum(causes.values())} of {n} experiments cannot be made, so none was run: "
        f"{'; '.join(named)}{more}."
    )
