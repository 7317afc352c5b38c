"""How long each way of a parameter takes, predicted from the rates of the device.

Multiplications for each pair of rows are those of `_plan`; what else counts is what pairs of
positions hold in memory, and what each row takes by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ._plan import (
    Cross,
    Group,
    Member,
    cross_cost,
    jacobian_cost,
    member_cost,
    multiplies_cotangents_first,
)
from ._work import Rates, Work


class Setting(NamedTuple):
    """What a plan is made for.

    Attributes:
        c: number of outputs.
        traced: whether equal outputs are summed.
        n_rows: how many rows there are on either side of the kernel.
        rates: of the device.
    """

    c: int
    traced: bool
    n_rows: int
    rates: Rates

    def seconds(self, pair: Work, row: Work) -> float:
        """The time of what each pair of rows takes and each row."""
        total = pair.times(self.n_rows**2) + row.times(self.n_rows)
        return total.seconds(self.rates)


def jacobian_seconds(size: int, setting: Setting, made_of: Sequence[tuple[Group, Member]]) -> float:
    """The time of a parameter, or a use of one, if its Jacobian is formed.

    Args:
        size: number of its entries.
        setting: what for.
        made_of: its uses, of whose factors the Jacobian is a product.
    """
    c = setting.c
    pair = Work(products=jacobian_cost(size, c, setting.traced))
    numbers = c * sum(_formed_size(g, m) * g.n_positions for g, m in made_of)
    # Written once and read once for either side of the product.
    return setting.seconds(pair, Work(products=numbers, operands=3 * c * size))


def factor_seconds(group: Group, member: Member, setting: Setting) -> float:
    """The time of one member if its factors are contracted."""
    c, pairs = setting.c, group.n_batches * group.n_positions**2
    products = member_cost(group, member, c, setting.traced)
    held = 3 * pairs if member.kind == "contraction" else member.depth() ** 2 * pairs
    if group.is_plain or (member.kind == "addition" and not member.is_weighted()):
        held = 0  # which entries an addition uses at which positions is the same for all rows
    elif not setting.traced and not group.is_constant:
        is_first = multiplies_cotangents_first(group, c)
        held += c * (c * pairs if is_first else group.n_units * group.n_positions)
    patches = any(entry.site.convolution is not None for entry in member.entries)
    own = group.n_batches * group.n_positions * member.n_inner if patches else 0
    return setting.seconds(Work(products=products, operands=held), Work(moved=own))


def cross_seconds(groups: Sequence[Group], cross: Cross, setting: Setting) -> float:
    """The time of the products between two members."""
    k, q = cross.left[0], cross.right[0]
    outputs = setting.c if setting.traced else setting.c**2
    held = outputs * groups[k].n_positions * groups[q].n_positions
    products = cross_cost(groups, cross, setting.c, setting.traced)
    return setting.seconds(Work(products=products, operands=held), Work())


def _formed_size(group: Group, member: Member) -> int:
    return group.n_batches * group.n_units * max(1, member.n_inner)
