"""Images laid out pixel by pixel, the channels of each side by side.

On a processor, convolutions and their backward passes take less time so. A model that reads
how values are laid out, that fails, or that has code of its own in the backward pass is run
as it was given.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lazyrich._base import InputError

from ._graph import has_code_of_a_user
from ._row_axis import LEAVING, Reading
from ._rows import Inputs, Output, observed_outputs, rows

# What depends on the layout of its argument. An output need not show it: not that of a blank
# image, nor any where the last layer is zero.
_READING = LEAVING | {
    torch.as_strided,
    *(
        getattr(Tensor, name)
        for name in (
            "as_strided", "as_strided_", "dim_order", "is_contiguous", "resize_", "resize_as_",
            "set_", "stride",
        )
    ),
}  # fmt: skip


def has_images(model: nn.Module, batches: Sequence[Inputs]) -> bool:
    """Whether there are layers and inputs for which the layout matters."""
    leaves = [leaf for batch in batches for leaf in pytree.tree_leaves(batch)]
    has_layers = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return has_layers and any(_is_image(leaf) for leaf in leaves)


def laid_out(
    model: nn.Module, batches: Sequence[Inputs], output: Output
) -> tuple[list[Inputs] | None, list[Reading | None]]:
    """The same batches with images in ``torch.channels_last``.

    Args:
        model: a module without wrappers.
        batches: of rows.
        output: as for `lazyrich.torch.ntk`.

    Returns:
        The batches, or None if the model's outputs may depend on the layout. What was seen of
        the calls that were made, each of one row; None for a call of which nothing could be seen.
    """
    # Of a scripted part it would not be seen what it reads.
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        return None, []
    made = [pytree.tree_map(_by_pixel, batch) for batch in batches]
    pairs, readings = [], []

    def of_one_row(batch: Inputs) -> Tensor:
        values, _, reading = observed_outputs(model, rows(batch, 0, 1), output)
        readings.append(reading)
        return values

    try:
        with _Watch() as watch:
            pairs += [
                (of_one_row(one), of_one_row(other))
                for one, other in zip(batches, made, strict=True)
            ]
    except InputError:
        return None, readings
    if watch.has_read or any(has_code_of_a_user(one) for pair in pairs for one in pair):
        return None, readings
    is_same = all(_is_same(one.detach(), other.detach()) for one, other in pairs)
    return made if is_same else None, readings


class _Watch(TorchFunctionMode):
    """Notices whether the layout of a value is read."""

    def __init__(self) -> None:
        super().__init__()
        self.has_read = False

    def __torch_function__(
        self, func: Callable, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        is_of_user = getattr(func, "namespace", "aten") not in ("aten", "prims")
        self.has_read = self.has_read or func in _READING or is_of_user
        return func(*args, **(kwargs or {}))


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
