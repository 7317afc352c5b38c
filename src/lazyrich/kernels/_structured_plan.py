"""What a plan of the kernel is, and what its ways cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ._structured_shared import Cross, cross_cost
from ._trace import Program
from ._trace_sites import Entries, Site


@dataclass(frozen=True)
class Member:
    """One entry in a group.

    Attributes:
        site: the entry.
        order: order of the activation's axes: batch, positions, and the contracted ones.
        same: for an addition, which pairs of positions act on the same parameter entries.
    """

    site: Site
    order: tuple[int, ...] = ()
    same: np.ndarray | None = None


@dataclass(frozen=True)
class Group:
    """Entries that share one cotangent.

    Attributes:
        tap: slot of the tapped value.
        order: order of the tap's axes (longer than one): batch, positions, units.
        sizes: numbers of batches, positions and units.
        live: the positions at which the cotangent can differ from zero.
        members: the entries.
        is_constant: whether the cotangent is the same for every row.
    """

    tap: int
    order: tuple[int, ...]
    sizes: tuple[int, int, int]
    live: np.ndarray
    members: tuple[Member, ...]
    is_constant: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether there is one batch and one position: Θ is (gg′)∘(hh′)."""
        return self.sizes[0] * len(self.live) == 1


@dataclass(frozen=True, eq=False)
class Plan:
    """How the kernel of a predictor is computed.

    Attributes:
        program: the predictor on one row, parameters first, the row last.
        n_params: number of parameter arrays.
        n_outputs: number of outputs.
        groups: the structured part.
        explicit: the parameters whose Jacobians are formed.
        constant: those of ``explicit`` whose Jacobian is the same for every row.
        entries: what the analysis found.
        notes: for some of ``explicit``, why.
        crosses: pairs of different entries of one parameter in ``groups``.
    """

    program: Program
    n_params: int
    n_outputs: int
    groups: tuple[Group, ...]
    explicit: tuple[int, ...]
    constant: frozenset[int]
    entries: Entries
    notes: Mapping[int, str]
    crosses: tuple[Cross, ...] = ()


def jacobian_cost(size: int, c: int, traced: bool) -> int:
    """Multiplications for each pair of rows if the Jacobian of a parameter is formed."""
    return size * (c if traced else c * c)


def structured_cost(
    program: Program,
    groups: Sequence[Group],
    crosses: Sequence[Cross],
    param: int,
    *,
    c: int,
    traced: bool,
) -> int:
    """Multiplications for each pair of rows if all of a parameter is contracted by factors."""
    cost = sum(
        _member_cost(program, group, member, c, traced)
        for group in groups
        for member in group.members
        if member.site.param == param
    )
    for cross in crosses:
        (k, m), (q, r) = cross.left, cross.right
        sites = groups[k].members[m].site, groups[q].members[r].site
        if sites[0].param == param:
            cost += cross_cost(program, *sites, len(groups[k].live) * len(groups[q].live), c)
    return cost


def _member_cost(program: Program, group: Group, member: Member, c: int, traced: bool) -> int:
    """Multiplications for each pair of rows if one entry is contracted by its factors."""
    batches, _, units = group.sizes
    positions = len(group.live)
    pairs = batches * positions**2
    cost = pairs
    if member.site.kind == "contraction":
        shape = program.shapes[member.site.activation].shape
        cost = pairs * int(np.prod(shape)) // (batches * group.sizes[1])
    if member.site.kind == "addition":
        return cost  # it shares the group's cotangents
    if group.is_constant:
        return cost + pairs * (1 if traced else c * c)
    if traced:
        return cost + pairs * c * units
    mixing = 0 if group.is_plain else c * pairs * units
    return cost + mixing + c * c * batches * positions * units
