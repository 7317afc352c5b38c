"""Which tensors of a model the operations of a call read or write, by the addresses of memory."""

from bisect import bisect_right
from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from ._operations import EveryOperation
from ._shared_memory import Span, regions


class Touching(EveryOperation):
    """Notices operations on the memory of some tensors and arrays.

    Args:
        values: whose memory is meant.
    """

    def __init__(self, values: Iterable[Tensor | np.ndarray]) -> None:
        super().__init__()
        self._regions, self._touched = regions(values), set[int]()
        self._starts = [region.start for region in self._regions]

    def touched(self) -> list[Tensor | np.ndarray]:
        """The tensors and arrays whose memory was read or written."""
        return [value for k in sorted(self._touched) for value in self._regions[k].values]

    def __torch_dispatch__(
        self, func: OpOverload, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        made = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            for leaf in pytree.tree_leaves((args, kwargs or {})):
                if isinstance(leaf, Tensor):
                    self._look(leaf)
        return made

    def _look(self, value: Tensor) -> None:
        span = Span.of(value)
        if span is None:
            return
        k = bisect_right(self._starts, span.start) - 1
        if k >= 0 and span.start < self._regions[k].stop:
            self._touched.add(k)
        if k + 1 < len(self._starts) and self._starts[k + 1] < span.stop:
            self._touched.add(k + 1)


def call_touching(
    call: Callable[[], Tensor], values: Iterable[Tensor | np.ndarray]
) -> tuple[Tensor, list[Tensor | np.ndarray]]:
    """Run a call.

    Args:
        call: what is run.
        values: tensors and arrays.

    Returns:
        What it returns, and those of the values that it reads or writes.
    """
    with Touching(values) as touching:
        return call(), touching.touched()
