"""Whether gradients of the rows of a batch are those of these rows by themselves."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._graph import gradients
from ._magnitude import norm, norm_of_all

Part: TypeAlias = slice | Tensor
"""Some rows: those that follow each other, or their numbers."""

# A power of two: what is linear is multiplied by it without rounding.
_SCALE = 2.0**-10
# Of the root of the precision.
_MOST_ROUNDING = 30
# So many times the difference of two ways to compute the same gradient.
_OF_NOISE = 100


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
        size = norm_of_all(rest)
        for part in parts:
            alone = gradients(call(part), parameters, _SCALE * u[part])
            for k, g in enumerate(alone):
                if g is not None:
                    left = rest[k]
                    rest[k] = -g / _SCALE if left is None else left.sub_(g, alpha=1 / _SCALE)
    except InputError:
        return  # what has no gradient, or no output of one row, is refused where it is used
    if norm_of_all(rest) > _MOST_ROUNDING * torch.finfo(u.dtype).eps ** 0.5 * size:
        raise InputError(
            "The model's gradient for several rows is not the sum of those of the rows (an "
            "autograd function or a hook changes it in a way that depends on the other rows or is "
            "not linear, or a term without a value has one), so there is no tangent kernel of a "
            "row."
        )


def refuse_other_gradients(
    whole: Tensor, few: Tensor, index: Sequence[int], parameters: Mapping[str, nn.Parameter]
) -> None:
    """Refuse gradients of a few rows that are others beside all rows than beside each other.

    Args:
        whole: outputs of all rows, (n, c), with their graph.
        few: outputs of the few, (k, c), with theirs.
        index: where these are among all.
        parameters: by name.

    Raises:
        InputError: if they differ by more than a unit at the edge of its range explains.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(few.shape, generator=generator, device="cpu").to(few)
    cotangent = torch.zeros_like(whole)
    cotangent[list(index)] = drawn
    found = gradients(whole, parameters.values(), cotangent)
    exact = gradients(few, parameters.values(), drawn)
    tolerance = _MOST_ROUNDING * torch.finfo(whole.dtype).eps ** 0.5
    least = norm_of_all(exact) * torch.finfo(whole.dtype).eps ** 0.5
    gaps = {}
    for name, mine, theirs in zip(parameters, found, exact, strict=True):
        if mine is None and theirs is not None:
            raise _refusal(name)  # be it zero: that of others may not be
        both = [g for g in (mine, theirs) if g is not None]
        gap = norm_of_all([both[0] - both[1]] if len(both) == 2 else both)
        if gap > least and gap > tolerance * max(norm(g) for g in both):
            gaps[name] = gap
    if not gaps:
        return
    noise = _noise(whole, found, cotangent, parameters)
    for name, gap in gaps.items():
        if gap > _OF_NOISE * noise[name]:
            raise _refusal(name)


def _refusal(name: str) -> InputError:
    return InputError(
        "The model's gradient for one row depends on the other rows or on the place of "
        f"the row, or on how many rows there are (that of {name!r} for two rows is another "
        "one beside the others than without them), so there is no tangent kernel of a row."
    )


def _noise(
    whole: Tensor,
    found: Sequence[Tensor | None],
    cotangent: Tensor,
    parameters: Mapping[str, nn.Parameter],
) -> dict[str, float]:
    """How far the gradients for a cotangent are from the sum of those for two parts of it.

    Of a gradient that is zero by an invariance, as that of a bias before a norm, all is rounding.
    """
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(cotangent.shape, generator=generator, device="cpu").to(cotangent)
    part = torch.where(cotangent == 0, 0, drawn)
    pieces = [gradients(whole, parameters.values(), u) for u in (part, cotangent - part)]
    noise = {}
    for name, *of in zip(parameters, found, *pieces, strict=True):
        one, first, second = (0.0 if g is None else g for g in of)
        noise[name] = norm_of_all([torch.as_tensor(one - first - second)])
    return noise
