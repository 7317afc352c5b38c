"""From cotangents and activations of two blocks of rows to their block of the kernel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

# Entries of a temporary of a contraction; larger ones are computed in pieces of rows.
_MOST_ENTRIES = 1 << 26


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

    def rows(self, start: int, stop: int) -> "Factors":
        """Those of some rows."""
        return Factors(
            self.cotangent[start:stop],
            self.activation[start:stop],
            self.activation_first,
            self.shape,
        )

    def outputs(self, start: int, stop: int) -> "Factors":
        """Those of some outputs."""
        return Factors(
            self.cotangent[:, start:stop], self.activation, self.activation_first, self.shape
        )


def without_dead_positions(factors: Factors) -> Factors:
    """Leave out positions at which no cotangent of any row arrives."""
    if factors.cotangent.shape[2] < 2 or bool(factors.cotangent[:, 0].any(2).any(0).all()):
        return factors
    alive = factors.cotangent.any(3).any(1).any(0)
    if bool(alive.all()):
        return factors
    keep = alive.nonzero()[:, 0]
    return Factors(
        factors.cotangent[:, :, keep],
        factors.activation[:, keep],
        factors.activation_first,
        factors.shape,
    )


def products_kernel(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> Tensor:
    """The kernel of one matrix, from its uses in two blocks of rows.

    Args:
        left: one for each use, n rows.
        right: the same uses, m rows.
        traced: whether to sum over equal outputs.

    Returns:
        (n, c, m, c), or (n, m) if traced.
    """
    if gram_cost(left, right, traced=traced) <= gradient_cost(left, right, traced=traced):
        return added(_pair(one, other, traced=traced) for one in left for other in right)
    return _from_gradients(left, right, traced=traced)


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


def _pair(one: Factors, other: Factors, *, traced: bool) -> Tensor:
    """The part of two uses, in pieces of rows that fit."""
    n, c, s, _ = one.cotangent.shape
    m, _, t, _ = other.cotangent.shape
    is_same = one.activation_first == other.activation_first
    per_row = s * m * t * (1 if traced and is_same else c if traced or not is_same else c * c)
    step = max(1, _MOST_ENTRIES // max(1, per_row))
    part = _aligned if is_same else _crossed
    pieces = [part(one.rows(i, min(i + step, n)), other, traced=traced) for i in range(0, n, step)]
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def _aligned(one: Factors, other: Factors, *, traced: bool) -> Tensor:
    """Both uses have their cotangent on the same axis: (g·g′)∘(h·h′)."""
    activations = _activation_gram(one.activation, other.activation)  # n s m t
    n, c, s, r = one.cotangent.shape
    m, d, t, _ = other.cotangent.shape
    if traced:
        mine = one.cotangent.transpose(1, 2).reshape(n * s, c * r)
        yours = other.cotangent.transpose(1, 2).reshape(m * t, d * r)
        return ((mine @ yours.T).reshape(n, s, m, t) * activations).sum((1, 3))
    cotangents = (one.cotangent.reshape(-1, r) @ other.cotangent.reshape(-1, r).T).reshape(
        n, c, s, m, d, t
    )
    cotangents *= activations[:, None, :, :, None, :]
    return cotangents.sum((2, 5))


def _crossed(one: Factors, other: Factors, *, traced: bool) -> Tensor:
    """The cotangent of each use meets the activation of the other."""
    first = _mixed_gram(one.cotangent, other.activation)  # n c s m t
    second = _mixed_gram(other.cotangent, one.activation)  # m d t n s
    if traced:
        return torch.einsum("ncsmt,mctns->nm", first, second)
    return torch.einsum("ncsmt,mdtns->ncmd", first, second)


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


def _from_gradients(left: Sequence[Factors], right: Sequence[Factors], *, traced: bool) -> Tensor:
    """Form the gradients of each row and output, some rows of the matrix at a time."""
    height, width = left[0].shape
    rows = left[0].cotangent.shape[0] + right[0].cotangent.shape[0]
    step = max(1, _MOST_ENTRIES // max(1, rows * left[0].cotangent.shape[1] * width))
    pieces = []
    for start in range(0, height, step):
        stop = min(start + step, height)
        mine = added(formed(f, start, stop) for f in left)
        yours = mine if right is left else added(formed(f, start, stop) for f in right)
        pieces.append(gradients_kernel(mine, yours, traced=traced))
    return added(pieces)


def added(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return reduce(torch.add, tensors)


def formed(factors: Factors, start: int, stop: int) -> Tensor:
    """(n, c, entries): rows ``start`` to ``stop`` of the matrix's gradient."""
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
        return torch.einsum("ncsr,nsq->ncrq", cotangent, activation).reshape(n, c, -1)
    return torch.einsum("ncsr,nsq->ncqr", cotangent, activation).reshape(n, c, -1)


def gradients_kernel(left: Tensor, right: Tensor, *, traced: bool) -> Tensor:
    """The kernel from gradients (n, c, p) and (m, c, p)."""
    n, c, p = left.shape
    m = len(right)
    if traced:
        return left.reshape(n, c * p) @ right.reshape(m, c * p).T
    return (left.reshape(n * c, p) @ right.reshape(m * c, p).T).reshape(n, c, m, c)
