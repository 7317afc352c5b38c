"""Whether gradients of all rows are, for two of them, those that autograd gives for these alone.

One comparison for everything that could be wrong: what each operation does with a cotangent, how
its rows are laid out, and rows, or their number, on which the gradient of another row depends,
also where a parameter that is zero keeps that from the outputs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._block import Block, Part
from ._contract import added
from ._factors import Factors
from ._graph import gradients
from ._random_cotangents import Probe, is_close, norm

# Of the root of the precision, as `refuse_mixed_gradients` has it.
_MOST_ROUNDING = 30
# So many times the difference of two ways to compute the same gradient.
_OF_NOISE = 100


@torch.no_grad()
def is_confirmed(block: Block, probe: Probe | None, index: Sequence[int]) -> bool:
    """Whether outputs and gradients of a block are those of a few of its rows run by themselves.

    Args:
        block: the rows.
        probe: of the few rows; None confirms nothing.
        index: where these are in the block.
    """
    if probe is None or not block.seen.are_apart:
        return False
    wanted, found = probe.outputs.detach(), block.parts(0, block.values.shape[1])
    gap = (block.values.detach()[list(index)] - wanted).abs().max()
    if bool(gap > 1e3 * torch.finfo(wanted.dtype).eps * wanted.abs().max()):
        return False
    totals = {
        name: _total(part, probe.cotangent, index, block.parameters[name])
        for name, part in found.items()
    }
    pairs = [(totals.get(name), exact) for name, exact in probe.exact.items()]
    others = [pair for pair in pairs if not _is_same(*pair)]
    if not others:
        return True
    # What is smaller than that has no part in a kernel of so many digits.
    least = _size(probe.exact.values()) * torch.finfo(block.dtype).eps ** 0.5
    return all(_size(pair) <= least for pair in others)


def refuse_other_gradients(
    whole: Tensor, probe: Probe | None, index: Sequence[int], parameters: Mapping[str, nn.Parameter]
) -> None:
    """Refuse gradients of rows that are others beside all rows than beside each other.

    Args:
        whole: outputs of all rows, (n, c), with their graph.
        probe: of a few rows; None of none.
        index: where these are among all.
        parameters: by name.

    Raises:
        InputError: if they differ by more than a unit at the edge of its range explains.
    """
    if probe is None:
        return
    cotangent = torch.zeros_like(whole)
    cotangent[list(index)] = probe.cotangent
    found = dict(zip(parameters, gradients(whole, parameters.values(), cotangent), strict=True))
    noise = _noise(whole, found, cotangent, parameters)
    tolerance = _MOST_ROUNDING * torch.finfo(whole.dtype).eps ** 0.5
    least = _size(probe.exact.values()) * torch.finfo(whole.dtype).eps ** 0.5
    for name, exact in probe.exact.items():
        both = [g for g in (found[name], exact) if g is not None]
        gap = both[0] - both[1] if len(both) == 2 else both[0] if both else None
        if gap is None:
            continue
        if _size([gap]) > max(least, tolerance * max(map(norm, both)), _OF_NOISE * noise[name]):
            raise InputError(
                "The model's gradient for one row depends on the other rows or on the place of "
                f"the row, or on how many rows there are (that of {name!r} for two rows is another "
                "one beside the others than without them), so there is no tangent kernel of a row."
            )


def _noise(
    whole: Tensor,
    found: Mapping[str, Tensor | None],
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
    for name, *of in zip(parameters, found.values(), *pieces, strict=True):
        one, first, second = (0.0 if g is None else g for g in of)
        noise[name] = _size([torch.as_tensor(one - first - second)])
    return noise


def _is_same(total: Tensor | None, exact: Tensor | None) -> bool:
    """Whether a gradient is the exact one; what is None is zero."""
    if total is None or exact is None:
        return not any(g is not None and bool(g.any()) for g in (total, exact))
    return is_close(total, exact)


def _size(gradients: Iterable[Tensor | None]) -> float:
    """The norm of several gradients together."""
    return math.hypot(*(float(norm(g)) for g in gradients if g is not None))


def _total(part: Part, cotangent: Tensor, index: Sequence[int], parameter: nn.Parameter) -> Tensor:
    """The gradient of a parameter for a cotangent (k, c) of k rows, from the parts of all rows."""
    chosen = list(index)
    if isinstance(part, Tensor):
        total = cotangent.to(part.dtype).reshape(-1) @ part[chosen].flatten(0, 1)
    else:
        total = added(_of_factors(one, cotangent, chosen) for one in part)
    return total.reshape(parameter.shape)


def _of_factors(factors: Factors, cotangent: Tensor, chosen: list[int]) -> Tensor:
    arrived = factors.cotangent[chosen]
    g = (cotangent.to(arrived.dtype)[:, :, None, None] * arrived).sum(1).flatten(0, 1)
    h = factors.activation[chosen].flatten(0, 1)
    first = factors.activation_first
    if not factors.is_lookup:
        return (h.T @ g if first else g.T @ h).flatten()
    height, width = factors.shape
    table = g.new_zeros(height if first else width, g.shape[1]).index_add_(0, h, g)
    return (table if first else table.T).flatten()
