"""From cotangents and activations of two blocks of rows to their block of the kernel.

Everything is computed in pieces that stay in the processor's cache and added up in place.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

# Entries of a temporary: what a cache holds, and what keeps an accelerator busy.
_MOST_ENTRIES = {"cpu": 1 << 20}
_MOST_ENTRIES_ELSEWHERE = 1 << 26
# A symmetric kernel is computed above its diagonal, in this many strips or more.
_N_STRIPS = 6
# Rows that are mirrored at the diagonal at a time.
_MIRRORED = 256


@dataclass(frozen=True)
class Factors:
    """The gradient of a matrix for every row and output, as a product over positions.

    Attributes:
        cotangent: (n, c, s, r).
        activation: (n, s, q), or rows of a table as whole numbers (n, s).
        activation_first: whether the matrix is (q, r) and not (r, q).
        shape: of the matrix.
    """

    cotangent: Tensor
    activation: Tensor
    activation_first: bool
    shape: tuple[int, int]

    @property
    def is_lookup(self) -> bool:
        """Whether the activation stands for rows of a table."""
        return not self.activation.is_floating_point()

    def flipped(self) -> "Factors":
        """The same for the transposed matrix."""
        return Factors(self.cotangent, self.activation, not self.activation_first, self.shape[::-1])


class Total:
    """The kernel of two blocks of rows, summed up in place.

    Attributes:
        values: (n·c, m·c), or (n, m) if traced; of a symmetric kernel what stands above
            the diagonal, until `whole` is asked for.
        is_traced: whether equal outputs are summed.
        is_symmetric: whether both blocks are the same.
    """

    def __init__(
        self, n: int, m: int, c: int, *, is_traced: bool, is_symmetric: bool, like: Tensor
    ) -> None:
        """Start at zero, with the type and device of a tensor."""
        self.n, self.m, self.c = n, m, 1 if is_traced else c
        self.is_traced, self.is_symmetric = is_traced, is_symmetric
        self.values = like.new_zeros(n * self.c, m * self.c)

    def add_gradients(self, left: Tensor, right: Tensor) -> None:
        """Add what gradients (n, c, p) and (m, c, p) contribute."""
        if self.is_traced:
            left, right = left.flatten(1), right.flatten(1)
        else:
            left, right = left.flatten(0, 1), right.flatten(0, 1)
        size = -(-len(left) // _N_STRIPS) if self.is_symmetric and len(left) > 64 else len(left)
        for start in range(0, len(left), size):
            first = start if self.is_symmetric else 0
            part = self.values[start : start + size, first:]
            part.addmm_(left[start : start + size], right[first:].T)

    def tiles(self, per_pair: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows of both blocks whose pairs fit a temporary, and where their part is added.

        Args:
            per_pair: entries of the temporary for each pair of rows.
        """
        most = _MOST_ENTRIES.get(self.values.device.type, _MOST_ENTRIES_ELSEWHERE)
        height = max(1, min(-(-self.n // _N_STRIPS), int((most / per_pair) ** 0.5)))
        width = max(1, most // (per_pair * height))
        whole = self.values.reshape(self.n, self.c, self.m, self.c)
        for i in range(0, self.n, height):
            for j in range(i if self.is_symmetric else 0, self.m, width):
                rows, columns = slice(i, i + height), slice(j, j + width)
                yield rows, columns, whole[rows, :, columns]

    def whole(self) -> Tensor:
        """(n, c, m, c), or (n, m) if traced."""
        if self.is_symmetric:
            for start in range(0, len(self.values), _MIRRORED):
                stop = start + _MIRRORED
                block = self.values[start:stop, start:stop]
                block.copy_(block.triu() + block.triu(1).T)
                self.values[stop:, start:stop] = self.values[start:stop, stop:].T
        if self.is_traced:
            return self.values
        return self.values.reshape(self.n, self.c, self.m, self.c)


def without_dead_positions(factors: Factors) -> Factors:
    """Leave out positions at which no cotangent of any row arrives."""
    cotangent = factors.cotangent
    if cotangent.shape[2] < 2 or bool(cotangent[0, 0].any(1).all()):
        return factors
    alive = cotangent.any(3).any(1).any(0)
    if bool(alive.all()):
        return factors
    alive[0] |= not bool(alive.any())  # the gradient is zero, and has its shape
    keep = alive.nonzero()[:, 0]
    return Factors(
        cotangent[:, :, keep],
        factors.activation[:, keep],
        factors.activation_first,
        factors.shape,
    )


def is_contracted(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> bool:
    """Whether contracting costs less than forming the gradient of each row and output."""
    return gram_cost(left, right, traced=traced) <= gradient_cost(left, right, traced=traced)


def add_products(
    total: Total, left: Sequence[Factors], right: Sequence[Factors], *, with_bias: bool = False
) -> None:
    """Add the kernel of one matrix, from its uses in two blocks of rows.

    Args:
        total: of the two blocks.
        left: one for each use, n rows.
        right: the same uses, m rows.
        with_bias: whether to add the kernel of a bias that is added to the product, as
            an activation that is always one; asked for only where `is_contracted`.
    """
    if not is_contracted(left, right, traced=total.is_traced):
        _add_formed(total, left, right)
        return
    for one in left:
        for other in right:
            _add_pair(total, one, other, with_bias=with_bias)


def gram_cost(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> float:
    """Multiplications if cotangents and activations are contracted pair by pair."""
    cost = 0.0
    for one in left:
        for other in right:
            n, c, s, r = one.cotangent.shape
            m, _, t, _ = other.cotangent.shape
            q = 1 if one.is_lookup or other.is_lookup else one.activation.shape[2]
            c2 = c if traced else c * c
            # The entrywise product moves memory and does not multiply at the same rate.
            entries = 8 * (1 if traced else c2)
            cost += float(n) * s * m * t * (q + c2 * r + entries)
    return cost


def gradient_cost(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> float:
    """Multiplications if the gradient of each row and output is formed."""
    size = float(left[0].shape[0]) * left[0].shape[1]
    n, c = left[0].cotangent.shape[:2]
    m = right[0].cotangent.shape[0]
    form = sum(f.cotangent.shape[0] * c * f.cotangent.shape[2] * size for f in left)
    if right is not left:
        form += sum(f.cotangent.shape[0] * c * f.cotangent.shape[2] * size for f in right)
    return form + n * m * (c if traced else c * c) * size


def _add_pair(total: Total, one: Factors, other: Factors, *, with_bias: bool) -> None:
    """The part of two uses."""
    c, s = one.cotangent.shape[1:3]
    t = other.cotangent.shape[2]
    is_same = one.activation_first == other.activation_first
    per_pair = s * t * (1 if total.is_traced and is_same else c * c)
    for rows, columns, into in total.tiles(per_pair):
        if is_same:
            activations = _activation_gram(one.activation[rows], other.activation[columns])
            if with_bias:
                activations = activations + 1
            _aligned(one.cotangent[rows], other.cotangent[columns], activations, into)
        else:
            _crossed(one, other, rows, columns, into)


def _aligned(mine: Tensor, yours: Tensor, activations: Tensor, into: Tensor) -> None:
    """Both uses have their cotangent on the same axis: (g·g′)∘(h·h′), h·h′ being (n, s, m, t)."""
    n, c, s, r = mine.shape
    m, d, t, _ = yours.shape
    if into.shape[1] != c:
        mine = mine.transpose(1, 2).reshape(n * s, c * r)
        yours = yours.transpose(1, 2).reshape(m * t, d * r)
        products = (mine @ yours.T).reshape(n, s, m, t)
        into += products.mul_(activations).sum((1, 3))[:, None, :, None]
        return
    products = (mine.reshape(-1, r) @ yours.reshape(-1, r).T).reshape(n, c, s, m, d, t)
    if s == t == 1:
        into.addcmul_(products[:, :, 0, :, :, 0], activations[:, None, 0, :, None, 0])
    else:
        products *= activations[:, None, :, :, None, :]
        into += products.sum((2, 5))


def _crossed(one: Factors, other: Factors, i: slice, j: slice, into: Tensor) -> None:
    """The cotangent of each use meets the activation of the other."""
    first = _mixed_gram(one.cotangent[i], other.activation[j])  # n c s m t
    second = _mixed_gram(other.cotangent[j], one.activation[i])  # m d t n s
    if into.shape[1] != first.shape[1]:
        into += torch.einsum("ncsmt,mctns->nm", first, second)[:, None, :, None]
    else:
        into += torch.einsum("ncsmt,mdtns->ncmd", first, second)


def _activation_gram(one: Tensor, other: Tensor) -> Tensor:
    """(n, s, m, t): products of activations; of rows of a table, whether they are the same."""
    if one.is_floating_point() and other.is_floating_point():
        n, s, q = one.shape
        m, t, _ = other.shape
        return (one.reshape(-1, q) @ other.reshape(-1, q).T).reshape(n, s, m, t)
    if not one.is_floating_point() and not other.is_floating_point():
        return one[:, :, None, None] == other[None, None]
    if one.is_floating_point():
        return one[:, :, other]
    return other[:, :, one].permute(2, 3, 0, 1)


def _mixed_gram(cotangent: Tensor, activation: Tensor) -> Tensor:
    """(n, c, s, m, t)."""
    if not activation.is_floating_point():
        return cotangent[:, :, :, activation]
    n, c, s, q = cotangent.shape
    m, t, _ = activation.shape
    return (cotangent.reshape(-1, q) @ activation.reshape(-1, q).T).reshape(n, c, s, m, t)


def _add_formed(total: Total, left: Sequence[Factors], right: Sequence[Factors]) -> None:
    """Form the gradients of each row and output, some rows of the matrix at a time."""
    is_same = right is left
    if not left[0].activation_first and not left[0].is_lookup:
        left, right = [f.flipped() for f in left], [f.flipped() for f in right]
    height, width = left[0].shape
    n_rows = max(left[0].cotangent.shape[0], right[0].cotangent.shape[0])
    most = _MOST_ENTRIES.get(total.values.device.type, _MOST_ENTRIES_ELSEWHERE)
    step = max(1, most // max(1, n_rows * left[0].cotangent.shape[1] * width))
    for start in range(0, height, step):
        stop = min(start + step, height)
        mine = added(formed(f, start, stop) for f in left)
        yours = mine if is_same else added(formed(f, start, stop) for f in right)
        total.add_gradients(mine, yours)


def added(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return reduce(torch.add, tensors)


def formed(factors: Factors, start: int, stop: int) -> Tensor:
    """(n, c, entries): rows ``start`` to ``stop`` of the matrix's gradient, column by column."""
    n, c = factors.cotangent.shape[:2]
    cotangent, activation = factors.cotangent, factors.activation
    if factors.is_lookup:
        first, last = (start, stop) if factors.activation_first else (0, factors.shape[1])
        table = torch.arange(first, last, device=activation.device)
        activation = (activation[..., None] == table).to(cotangent.dtype)
    elif factors.activation_first:
        activation = activation[..., start:stop]
    if not factors.activation_first:
        cotangent = cotangent[..., start:stop]
        return torch.einsum("ncsr,nsq->ncqr", cotangent, activation).reshape(n, c, -1)
    s, r = cotangent.shape[2:]
    mine = cotangent.transpose(2, 3).reshape(n, c * r, s)
    return torch.bmm(mine, activation).reshape(n, c, -1)


def matrix_gradient(factors: Sequence[Factors]) -> Tensor:
    """(n, c, entries): the matrix's gradient from all its uses, row by row."""
    height, width = factors[0].shape
    columns = added(formed(f, 0, height) for f in factors)
    return columns.unflatten(2, (width, height)).transpose(2, 3).flatten(2)
