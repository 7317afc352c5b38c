"""How large the entries of tensors are, in a small part of the time of a product of them."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

# Between these a norm in float32 has lost no square to its range, and of so many entries
# nothing to their sum.
_LEAST, _MOST, _MOST_ENTRIES = 1e-12, 1e18, 1 << 24


def is_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite.

    Only where their sum is not finite either are they looked at one by one, which takes ten times
    as long.
    """
    values = values.detach()
    if values.is_floating_point() and values.element_size() == 1:
        values = values.float()  # for which neither is there
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def norm(values: Tensor) -> float:
    """The root of the sum of squares, also where squares are too small or large for the type."""
    values = values.detach()
    if values.dtype == torch.float32 and values.numel() < _MOST_ENTRIES:
        size = float(torch.linalg.vector_norm(values))
        if _LEAST < size < _MOST:
            return size
    return float(torch.linalg.vector_norm(values, dtype=torch.float64))


def gram(rows: Tensor) -> Tensor:
    """The products of rows, in double precision where squares are too small or large."""
    size = float(torch.linalg.vector_norm(rows))
    wide = rows if _LEAST < size < _MOST else rows.double()
    return wide @ wide.T


def norm_of_all(tensors: Iterable[Tensor | None]) -> float:
    """The norm of several tensors together; None has no entries."""
    return math.hypot(*(norm(one) for one in tensors if one is not None))
