"""Experiments from axes: products, axes that change together, log-spaced values."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from lazyrich._ground import Config, InputError, full_path

SomeConfig = TypeVar("SomeConfig", bound=Config)

_MOST_NAMED = 8


def grid(base: SomeConfig, axes: Mapping[str | tuple[str, ...], Iterable[Any]]) -> list[SomeConfig]:
    """Every combination of the values along some axes, as experiments.

    Lists of experiments can be added: ``grid(a, …) + grid(b, …)`` is a sweep too.

    Args:
        base: what every experiment starts from.
        axes: for each field its values. A field is named by its dotted path, or by the
            end of it where no other field ends so. A tuple of names, with tuples of
            values, changes those fields together, as one axis.

    Returns:
        The experiments; the last axis changes fastest.

    Raises:
        InputError: naming every field that is unknown, every value that is not valid and
            every value that stands twice, all at once.

    Example:
        >>> class Walk(Config):
        ...     length: float = 1.0
        ...     n_steps: int = 10
        ...     seed: int = 0
        >>> walks = grid(Walk(), {("length", "n_steps"): [(1.0, 10), (0.1, 100)], "seed": range(3)})
        >>> len(walks), walks[-1]
        (6, Walk(length=0.1, n_steps=100, seed=2))
    """
    tree = base.model_dump()
    columns: list[list[dict[str, Any]]] = []
    wrong: list[str] = []
    for name, values in axes.items():
        given = list(values)
        names = (name,) if isinstance(name, str) else name
        paths = [full_path(one, tree) for one in names]
        rows = [(value,) for value in given] if isinstance(name, str) else [*map(tuple, given)]
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
    experiments = []
    causes: Counter[str] = Counter()
    combinations = [*itertools.product(*columns)]
    for combination in combinations:
        changes = {path: value for part in combination for path, value in part.items()}
        try:
            experiments.append(base.changed(changes))
        except InputError as error:
            causes[str(error).rsplit(" cannot be made: ", 1)[-1].rstrip(".")] += 1
    if causes:
        raise InputError(_sentence(causes, len(combinations)))
    return experiments


def log_spaced(first: float | int, last: float | int, n: int) -> list[float]:
    """Values at equal ratios, with both ends.

    Rounded to twelve digits, so that the same number from two grids is the same.

    Raises:
        InputError: if an end is not above zero, or fewer than two values are asked for.

    Example:
        >>> log_spaced(0.1, 10, 5)
        [0.1, 0.316227766017, 1.0, 3.16227766017, 10.0]
    """
    if not (0 < first < math.inf and 0 < last < math.inf and n >= 2):
        raise InputError(
            f"log:{first}:{last}:{n} is no range; give two ends above zero and at least 2 values."
        )
    return [float(f"{value:.12g}") for value in np.geomspace(first, last, n)]


def axes_from_text(
    product: Sequence[str], together: Sequence[str] = ()
) -> dict[str | tuple[str, ...], list[Any]]:
    """Axes as they are typed: ``alpha=0.1,1,10``, ``seed=0:8``, ``alpha=log:0.1:10:5``.

    Values are numbers, ``true``, ``false``, ``null`` or words, separated by commas;
    ``FIRST:LAST`` counts from FIRST up to, but not including, LAST;
    ``log:FIRST:LAST:N`` gives N values at equal ratios. a value that is a list
    is JSON, such as ``sizes=[100,100],[200,200]``.

    Args:
        product: axes of which every combination is wanted.
        together: axes that change together, as one.

    Raises:
        InputError: naming every axis that cannot be read.

    Example:
        >>> axes_from_text(["seed=0:3", "net.kind=mlp,committee"])
        {'seed': [0, 1, 2], 'net.kind': ['mlp', 'committee']}
        >>> axes_from_text([], ["alpha=1,2", "n_steps=100,400"])
        {('alpha', 'n_steps'): [(1, 100), (2, 400)]}
    """
    wrong: list[str] = []
    apart = [_axis(text, wrong) for text in product]
    joint = [_axis(text, wrong) for text in together]
    repeated = [name for name, n in Counter(name for name, _ in apart + joint).items() if n > 1]
    wrong += [f"{name} is given more than once" for name in repeated]
    if len({len(values) for _, values in joint}) > 1:
        lengths = ", ".join(f"{name} has {len(values)}" for name, values in joint)
        wrong.append(f"axes that change together need equally many values, but {lengths}")
    if wrong:
        raise InputError(f"The axes cannot be read: {'; '.join(wrong)}.")
    axes: dict[str | tuple[str, ...], list[Any]] = {}
    if joint:
        rows = zip(*(values for _, values in joint), strict=True)
        axes[tuple(name for name, _ in joint)] = [*rows]
    return axes | dict(apart)


def _axis(text: str, wrong: list[str]) -> tuple[str, list[Any]]:
    name, equals, given = text.partition("=")
    name = name.strip()
    try:
        if not (name and equals and given):
            raise ValueError("write it as NAME=VALUES, such as alpha=0.1,1,10 or seed=0:8")
        return name, _values(given.strip())
    except (ValueError, InputError) as error:
        wrong.append(f"{text!r} ({str(error).rstrip('.')})")
        return name, []


def _values(text: str) -> list[Any]:
    kind, *parts = text.split(":")
    if kind == "log" and len(parts) == 3:
        return list(log_spaced(float(parts[0]), float(parts[1]), int(parts[2])))
    if parts and text.replace(":", "").replace("-", "").isdigit() and len(parts) <= 2:
        found = list(range(*(int(part) for part in (kind, *parts))))
        if not found:
            raise ValueError("the range is empty")
        return found
    if text.startswith("["):
        return json.loads(f"[{text}]")
    return [_value(part.strip()) for part in text.split(",")]


def _value(text: str) -> Any:
    if not text:
        raise ValueError("a value is empty")
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)  # .5, 1e-3
    except ValueError:
        return text


def _hashable(row: Sequence[Any]) -> tuple[str, ...]:
    """Values as text; whole numbers and their float twins are the same value."""
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
