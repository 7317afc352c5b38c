"""Whether the gradient of a batch is the sum of the gradients of its parts."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._graph import gradients

Part: TypeAlias = slice | Tensor
"""Some rows: those that follow each other, or their numbers."""

# A power of two: what is linear is multiplied by it without rounding.
_SCALE = 2.0**-10


def refuse_mixed_gradients(
    whole: Tensor,
    call: Callable[[Part], Tensor],
    parts: Sequence[Part],
    parameters: Sequence[nn.Parameter],
) -> None:
    """Refuse a backward pass that mixes rows, or that is not linear.

    An autograd function, a hook, or a term without a value (``s - s.detach()``) may change
    gradients and no output. A random cotangent is pulled back through all rows, and through
    each part of them alone and smaller.

    Args:
        whole: outputs of all rows, (n, c), with their graph.
        call: from a part of the rows to their outputs, (rows, c).
        parts: of the rows, which have each of them once.
        parameters: those with a gradient.

    Raises:
        InputError: if the gradient is not the sum of those of the rows.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        u = torch.randn(whole.shape, generator=generator, device="cpu").to(whole)
        rest = [None if g is None else g.clone() for g in gradients(whole, parameters, u)]
        size = _norm(rest)
        for part in parts:
            alone = gradients(call(part), parameters, _SCALE * u[part])
            for k, g in enumerate(alone):
                if g is not None:
                    left = rest[k]
                    rest[k] = -g / _SCALE if left is None else left.sub_(g, alpha=1 / _SCALE)
    except InputError:
        return  # what has no gradient, or no output of one row, is refused where it is used
    if _norm(rest) > 30 * torch.finfo(u.dtype).eps ** 0.5 * size:
        raise InputError(
            "The model's gradient for several rows is not the sum of those of the rows (an "
            "autograd function or a hook changes it in a way that depends on the other rows or is "
            "not linear, or a term without a value has one), so there is no tangent kernel of a "
            "row."
        )


def _norm(values: Sequence[Tensor | None]) -> float:
    squares = [float(one.double().square().sum()) for one in values if one is not None]
    return sum(squares) ** 0.5
