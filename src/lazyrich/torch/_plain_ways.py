"""Layers computed as they are defined, where PyTorch has a faster way that cannot stand in."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import PyTree
from torch import nn
from torch.overrides import TorchFunctionMode

# The fast path is one switch for all threads: what the first one found, and one for each other.
_COUNTING = threading.Lock()
_IN_USE: list[bool] = []


@contextmanager
def plain_attention() -> Generator[None]:
    """Without the fast path of ``nn.TransformerEncoder``, which is taken where no gradient is.

    With a padding mask its outputs at padded places are other than those with a gradient, and on
    a GPU it keeps no more digits than float32 has.
    """
    if torch.compiler.is_compiling():  # it is not taken there
        yield
        return
    with _COUNTING:
        if not _IN_USE:
            _IN_USE.append(torch.backends.mha.get_fastpath_enabled())
            torch.backends.mha.set_fastpath_enabled(False)
        else:
            _IN_USE.append(False)
    try:
        yield
    finally:
        with _COUNTING:
            if len(_IN_USE) == 1:  # the last one puts back what the first one found
                torch.backends.mha.set_fastpath_enabled(_IN_USE[0])
                _IN_USE.clear()
            else:
                _IN_USE.pop()


@contextmanager
def plain_recurrence(model: nn.Module) -> Generator[None]:
    """Without cuDNN, if the model has recurrent layers, of which it has no gradient in eval mode.

    Nor has it their second derivative, or forward mode.
    """
    cudnn = torch.backends.cudnn
    is_meant = any(isinstance(module, nn.RNNBase) for module in model.modules())
    if not is_meant or not cudnn.enabled or torch.compiler.is_compiling():
        yield
        return
    cudnn.enabled = False
    try:
        yield
    finally:
        cudnn.enabled = True


@contextmanager
def plain_group_norm(model: nn.Module) -> Generator[None]:
    """With group norms of images that are laid out channel by channel, if the model may have any.

    PyTorch's gradient by their gains alone, of images laid out by pixel, ends the process.
    """
    has_norms = any(isinstance(module, nn.GroupNorm) for module in model.modules())
    is_meant = has_norms or any(p.ndim > 3 for p in model.parameters())  # of images
    is_meant = is_meant and not torch.compiler.is_compiling()
    with _ChannelByChannel() if is_meant else nullcontext():
        yield


class _ChannelByChannel(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        if func in (F.group_norm, torch.group_norm):
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))
