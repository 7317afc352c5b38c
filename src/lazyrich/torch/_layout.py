"""Images laid out pixel by pixel, the channels of each side by side.

On a processor, convolutions and their backward passes take less time so. A model may read
how its inputs are laid out: its outputs are compared, and what fails is run as it was given.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError

from ._rows import Inputs, Output, rows, values_of


def laid_out(model: nn.Module, batches: Sequence[Inputs], output: Output) -> list[Inputs] | None:
    """The same batches with images in ``torch.channels_last``.

    Args:
        model: a module without wrappers.
        batches: of rows.
        output: as for `lazyrich.torch.ntk`.

    Returns:
        None if there are no such images, or if the model's outputs for a first row are others.
    """
    leaves = [leaf for batch in batches for leaf in pytree.tree_leaves(batch)]
    has_layers = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if not has_layers or not any(_is_image(leaf) for leaf in leaves):
        return None
    made = [pytree.tree_map(_by_pixel, batch) for batch in batches]
    try:
        pairs = [
            [values_of(model, rows(one, 0, 1), output) for one in pair]
            for pair in zip(batches, made, strict=True)
        ]
    except InputError:
        return None
    return made if all(_is_same(*pair) for pair in pairs) else None


def _is_image(leaf: object) -> bool:
    return (
        isinstance(leaf, Tensor)
        and leaf.ndim == 4
        and leaf.shape[1] > 1
        and leaf.device.type == "cpu"
        and leaf.dtype == torch.float32
        and leaf.is_contiguous()
    )


def _by_pixel(leaf: object) -> object:
    if isinstance(leaf, Tensor) and _is_image(leaf):
        return leaf.contiguous(memory_format=torch.channels_last)
    return leaf


def _is_same(one: Tensor, other: Tensor) -> bool:
    tolerance = 1e3 * torch.finfo(one.dtype).eps
    gap = (one - other).abs().max() if one.shape == other.shape else one.new_tensor(torch.inf)
    return bool(gap <= tolerance * one.abs().max())
