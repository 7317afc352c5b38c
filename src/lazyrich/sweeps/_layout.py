"""Which settings differ between experiments, and which of them become dimensions."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from lazyrich._base import Json

from .store._key import present_form
from .store._result import Hashed

# Above this many cells for each experiment a grid is mostly holes: list them instead.
_MAX_HOLES = 10

LISTED = "run"
"""The dimension of experiments that fill too little of a grid."""


class Axes(NamedTuple):
    """How experiments lie in a grid.

    Attributes:
        dims: values along each dimension, by its name.
        along: settings that follow another: by name the dimension and a value for each
            of its places.
        cells: for each experiment its place along each dimension.
        common: settings that are equal in all experiments.
    """

    dims: dict[str, list[object]]
    along: dict[str, tuple[str, list[object]]]
    cells: list[tuple[int, ...]]
    common: dict[str, object]


def settings_of(hashed: Hashed) -> dict[str, object]:
    """The settings of an experiment by dotted path, with what else its key depends on."""
    found = dict(_leaves(present_form(json.loads(hashed["config"]))))
    found["experiment"] = hashed["experiment"]
    found |= {f"numerics.{name}": number for name, number in hashed["numerics"].items()}
    return found


def _leaves(tree: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, plain(value)


def plain(value: Json) -> object:
    """A value that can be compared and looked up: lists as tuples, deeper ones as text."""
    if not isinstance(value, list):
        return value
    is_flat = not any(isinstance(part, list | dict) for part in value)
    return tuple(value) if is_flat else json.dumps(value, sort_keys=True, ensure_ascii=False)


def arrange(rows: Sequence[Mapping[str, object]], reserved: Set[str]) -> Axes:
    """Lay experiments out in a grid of the settings that differ.

    A setting that another one determines (a learning rate that was changed together
    with α) stands along that one's dimension instead of making its own. Where the grid
    would be more than ten times as large as the number of experiments, they are listed
    along one dimension ``run``.

    Args:
        rows: settings of each experiment, from ``settings_of``; no two are equal.
        reserved: names that a dimension cannot have.
    """
    paths = list(dict.fromkeys(path for row in rows for path in row))
    columns = {path: [row.get(path) for row in rows] for path in paths}
    common = {path: values[0] for path, values in columns.items() if _is_constant(values)}
    differ = sorted((path for path in paths if path not in common), key=_is_seed)
    names = short_names(paths, reserved)
    roots: list[str] = []
    for path in differ:
        others = (other for other in differ if other != path)
        if not any(_leads(columns, differ, other, path) for other in others):
            roots.append(path)
    levels = {path: in_order(columns[path]) for path in roots}
    n_cells = math.prod(len(values) for values in levels.values())
    if len(roots) > 1 and n_cells > _MAX_HOLES * len(rows):
        along = {names[path]: (LISTED, columns[path]) for path in differ}
        return Axes(
            {LISTED: list(range(len(rows)))}, along, [(i,) for i in range(len(rows))], common
        )
    places = {path: {value: i for i, value in enumerate(levels[path])} for path in roots}
    cells = [tuple(places[path][columns[path][i]] for path in roots) for i in range(len(rows))]
    along = {}
    for path in differ:
        if path not in roots:
            root = next(root for root in roots if _determines(columns[root], columns[path]))
            value_at = dict(zip(columns[root], columns[path], strict=True))
            along[names[path]] = (names[root], [value_at[level] for level in levels[root]])
    return Axes({names[path]: levels[path] for path in roots}, along, cells, common)


def short_names(paths: Sequence[str], reserved: Set[str] = frozenset()) -> dict[str, str]:
    """The last part of each path where no other path ends so, else the whole path.

    Args:
        paths: of settings, with dots.
        reserved: names that are taken already.

    Returns:
        A name for each path.

    Example:
        >>> short_names(["task.dim", "net.kind", "task.kind"])
        {'task.dim': 'dim', 'net.kind': 'net.kind', 'task.kind': 'task.kind'}
    """
    leaves = [path.rsplit(".", 1)[-1] for path in paths]
    return {
        path: leaf if leaves.count(leaf) == 1 and leaf not in reserved else path
        for path, leaf in zip(paths, leaves, strict=True)
    }


def labels(values: Sequence[object]) -> np.ndarray:
    """Settings as the values of a coordinate: numbers where all are, else text."""
    if all(isinstance(value, int | float) for value in values):
        return np.asarray(values)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return np.asarray(texts, dtype=str)


def _is_constant(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)


def _is_seed(path: str) -> bool:
    return path.rsplit(".", 1)[-1].endswith("seed")


def in_order(values: Iterable[object]) -> list[object]:
    """Distinct values: sorted if all are numbers, else in the order of their appearance."""
    distinct = list(dict.fromkeys(values))
    numbers = [value for value in distinct if isinstance(value, int | float)]
    return [*sorted(numbers)] if len(numbers) == len(distinct) else distinct


def _determines(one: Sequence[object], other: Sequence[object]) -> bool:
    seen: dict[object, object] = {}
    return all(
        seen.setdefault(a, b) == b and type(seen[a]) is type(b)
        for a, b in zip(one, other, strict=True)
    )


def _leads(columns: Mapping[str, Sequence[object]], order: list[str], one: str, other: str) -> bool:
    """Whether ``other`` follows ``one``; of two that follow each other the first leads."""
    if not _determines(columns[one], columns[other]):
        return False
    is_mutual = _determines(columns[other], columns[one])
    return not is_mutual or order.index(one) < order.index(other)
