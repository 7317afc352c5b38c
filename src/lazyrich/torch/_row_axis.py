"""Whether the operations of a module show that each row of a batch stays by itself.

Every operation of one call is looked at. A value that depends on the rows has them along its
first axis, slowest where others are merged with them; an operation that is not known to keep
that is taken to mix them.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import PyTree
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

N_ROWS = 5
"""Rows with which a module is looked at: few, and a length that other axes seldom have."""

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


def keeps_rows(call: Callable[[], object], inputs: Sequence[Tensor]) -> bool:
    """Whether a call keeps the rows of its inputs apart.

    Args:
        call: what is looked at.
        inputs: its inputs, with ``N_ROWS`` rows each.
    """
    with _Reading(inputs) as reading:
        made = call()
    leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]
    return reading.is_kept and all(leaf.shape[:1] == (N_ROWS,) for leaf in leaves)


class _Reading(TorchDispatchMode):
    """Looks at each operation; ``is_kept`` is false once one may mix rows."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.is_kept = True
        self._known = {id(one): one for one in inputs}  # also keeps them alive

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to skip it PyTorch would import its compiler first, which takes a second."""
        return False

    def __torch_dispatch__(
        self, func: OpOverload, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        given = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        if self.is_kept and any(id(one) in self._known for one in given):
            results = [one for one in pytree.tree_leaves(made) if isinstance(one, Tensor)]
            is_made = results and all(_has_rows(one) for one in results if one.numel())
            self.is_kept = bool(is_made) and self._is_kept(func, args, kwargs, results[0])
            self._known |= {id(one): one for one in results}
        return made

    def _is_kept(self, func: OpOverload, args: PyTree, kwargs: PyTree, made: Tensor) -> bool:
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        tensors = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        of_rows = [one for one in tensors if id(one) in self._known]
        if func._schema.is_mutable and id(args[0]) not in self._known:
            return False  # it may be a part of something else
        if name in _OF_ONE:
            trains = name == "native_batch_norm" and args[5]
            return not trains and len(of_rows) == 1 and args[_OF_ONE[name]] is of_rows[0]
        if name in _BY_SHAPE:
            return True
        rest = [one for one in tensors if id(one) not in self._known]
        is_alike = all(one.shape[0] == of_rows[0].shape[0] for one in of_rows)
        if torch.Tag.pointwise in func.tags or name in _AS_THEY_ARE:
            return (
                all(one.shape[:1] == made.shape[:1] for one in of_rows)
                and all(one.ndim == made.ndim for one in of_rows)
                and all(one.ndim < made.ndim or one.shape[0] == 1 for one in rest)
            )
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
        named = dict(zip((one.name for one in func._schema.arguments), args, strict=False))
        named |= kwargs
        dim = named.get("dim", named.get("dims", 0))
        ndim = rows.ndim + (func._schema.name in ("aten::stack", "aten::unsqueeze"))
        dims = dim if isinstance(dim, list | tuple) else [dim]
        return bool(dims) and all(isinstance(d, int) and d % ndim for d in dims)


def _has_rows(value: Tensor) -> bool:
    return value.ndim > 0 and value.shape[0] % N_ROWS == 0
