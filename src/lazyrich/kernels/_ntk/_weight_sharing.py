"""Parameters that enter several times: which entries of the array the entries share.

The Jacobian of a shared parameter is a sum over its entries, and the kernel holds the
products of all pairs of them. Entries that use the array in one and the same way are one
entry with more positions. The rest is compared in pairs: two entries can use parts of the
array that overlap, or one the array and the other its transpose (a tied embedding).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._sites import Site
from ._trace import Program


@dataclass(frozen=True)
class Overlap:
    """The parameter entries that two uses of a parameter share.

    Attributes:
        is_turned: whether the units of one are the contracted axes of the other.
        left: of the first use, the units and the contracted entries that are shared.
        right: of the second use, those of its units and contracted entries that are the
            same, or, if turned, first the contracted entries and then the units.
    """

    is_turned: bool
    left: tuple[np.ndarray, np.ndarray]
    right: tuple[np.ndarray, np.ndarray]


def classes(sites: Sequence[Site]) -> list[list[Site]]:
    """Gather the entries that use a parameter in one and the same way."""
    gathered: list[tuple[tuple, list[Site]]] = []
    for site in sites:
        key = _key(site)
        for other, members in gathered:
            if all(np.array_equal(a, b) for a, b in zip(key, other, strict=True)):
                members.append(site)
                break
        else:
            gathered.append((key, [site]))
    return [members for _, members in gathered]


def overlaps(program: Program, sites: Sequence[Site]) -> dict[tuple[int, int], Overlap] | None:
    """What pairs of unlike uses of one parameter share.

    Args:
        program: the predictor.
        sites: one entry of each class.

    Returns:
        For each ordered pair that shares entries, which; None if it cannot be said in
        terms of units and contracted entries.
    """
    if len(sites) == 1 or _are_apart(program, sites):
        return {}
    if any(s.kind == "addition" or "batch" in s.roles or s.n_groups > 1 for s in sites):
        return None
    tables = _tables(sites)
    if tables is None:
        return None
    found = {}
    for i, first in enumerate(tables):
        for j, second in enumerate(tables):
            overlap = _overlap(first, second) if i != j else None
            if overlap is not None:
                found[i, j] = overlap
    return found


def _key(site: Site) -> tuple:
    """Equal (as arrays) for entries whose factors can stand in one array."""
    axes = (_axes(site, "batch"), _axes(site, "unit"), site.inner_axes)
    if site.strides is None:
        chain = tuple((id(step), result) for step, result in site.view.chain)
        return (site.kind, site.n_groups, chain, *axes)
    return (site.kind, site.n_groups, site.strides.start, *map(site.strides.offsets, axes))


def _axes(site: Site, role: str) -> tuple[int, ...]:
    """The view's axes along the tap's axes of a role, in the order of the cotangent's."""
    axes = (site.batch_axes if role == "batch" else site.unit_axes) or {}
    return tuple(
        axes[label] for label, own in zip(site.axes, site.roles, strict=True) if own == role
    )


def _are_apart(program: Program, sites: Sequence[Site]) -> bool:
    """Whether no two entries use the same entry of the parameter."""
    shape = program.shapes[program.inputs[sites[0].param]].shape
    is_taken = np.zeros(int(np.prod(shape)), bool)
    for site in sites:
        if site.strides is None:
            return False
        acting = [axis for axis, step in enumerate(site.strides.steps) if step]
        sizes = [site.strides.shape[axis] for axis in acting]
        steps = [site.strides.steps[axis] for axis in acting]
        # Of one byte an entry, so steps count bytes.
        places = np.lib.stride_tricks.as_strided(is_taken[site.strides.start :], sizes, steps)
        if places.any():
            return False
        places[...] = True
    return True


@dataclass(frozen=True)
class _Table:
    """A use of a parameter as a table: rows, columns, and which of the two are the units."""

    has_unit_rows: bool
    rows: np.ndarray
    columns: np.ndarray


def _tables(sites: Sequence[Site]) -> list[_Table] | None:
    """All uses as parts of one table; None if there is no such table.

    Rows are the axes with the longer steps, so that an entry of the parameter has one row
    and one column.
    """
    if any(site.strides is None for site in sites):
        return None
    lengths = []
    for site in sites:
        shortest = _shortest(site, _axes(site, "unit")), _shortest(site, site.inner_axes)
        if min(shortest) > 0:
            lengths.append(max(shortest))
    length = min(lengths, default=np.iinfo(np.int64).max)
    tables = [_table(site, length) for site in sites]
    return None if any(table is None for table in tables) else tables  # ty: ignore


def _shortest(site: Site, axes: Sequence[int]) -> int:
    assert site.strides is not None
    return min(
        (abs(site.strides.steps[axis]) for axis in axes if site.strides.steps[axis]), default=0
    )


def _table(site: Site, length: int) -> _Table | None:
    assert site.strides is not None
    row, column = divmod(site.strides.start, length)
    units = site.strides.offsets(_axes(site, "unit"))
    inner = site.strides.offsets(site.inner_axes)
    for has_unit_rows in (True, False):
        rows, columns = (units, inner) if has_unit_rows else (inner, units)
        columns = columns + column
        if (rows % length == 0).all() and columns.min() >= 0 and columns.max() < length:
            return _Table(has_unit_rows, rows // length + row, columns)
    return None


def _overlap(first: _Table, second: _Table) -> Overlap | None:
    rows = np.intersect1d(first.rows, second.rows, assume_unique=True, return_indices=True)[1:]
    columns = np.intersect1d(
        first.columns, second.columns, assume_unique=True, return_indices=True
    )[1:]
    if rows[0].size == 0 or columns[0].size == 0:
        return None
    left, right = zip(rows, columns, strict=True)
    if not first.has_unit_rows:
        left, right = left[::-1], right[::-1]
    return Overlap(first.has_unit_rows != second.has_unit_rows, left, right)
