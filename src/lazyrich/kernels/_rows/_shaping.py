"""Whether one row is reshaped, transposed and broadcast as the rows of a batch are.

JAX adds or leaves out such operations where an axis has the length one, so that those of one
row have no counterpart each. Compared is what they do to the other axes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lazyrich.kernels._equation import Equation

SHAPING = frozenset({"broadcast_in_dim", "expand_dims", "reshape", "squeeze", "transpose"})
"""Operations that JAX adds or leaves out where an axis has the length one."""

_NAMED = {"broadcast_in_dim": "broadcast_dimensions", "transpose": "permutation"}

Form = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Numbers(NamedTuple):
    """How many rows two programs have.

    Attributes:
        few: the one.
        batch: the other.
    """

    few: int
    batch: int

    def of_one(self, few: Sequence[int], batch: Sequence[int]) -> tuple[int, ...] | None:
        """The shape for one row from that for two numbers; None if it is not affine in them."""
        if len(few) != len(batch):
            return None
        shape = []
        for n, m in zip(few, batch, strict=True):
            slope, rest = divmod(n - m, self.few - self.batch)
            if rest:
                return None
            shape.append(n - slope * (self.few - 1))
        return tuple(shape)


def are_shaped_alike(
    row: Sequence[Equation], few: Sequence[Equation], batch: Sequence[Equation], numbers: Numbers
) -> bool:
    """Whether the operations of one row shape it as the others do.

    Args:
        row: the operations on one row, in order.
        few: those on few rows.
        batch: as many on another number of rows.
        numbers: the two numbers.
    """
    wanted = []
    for some, others in zip(few, batch, strict=True):
        if some.primitive.name not in SHAPING:
            continue
        shapes = [numbers.of_one(a, b) for a, b in zip(_shapes(some), _shapes(others), strict=True)]
        if _axes(some) != _axes(others) or None in shapes:
            return False
        wanted.append(_form(some, *(shape or () for shape in shapes)))
    found = [_form(one, *_shapes(one)) for one in row if one.primitive.name in SHAPING]
    return [form for form in wanted if form] == [form for form in found if form]


def _shapes(eqn: Equation) -> list[tuple[int, ...]]:
    return [tuple(eqn.invars[0].aval.shape), tuple(eqn.outvars[0].aval.shape)]


def _axes(eqn: Equation) -> tuple[int, ...] | None:
    """The axes that an operation names; None if the order of entries decides."""
    name = _NAMED.get(eqn.primitive.name)
    return None if name is None else tuple(map(int, eqn.params[name]))


def _form(eqn: Equation, before: tuple[int, ...], after: tuple[int, ...]) -> Form | None:
    """Shapes without axes of length one and where each axis goes; None if nothing changes."""
    kept = [axis for axis, n in enumerate(before) if n != 1]
    left = [axis for axis, n in enumerate(after) if n != 1]
    named = _axes(eqn)
    if named is None:
        goes = tuple(range(len(kept)))
    elif eqn.primitive.name == "transpose":
        goes = tuple(left.index(named.index(axis)) for axis in kept)
    else:
        goes = tuple(left.index(named[axis]) for axis in kept)
    form = tuple(before[k] for k in kept), tuple(after[k] for k in left), goes
    return None if form[0] == form[1] and goes == tuple(range(len(kept))) else form
