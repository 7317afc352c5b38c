"""The data structures of a plan for the kernel, and the cost of its methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ._bottlenecks import Bottleneck
from ._sites import Entries, Site
from ._trace import Program
from ._weight_sharing import Overlap

Kind = Literal["contraction", "lookup", "addition"]


@dataclass(frozen=True)
class Tap:
    """A tapped value of a group.

    Attributes:
        slot: the value.
        order: order of its axes (longer than one): batch, positions, units.
        n_positions: number of positions.
        live: the positions at which the cotangent can differ from zero.
        n_groups: into how many batches the last axis falls.
    """

    slot: int
    order: tuple[int, ...]
    n_positions: int
    live: np.ndarray
    n_groups: int = 1


@dataclass(frozen=True)
class Entry:
    """An entry of a member.

    Attributes:
        site: the entry.
        tap: which of the group's taps it is at.
        order: order of the activation's axes: batch, positions, and the contracted ones.
        ids: for an addition, which parameter entries act at each position.
    """

    site: Site
    tap: int
    order: tuple[int, ...] = ()
    ids: np.ndarray | None = None


@dataclass(frozen=True)
class Member:
    """All entries of one parameter that use it in one and the same way.

    Attributes:
        param: the parameter.
        use: which of the parameter's uses this is.
        kind: how it enters.
        entries: one or more at each of the group's taps (an addition: at some of them).
        n_inner: number of contracted entries k (a contraction).
    """

    param: int
    use: int
    kind: Kind
    entries: tuple[Entry, ...]
    n_inner: int = 0

    def depth(self) -> int:
        """The most entries at one tap."""
        taps = [entry.tap for entry in self.entries]
        return max(map(taps.count, taps))

    def is_weighted(self) -> bool:
        """Whether positions count with factors, which can be signs.

        One sign for all of an addition is its own square.
        """
        scales = [entry.site.scale for entry in self.entries]
        plain = {scales[0].sign} if self.kind == "addition" else {1}
        return any(scale.factors or scale.sign not in plain for scale in scales)


@dataclass(frozen=True)
class Group:
    """Members that share their cotangents.

    The positions of several taps stand behind each other, as those of one sequence would.

    Attributes:
        taps: the tapped values.
        n_batches: number of batches.
        n_units: number of units.
        members: the parameters that enter there.
        is_constant: whether the cotangent is the same for every row.
        forms_jacobians: whether the Jacobian of the group's only member is formed, a part
            at a time, when it is needed.
    """

    taps: tuple[Tap, ...]
    n_batches: int
    n_units: int
    members: tuple[Member, ...]
    is_constant: bool = False
    forms_jacobians: bool = False

    @property
    def n_positions(self) -> int:
        """Number of live positions of all taps."""
        return sum(len(tap.live) for tap in self.taps)

    @property
    def is_plain(self) -> bool:
        """Whether there is one batch and one position: Θ is (gg′)∘(hh′)."""
        return self.n_batches * self.n_positions == 1


@dataclass(frozen=True)
class Cross:
    """Two members of one parameter that share some of its entries.

    Attributes:
        left: group and member on the left.
        right: group and member on the right.
        overlap: what they share.
    """

    left: tuple[int, int]
    right: tuple[int, int]
    overlap: Overlap


@dataclass(frozen=True, eq=False)
class Plan:
    """How the kernel of a predictor is computed.

    Attributes:
        program: the predictor on one row, parameters first, the row last.
        n_params: number of parameter arrays.
        n_outputs: number of outputs.
        groups: the structured part.
        explicit: the parameters whose Jacobians are formed by differentiation.
        formed: groups of one member each whose Jacobian is formed from its factors.
        constant: for each of ``explicit`` and then of ``formed``, whether its Jacobian is
            the same for every row.
        entries: what the analysis found.
        notes: for some of ``explicit``, why.
        crosses: pairs of different members of one parameter in ``groups``.
        bottlenecks: of parameters in ``groups``, the numbers through which they enter too.
    """

    program: Program
    n_params: int
    n_outputs: int
    groups: tuple[Group, ...]
    explicit: tuple[int, ...]
    formed: tuple[Group, ...]
    constant: tuple[bool, ...]
    entries: Entries
    notes: Mapping[int, str]
    crosses: tuple[Cross, ...] = ()
    bottlenecks: tuple[Bottleneck, ...] = ()

    @property
    def has_convolutions(self) -> bool:
        """Whether the predictor has any."""
        return any(step.name == "conv_general_dilated" for step in self.program.steps)

    def structured(self, param: int) -> list[tuple[Group, Member]]:
        """The groups and members through which a parameter goes without its Jacobian."""
        groups = [group for group in self.groups if not group.forms_jacobians]
        return [(group, m) for group in groups for m in group.members if m.param == param]


def factor_numbers(group: Group, member: Member, c: int) -> int:
    """How many numbers the factors of a member have for each row."""
    places = group.n_batches * group.n_positions
    own = places * (member.n_inner or member.depth())
    return own + (0 if group.is_constant else c * places * group.n_units)


def jacobian_cost(size: int, c: int, traced: bool) -> int:
    """Multiplications for each pair of rows if the Jacobian of a parameter is formed."""
    return size * (c if traced else c * c)


def multiplies_cotangents_first(group: Group, c: int) -> bool:
    """In the full kernel, whether to begin with g·g′ rather than with (h·h′)·g′.

    The first is one matrix product and then a sum over pairs of positions for each pair
    of outputs; the second has to go through an array of all rows, outputs and units. A
    number of such an array costs about as much as eight multiplications in a product.
    """
    positions, units = group.n_positions, group.n_units
    first = c * c * positions**2 * (units + 8)
    second = c * positions * units * ((8 if positions <= 8 else 2) * positions + c)
    return first <= second


def member_cost(group: Group, member: Member, c: int, traced: bool) -> int:
    """Multiplications for each pair of rows for one member, in the way its group takes."""
    batches, positions, units = group.n_batches, group.n_positions, group.n_units
    if group.forms_jacobians:
        return jacobian_cost(batches * units * member.n_inner, c, traced)
    pairs = batches * positions**2
    cost = pairs * member.depth() ** 2
    if member.kind == "addition":
        return cost  # it shares the group's cotangents
    if member.kind == "contraction":
        cost = pairs * member.n_inner
    if group.is_constant:
        return cost + pairs * (1 if traced else c * c)
    if traced:
        return cost + pairs * c * units
    if group.is_plain or multiplies_cotangents_first(group, c):
        return cost + pairs * c * c * units
    return cost + c * pairs * units + c * c * batches * positions * units


def cross_cost(groups: Sequence[Group], cross: Cross, c: int, traced: bool) -> int:
    """Multiplications for each pair of rows for the products between two members."""
    (k, m), (q, r) = cross.left, cross.right
    members = groups[k].members[m], groups[q].members[r]
    pairs = groups[k].n_positions * groups[q].n_positions * members[0].depth() * members[1].depth()
    units, inner = map(len, cross.overlap.left)
    is_lookup = [member.kind == "lookup" for member in members]
    outputs = c if traced else c * c
    if cross.overlap.is_turned:
        near = 1 if is_lookup[1] else units
        far = 1 if is_lookup[0] else inner
        return pairs * (c * (near + far) + outputs)
    return pairs * (outputs * units + (1 if any(is_lookup) else inner))


def structured_cost(
    groups: Sequence[Group], crosses: Sequence[Cross], param: int, *, c: int, traced: bool
) -> int:
    """Multiplications for each pair of rows if all of a parameter is contracted by factors."""
    cost = sum(
        member_cost(group, member, c, traced)
        for group in groups
        for member in group.members
        if member.param == param
    )
    for cross in crosses:
        k, m = cross.left
        if groups[k].members[m].param == param:
            cost += cross_cost(groups, cross, c, traced)
    return cost
