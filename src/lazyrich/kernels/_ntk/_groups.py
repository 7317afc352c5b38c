"""Gathering the entries of all parameters into groups that share their cotangents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ._convolutions import patch_numbers
from ._liveness import liveness
from ._plan import Entry, Group, Member, Tap
from ._sites import Role, Site
from ._trace import Program

# A tapped value, the roles of its axes, and how many batches the units fall into.
_Place = tuple[int, tuple[Role, ...], int]


def gather(
    program: Program, uses: Mapping[int, Sequence[Sequence[Site]]]
) -> tuple[tuple[Group, ...], set[int]]:
    """Put every use of every parameter into a group.

    Args:
        program: the predictor on one row.
        uses: for every parameter its uses, each a list of entries that are alike.

    Returns:
        The groups, and the parameters of which a use found no group.
    """
    live = liveness(program)
    groups: dict[tuple[_Place, ...], Group] = {}
    every = [(param, k, sites) for param, found in uses.items() for k, sites in enumerate(found)]
    for param, k, sites in every:
        if sites[0].kind == "addition":
            continue
        places = tuple(sorted({site.place for site in sites}))
        group = groups.get(places) or _empty_group(program, places, live)
        member = _member(program, param, k, sites, places)
        groups[places] = replace(group, members=(*group.members, member))
    left_over: set[int] = set()
    for param, k, sites in every:
        if sites[0].kind != "addition":
            continue
        for places, group in groups.items():
            member = _addition(param, k, sites, places)
            if member is not None:
                groups[places] = replace(group, members=(*group.members, member))
                break
        else:
            left_over.add(param)
    return tuple(groups.values()), left_over


def restrict(groups: Sequence[Group], params: set[int]) -> tuple[Group, ...]:
    """The groups with the members of some parameters alone."""
    kept = [replace(g, members=tuple(m for m in g.members if m.param in params)) for g in groups]
    return tuple(group for group in kept if group.members)


def _empty_group(
    program: Program, places: tuple[_Place, ...], live: Mapping[int, np.ndarray]
) -> Group:
    taps, sizes = [], [1, 1, 1]
    for slot, roles, n_groups in places:
        order = tuple(
            axis
            for wanted in ("batch", "position", "unit")
            for axis, role in enumerate(roles)
            if role == wanted
        )
        long = [size for size in program.shapes[slot].shape if size != 1]
        sizes = [1, 1, 1]
        for size, role in zip(long, roles, strict=True):
            sizes[("batch", "position", "unit").index(role)] *= size
        mask = live[slot].reshape(long).transpose(order).reshape(sizes)
        taps.append(Tap(slot, order, sizes[1], np.flatnonzero(mask.any((0, 2))), n_groups))
        sizes[0], sizes[2] = sizes[0] * n_groups, sizes[2] // n_groups
    return Group(tuple(taps), sizes[0], sizes[2], ())


def _member(
    program: Program, param: int, use: int, sites: Sequence[Site], places: tuple[_Place, ...]
) -> Member:
    entries = tuple(
        Entry(
            site,
            places.index(site.place),
            _activation_order(program, site),
        )
        for site in sites
    )
    first = sites[0]
    n_inner = 0
    if first.kind == "contraction":
        shape = program.shapes[first.activation].shape
        inner = [shape[axis] for axis in entries[0].order[len(_leading(first)) :]]
        if first.convolution:
            inner = [patch_numbers(program, first.convolution) // first.n_groups]
        n_inner = int(np.prod(inner))
    return Member(param, use, first.kind, entries, n_inner)


def _leading(site: Site) -> list[int]:
    """The activation's axes along batches and positions, in the order of the tap's."""
    assert site.activation_axes is not None
    return [
        site.activation_axes[label]
        for wanted in ("batch", "position")
        for label, role in zip(site.axes, site.roles, strict=True)
        if role == wanted
    ]


def _activation_order(program: Program, site: Site) -> tuple[int, ...]:
    """The activation's axes: batch and positions as at the tap, then all others."""
    leading = _leading(site)
    # Patches of an activation have the axes of the result.
    slot = site.convolution.outs[0] if site.convolution else site.activation
    rank = len(program.shapes[slot].shape)
    return (*leading, *(axis for axis in range(rank) if axis not in leading))


def _addition(
    param: int, use: int, sites: Sequence[Site], places: tuple[_Place, ...]
) -> Member | None:
    """The entries of an addition in a group; None if they do not fit there."""
    entries, unit_ids = [], []
    for site in sites:
        tap = next((k for k, place in enumerate(places) if _fits(place, site)), None)
        if tap is None:
            return None
        assert site.strides is not None
        assert site.unit_axes is not None
        along: dict[bool, list[int]] = {True: [], False: []}
        for wanted in ("batch", "position", "unit"):
            for label, role in zip(site.axes, places[tap][1], strict=True):
                if role == wanted:
                    along[role == "position"].append(site.unit_axes[label])
        entries.append(Entry(site, tap, ids=site.strides.start + site.strides.offsets(along[True])))
        unit_ids.append(site.strides.offsets(along[False]))
    if not all(np.array_equal(ids, unit_ids[0]) for ids in unit_ids):
        return None
    return Member(param, use, "addition", tuple(entries))


def _fits(place: _Place, site: Site) -> bool:
    """Whether an addition differs along the units and batches of a place."""
    slot, roles, _ = place
    return slot == site.tap and all(
        own == "unit" or role == "position" for role, own in zip(roles, site.roles, strict=True)
    )
