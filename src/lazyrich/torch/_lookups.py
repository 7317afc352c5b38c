"""Rows of a table that are looked up, where two positions seldom look up the same one."""

import torch
from torch import Tensor

from ._factors import Factors
from ._total import Total, most_entries

# How many times longer it takes to gather entries than to multiply them in a matrix product.
_SPARSE = 16


def is_sparse(one: Factors, other: Factors) -> bool:
    """Whether few pairs of positions look the same row of a table up."""
    if not (one.is_lookup and other.is_lookup and one.activation_first == other.activation_first):
        return False
    return _SPARSE * _n_equal(one, other) < one.activation.numel() * other.activation.numel()


def _n_equal(one: Factors, other: Factors) -> float:
    length = one.shape[0] if one.activation_first else one.shape[1]
    counts = [torch.bincount(f.activation.flatten(), minlength=length) for f in (one, other)]
    return float(counts[0].double() @ counts[1].double())


def sparse_cost(one: Factors, other: Factors, *, traced: bool) -> float:
    """Multiplications that pairs of positions with equal rows cost, in units of dense ones."""
    c, r = one.cotangent.shape[1], one.cotangent.shape[3]
    return _SPARSE * _n_equal(one, other) * (c if traced else c * c) * r


def add_equal(total: Total, one: Factors, other: Factors) -> None:
    """Cotangents at every pair of positions that look up the same row of a table."""
    (_, c, s, r), t = one.cotangent.shape, other.cotangent.shape[2]
    left, right = (f.cotangent.transpose(1, 2).reshape(-1, c, r) for f in (one, other))
    into = total.values.reshape(total.n, total.c, total.m, total.c).permute(0, 2, 1, 3)
    most = most_entries(into.device)
    wanted, (found, order) = one.activation.flatten(), other.activation.flatten().sort()
    size = max(1, most * _SPARSE // len(order))
    for start in range(0, len(wanted), size):
        pairs = _pairs(wanted[start : start + size].contiguous(), found, order)
        for i, j in zip(*(one.split(max(1, most // (c * r))) for one in pairs), strict=True):
            i = start + i
            if total.is_traced:
                part = (left[i] * right[j]).sum((1, 2))[:, None, None]
            else:
                part = left[i] @ right[j].transpose(1, 2)
            into.index_put_((i // s, j // t), part, accumulate=True)


def _pairs(wanted: Tensor, found: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Places of equal entries in one tensor and in another, which is given sorted."""
    first = torch.searchsorted(found, wanted)
    counts = torch.searchsorted(found, wanted, right=True) - first
    mine = torch.arange(len(wanted), device=wanted.device).repeat_interleave(counts)
    skipped = (counts.cumsum(0) - counts - first).repeat_interleave(counts)
    return mine, order[torch.arange(len(mine), device=wanted.device) - skipped]
