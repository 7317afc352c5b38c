"""From cotangents and activations of two blocks of rows to their block of the kernel.

Everything is computed in pieces that stay in the processor's cache and added up in place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from ._factors import Factors
from ._lookups import add_equal, is_sparse, sparse_cost
from ._shared import Shared
from ._total import Total, most_entries

# Products with other numbers of columns than multiples of this are slower, with few by far.
_VECTORS = 32

Method = Literal["contraction", "gradients", "shared"]
"""How the gradients of two blocks of rows are multiplied: cotangents with cotangents and
activations with activations; formed for each row and output; formed once for all outputs."""


def cheapest(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> Method:
    """The method that takes the fewest multiplications."""
    costs: dict[Method, float] = {
        "contraction": _gram_cost(left, right, traced=traced),
        "gradients": _gradient_cost(left, right, traced=traced),
    }
    if len(left) == len(right) == 1 and left[0].shared and right[0].shared:
        costs["shared"] = _shared_cost(left[0], right[0], traced=traced)
    return min(costs, key=costs.__getitem__)


def add_products(
    total: Total, left: Sequence[Factors], right: Sequence[Factors], *, with_bias: bool = False
) -> None:
    """Add the kernel of one matrix, from its uses in two blocks of rows.

    Args:
        total: of the two blocks.
        left: one for each use, n rows.
        right: the same uses, m rows.
        with_bias: whether to add the kernel of a bias that is added to the product, as
            an activation that is always one; asked for only where they are contracted.
    """
    method = cheapest(left, right, traced=total.is_traced)
    if method == "shared":
        _add_shared(total, left[0], right[0])
        return
    if method == "gradients":
        _add_formed(total, left, right)
        return
    for one in left:
        for other in right:
            _add_pair(total, one, other, with_bias=with_bias)


def _gram_cost(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> float:
    """Multiplications if cotangents and activations are contracted pair by pair."""
    cost = 0.0
    for one in left:
        for other in right:
            if is_sparse(one, other):
                cost += sparse_cost(one, other, traced=traced)
                continue
            n, c, s, r = one.cotangent.shape
            m, _, t, _ = other.cotangent.shape
            q = 1 if one.is_lookup or other.is_lookup else one.activation.shape[2]
            c2 = c if traced else c * c
            # The entrywise product moves memory and does not multiply at the same rate.
            entries = 8 * (1 if traced else c2)
            cost += float(n) * s * m * t * (q + c2 * r + entries)
    return cost


def _gradient_cost(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> float:
    """Multiplications if the gradient of each row and output is formed."""
    size = float(left[0].shape[0]) * left[0].shape[1]
    n, c = left[0].cotangent.shape[:2]
    m = right[0].cotangent.shape[0]
    form = sum(f.cotangent.shape[0] * c * f.cotangent.shape[2] * size for f in left)
    if right is not left:
        form += sum(f.cotangent.shape[0] * c * f.cotangent.shape[2] * size for f in right)
    return form + n * m * (c if traced else c * c) * size


def _shared_cost(one: Factors, other: Factors, *, traced: bool) -> float:
    """Multiplications if the gradient of what outputs share is formed."""
    n, c, s, r = one.cotangent.shape
    m, _, t, _ = other.cotangent.shape
    q = one.activation.shape[2]
    form = float(n) * s * q * r + (0.0 if other is one else float(m) * t * q * r)
    return form + float(n) * m * r * (q + (c if traced else c + c * c))


def _add_pair(total: Total, one: Factors, other: Factors, *, with_bias: bool) -> None:
    """The part of two uses."""
    if is_sparse(one, other):
        add_equal(total, one, other)
        return
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


def _add_shared(total: Total, one: Factors, other: Factors) -> None:
    """Form the gradients of patterns, some channels at a time; multiply with the gains."""
    mine, yours = one.shared, other.shared
    assert mine is not None  # the caller looked
    assert yours is not None
    n, m, q, r = total.n, total.m, one.activation.shape[2], one.cotangent.shape[3]
    most = most_entries(total.values.device)
    step = max(1, most // (max(n, m) * max(q, m)))
    for start in range(0, r, step):
        channels = slice(start, start + step)
        left = _pattern_gradient(one, mine, channels)
        right = left if other is one else _pattern_gradient(other, yours, channels)
        products = left @ right.transpose(1, 2)  # r n m
        gains, others = mine.gains[..., channels], yours.gains[..., channels]
        if total.is_traced:
            total.values += (gains.permute(2, 0, 1) @ others.permute(2, 1, 0) * products).sum(0)
            continue
        for rows, columns, into in total.tiles(gains.shape[1] * gains.shape[2]):
            scaled = products[:, rows, columns].permute(2, 1, 0)[:, :, None] * gains[rows]
            w, h, c, k = scaled.shape
            part = scaled.reshape(w, h * c, k) @ others[columns].transpose(1, 2)
            into += part.reshape(w, h, c, -1).permute(1, 2, 0, 3)


def _pattern_gradient(factors: Factors, found: Shared, channels: slice) -> Tensor:
    """(channels, n, q)."""
    pattern = found.pattern[..., channels].transpose(1, 2)  # n r s
    return (pattern @ factors.activation).transpose(0, 1)


def _add_formed(total: Total, left: Sequence[Factors], right: Sequence[Factors]) -> None:
    """Form the gradients of each row and output, a part of the matrix at a time.

    Parts have some rows and columns at least, also where they leave the cache, but no more memory.
    """
    is_same = right is left
    if not left[0].activation_first and not left[0].is_lookup:
        left, right = [f.flipped() for f in left], [f.flipped() for f in right]
    height, width = left[0].shape
    n_rows = max(f.cotangent.shape[0] * f.cotangent.shape[1] for f in (left[0], right[0]))
    most = most_entries(total.values.device)
    columns, rows = width, max(1, most // (n_rows * width))
    least = next((k for k in (_VECTORS, _VECTORS // 2) if n_rows * k * k <= 8 * most), 1)
    has_columns = all(f.activation_first and not f.is_lookup for f in (*left, *right))
    if rows < least and has_columns:
        columns, rows = min(width, max(least, _rounded(most // (n_rows * least)))), least
    rows = _rounded(rows)
    for first in range(0, width, columns):
        mine = left if columns == width else [_narrowed(f, first, columns) for f in left]
        yours = right if columns == width else [_narrowed(f, first, columns) for f in right]
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            one = added(formed(f, start, stop) for f in mine)
            total.add_gradients(
                one, one if is_same else added(formed(f, start, stop) for f in yours)
            )


def _rounded(size: int) -> int:
    """A number of rows or columns of which products are formed at the full rate, if any is."""
    return size - size % _VECTORS if size > _VECTORS else size


def _narrowed(factors: Factors, start: int, size: int) -> Factors:
    """Some columns of a matrix, the cotangents of all outputs side by side."""
    part = factors.cotangent[..., start : start + size].transpose(1, 2).contiguous()
    return replace(
        factors, cotangent=part.transpose(1, 2), shape=(factors.shape[0], part.shape[-1])
    )


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
    return added(_row_by_row(f) for f in factors)


def _row_by_row(factors: Factors) -> Tensor:
    height, width = factors.shape
    if not factors.activation_first and not factors.is_lookup:
        return formed(factors.flipped(), 0, width)
    columns = formed(factors, 0, height)
    return columns.unflatten(2, (width, height)).transpose(2, 3).flatten(2)
