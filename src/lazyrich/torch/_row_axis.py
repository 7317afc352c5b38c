"""Whether the operations of a call keep each row of a batch by itself.

Every operation of the call is examined as it runs. A value that depends on the rows has them
along its first axis, slowest where others are merged with them; an operation that is not known
to keep that is taken to mix them. Values that share memory are taken for one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from jaxtyping import PyTree
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")

# By the argument that holds rows; the others hold none.
_OF_ONE = {
    "addmm": 1,
    "convolution": 0,
    "embedding": 1,
    "mm": 0,
    "mv": 0,
    "native_batch_norm": 0,
    "_native_batch_norm_legit_no_training": 0,
    "native_group_norm": 0,
}
# What keeps the first axis, if it is as long afterwards.
_BY_IMAGE = {
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "bmm", "baddbmm", "im2col",
    "max_pool2d_with_indices", "pixel_shuffle", "pixel_unshuffle", "upsample_bilinear2d",
    "upsample_nearest2d", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_flash_attention",
    "_native_multi_head_attention", "_transformer_encoder_layer_fwd",
}  # fmt: skip
_BY_SHAPE = {"_reshape_alias", "_unsafe_view", "reshape", "view"}
# Along one axis or some, named by the argument ``dim``.
_ALONG = {
    "_log_softmax", "_safe_softmax", "_softmax", "amax", "amin", "argmax", "cat", "cumsum", "flip",
    "gather", "index_add", "linalg_vector_norm", "max", "mean", "min", "prod", "scatter", "select",
    "slice", "sort", "split", "split_with_sizes", "squeeze", "stack", "sum", "topk", "unbind",
    "unsafe_split", "unsqueeze", "var", "var_mean",
}  # fmt: skip
_AS_THEY_ARE = {"alias", "clone", "detach", "_to_copy", "contiguous", "lift_fresh", "expand"}
# What hands rows to code of which nothing is seen here, at once or in the backward pass.
_LEAVING = frozenset(
    {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr}
    | {Tensor.register_hook}
)


def observed(call: Callable[[], T], inputs: Sequence[Tensor]) -> tuple[T, bool]:
    """Run a call and find whether it keeps the rows of its inputs apart.

    Args:
        call: what is run.
        inputs: the tensors that it reads, with the same number of rows each.

    Returns:
        What the call returns; whether every operation keeps each row by itself, and every
        tensor that is returned has them.
    """
    n = len(inputs[0])
    with _Reading(inputs, n) as reading, _Leaving(reading):
        made = call()
    leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]
    has_rows = all(leaf.shape[:1] == (n,) and reading.is_of_rows(leaf) for leaf in leaves)
    return made, reading.is_kept and has_rows


class _Leaving(TorchFunctionMode):
    """Notices rows that leave PyTorch, whose operations are not seen then."""

    def __init__(self, reading: "_Reading") -> None:
        super().__init__()
        self.reading = reading

    def __torch_function__(
        self, func: Callable, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        if func in _LEAVING and self.reading.is_of_rows(args[0]):
            self.reading.is_kept = False
        return func(*args, **(kwargs or {}))


class _Reading(TorchDispatchMode):
    """Examines each operation; ``is_kept`` is false once one may mix rows."""

    def __init__(self, inputs: Sequence[Tensor], n: int) -> None:
        super().__init__()
        self.is_kept, self.n = True, n
        # Weak references, which keep the memory's name from being given again, not the memory.
        self._known: dict[int, StorageWeakRef] = {}
        for one in inputs:
            self._keep(one)

    def _keep(self, one: Tensor) -> None:
        with suppress(NotImplementedError):  # sparse: its operations are not known either
            reference = StorageWeakRef(one.untyped_storage())
            self._known[reference.cdata] = reference

    def is_of_rows(self, one: Tensor) -> bool:
        """Whether a tensor's memory is that of the inputs, or of something made of them."""
        try:
            return one.untyped_storage()._cdata in self._known
        except NotImplementedError:
            return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to skip it PyTorch would import its compiler first, which takes a second."""
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        kwargs = kwargs or {}
        changes_nothing = _changes_nothing(func, args)
        made = func(*args, **kwargs)
        if changes_nothing:
            return made
        given = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        if _is_random(func, args, kwargs):
            self.is_kept = False  # every call may be another function
        if self.is_kept and any(self.is_of_rows(one) for one in given):
            results = [one for one in pytree.tree_leaves(made) if isinstance(one, Tensor)]
            is_made = results and all(self._has_rows(one) for one in results if one.numel())
            self.is_kept = bool(is_made) and self._is_kept(func, args, kwargs, results[0])
            for one in results:
                self._keep(one)
        return made

    def _has_rows(self, value: Tensor) -> bool:
        return value.ndim > 0 and value.shape[0] % self.n == 0

    def _is_kept(self, func: OpOverload, args: PyTree, kwargs: PyTree, made: Tensor) -> bool:
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        tensors = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        of_rows = [one for one in tensors if self.is_of_rows(one)]
        if any(not self.is_of_rows(one) for one in _written(func, args, kwargs)):
            return False  # it may be a part of something else
        if name in _OF_ONE:
            trains = name == "native_batch_norm" and args[5]
            is_alone = len(of_rows) == 1 and args[_OF_ONE[name]] is of_rows[0]
            return not trains and is_alone and (name != "addmm" or _is_shared(args[0], 2))
        if name in _BY_SHAPE:
            return True
        rest = [one for one in tensors if not self.is_of_rows(one)]
        is_alike = all(one.shape[0] == of_rows[0].shape[0] for one in of_rows)
        is_alike = is_alike and all(_is_shared(one, of_rows[0].ndim) for one in rest)
        if torch.Tag.pointwise in func.tags or name in _AS_THEY_ARE:
            has_axis = all(one.ndim == made.ndim for one in of_rows)
            return is_alike and has_axis and made.shape[0] == of_rows[0].shape[0]
        if name in _BY_IMAGE:
            return is_alike and made.shape[0] == of_rows[0].shape[0] and made.ndim > 2
        if name == "native_layer_norm":
            return len(args[1]) < of_rows[0].ndim
        if name in ("permute", "transpose"):
            axes = args[1] if name == "permute" else args[1:]
            ndim = of_rows[0].ndim
            return axes[0] % ndim == 0 if name == "permute" else all(a % ndim for a in axes)
        if name in _ALONG:
            return is_alike and self._is_along(func, args, kwargs, of_rows[0])
        return False

    @staticmethod
    def _is_along(func: OpOverload, args: PyTree, kwargs: PyTree, rows: Tensor) -> bool:
        """Whether an operation is along other axes than the first."""
        named = _named(func, args, kwargs)
        dim = named.get("dim", named.get("dims", 0))
        ndim = rows.ndim + (func._schema.name in ("aten::stack", "aten::unsqueeze"))
        dims = dim if isinstance(dim, list | tuple) else [dim]
        return bool(dims) and all(isinstance(d, int) and d % ndim for d in dims)


def _changes_nothing(func: OpOverload, args: PyTree) -> bool:
    """Whether memory is described as it was, beside axes of one entry, as pooling does."""
    if func is not torch.ops.aten.as_strided_.default or len(args) != 3:
        return False
    one, size, strides = args
    is_same = tuple(one.shape) == tuple(size) and one.storage_offset() == 0
    return is_same and all(
        k == 1 or a == b for k, a, b in zip(size, one.stride(), strides, strict=True)
    )


def _written(func: OpOverload, args: PyTree, kwargs: PyTree) -> list[Tensor]:
    """The tensors that an operation changes, also those that are given for its results."""
    given = _named(func, args, kwargs)
    changed = [
        given.get(one.name)
        for one in func._schema.arguments
        if one.alias_info is not None and one.alias_info.is_write
    ]
    return [one for one in pytree.tree_leaves(changed) if isinstance(one, Tensor)]


def _named(func: OpOverload, args: PyTree, kwargs: PyTree) -> dict[str, PyTree]:
    names = (one.name for one in func._schema.arguments)
    return dict(zip(names, args, strict=False)) | kwargs


def _is_shared(one: Tensor, ndim: int) -> bool:
    """Whether a tensor has the same entries for every row, beside rows of so many axes."""
    return one.ndim < ndim or one.shape[0] == 1 or one.stride(0) == 0


def _is_random(func: OpOverload, args: PyTree, kwargs: PyTree) -> bool:
    """Whether an operation draws numbers: attention without dropout does not."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    given = _named(func, args, kwargs)
    defaults = {one.name: one.default_value for one in func._schema.arguments}
    return given.get("dropout_p", defaults.get("dropout_p")) != 0.0
