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

from ._graph import Graph, node_name
from ._row_axis import LEAVING
from ._rows import Inputs

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


class LayoutMattersError(Exception):
    """What a model returns may depend on how its rows are laid out."""


def laid_out(model: nn.Module, batches: Sequence[Inputs]) -> list[Inputs] | None:
    """The same batches with images in ``torch.channels_last``.

    Args:
        model: a module without wrappers.
        batches: of rows.

    Returns:
        The batches; None if there are no layers and inputs for which the layout matters, if it
        could not be seen what a scripted part of the model reads, or beside group norms.
    """
    leaves = [leaf for batch in batches for leaf in pytree.tree_leaves(batch)]
    if not any(_is_image(leaf) for leaf in leaves):
        return None
    modules = list(model.modules())
    has_layers = any(isinstance(module, nn.Conv2d) for module in modules)
    if any(isinstance(module, nn.GroupNorm) for module in modules):
        return None  # as `has_group_norm` says
    if not has_layers or any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return None
    return [pytree.tree_map(_by_pixel, batch) for batch in batches]


def has_group_norm(outputs: Tensor) -> bool:
    """Whether a group is normalized on the way to outputs.

    PyTorch's gradient of one by its gains alone, of images laid out by pixel, reads memory that
    is not there, and ends the process.
    """
    return any(node_name(node) == "NativeGroupNorm" for node in Graph(outputs).nodes())


class WatchLayout(TorchFunctionMode):
    """Notices whether the layout of a value is read.

    Attributes:
        has_read: whether it was.
    """

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
