"""Whether gradients of all rows are, for two of them, those that autograd gives for these alone.

One comparison for everything that could be wrong: what each operation does with a cotangent, how
its rows are laid out, and rows, or their number, on which the gradient of another row depends,
also where a parameter that is zero keeps that from the outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._block import Block, Part
from ._contract import added
from ._factors import Factors
from ._magnitude import norm_of_all
from ._random_cotangents import Probe, is_close
from ._rounding import roundings


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
        chosen = (block.parameters[name] for name in probe.exact)
        if float(gap) > roundings(chosen, probe.exact.values(), wanted.dtype):
            return False
    totals = {
        name: _total(part, probe.cotangent, index, block.parameters[name])
        for name, part in found.items()
    }
    pairs = [(totals.get(name), exact) for name, exact in probe.exact.items()]
    others = [pair for pair in pairs if not _is_same(*pair)]
    if not others:
        return True
    if any(total is None for total, _ in others):
        return False
    # What is smaller than that has no part in a kernel of so many digits.
    least = norm_of_all(probe.exact.values()) * torch.finfo(block.dtype).eps ** 0.5
    return all(norm_of_all(pair) <= least for pair in others)


def _is_same(total: Tensor | None, exact: Tensor | None) -> bool:
    """Whether a gradient is the exact one, or there is none of these rows.

    That there is one of a few rows, be it zero, and none of all of them depends on their number.
    """
    if exact is None:
        return total is None or not bool(total.any())
    return total is not None and is_close(total, exact)


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
