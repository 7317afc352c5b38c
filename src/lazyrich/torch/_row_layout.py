"""Where the rows of a batch stand in what an operation makes of them.

A value has its rows along one axis, alone or merged with positions that come before and after
them there. An operation that is not known to take one row at a time is taken to mix them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import PyTree
from torch import Tensor
from torch._ops import OpOverload


class Layout(NamedTuple):
    """Where rows stand.

    Attributes:
        axis: the axis that they are along.
        before: number of positions that come before them on that axis, being merged with them.
    """

    axis: int
    before: int


FIRST = Layout(0, 1)
# By the argument that holds rows along its first axis; the others hold none.
_OF_ONE = {
    "addmm": 1,
    "convolution": 0,
    "cudnn_batch_norm": 0,
    "mm": 0,
    "mv": 0,
    "native_batch_norm": 0,
    "_native_batch_norm_legit_no_training": 0,
    "native_group_norm": 0,
}
# The same along any axis, of those that they keep.
_OF_ONE_ALONG_ANY = {"embedding": 1, "native_layer_norm": 0}
# What keeps the first axis, if it is as long afterwards.
_BY_IMAGE = {
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "bmm", "baddbmm", "im2col",
    "max_pool2d_with_indices", "pixel_shuffle", "pixel_unshuffle", "upsample_bilinear2d",
    "upsample_nearest2d", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
}  # fmt: skip
_BY_SHAPE = {"_unsafe_view", "reshape", "view"}
# Along one axis or some, named by the argument ``dim``.
_ALONG = {
    "_log_softmax", "_safe_softmax", "_softmax", "amax", "amin", "argmax", "cat", "cumsum", "flip",
    "gather", "linalg_vector_norm", "max", "mean", "min", "prod", "scatter", "select",
    "slice", "sort", "split", "split_with_sizes", "squeeze", "stack", "sum", "topk", "unbind",
    "unsafe_split", "unsqueeze", "var", "var_mean",
}  # fmt: skip
# These two do not repeat what has one row.
_WITHOUT_BROADCASTING = {"gather", "scatter"}
_AS_THEY_ARE = {"alias", "clone", "detach", "_to_copy", "contiguous", "lift_fresh", "expand"}


@dataclass(frozen=True)
class Kind:
    """What is the same in each call of an operation, and looked up once.

    Attributes:
        func: the operation, held so that its identity is given to no other.
        name: without what tells its variants apart.
        arguments: their names.
        written: those that it changes, also where results are written.
        defaults: values of arguments that are not given.
        is_seeded: whether it draws random numbers.
        rule: from a call, where its rows stand and their number to where they stand in its
            results; None if it is not known.
    """

    func: OpOverload
    name: str
    arguments: tuple[str, ...]
    written: tuple[str, ...]
    defaults: dict[str, PyTree]
    is_seeded: bool
    rule: "Callable[[Call, Layout, int], Layout | None] | None"

    def named(self, args: PyTree, kwargs: PyTree) -> dict[str, PyTree]:
        """Arguments by name."""
        return self.defaults | dict(zip(self.arguments, args, strict=False)) | kwargs


_KINDS: dict[int, Kind] = {}


def operation_kind(func: OpOverload) -> Kind:
    """By identity, since computing the hash of an operation takes longer."""
    found = _KINDS.get(id(func))
    if found is None:
        schema = func._schema
        name = schema.name.removeprefix("aten::").rstrip("_")
        # What changes in place how its argument is described has moved rows before they are seen.
        is_known = torch.Tag.inplace_view not in func.tags
        written = [
            one.name
            for one in schema.arguments
            if one.alias_info is not None and one.alias_info.is_write
        ]
        found = _KINDS[id(func)] = Kind(
            func,
            name,
            tuple(one.name for one in schema.arguments),
            tuple(written) if schema.is_mutable else (),
            {one.name: one.default_value for one in schema.arguments if one.has_default_value()},
            torch.Tag.nondeterministic_seeded in func.tags,
            _rule(name, is_pointwise=torch.Tag.pointwise in func.tags) if is_known else None,
        )
    return found


class Call(NamedTuple):
    """An operation that has been run.

    Attributes:
        kind: which one.
        args: its arguments.
        kwargs: those that were named.
        of_rows: tensors among them that have rows.
        rest: the others.
        results: what it made.
    """

    kind: Kind
    args: PyTree
    kwargs: PyTree
    of_rows: Sequence[Tensor]
    rest: Sequence[Tensor]
    results: Sequence[Tensor]


def layout_after(call: Call, layouts: Sequence[Layout], n: int) -> Layout | None:
    """Where rows stand in the results of an operation; None if it may mix them.

    Args:
        call: the operation.
        layouts: where they stand in each of its tensors that have rows.
        n: number of rows.
    """
    layout, rule = layouts[0], call.kind.rule
    if rule is None:
        return None
    for one in layouts:
        if one != layout:
            return None
    after = rule(call, layout, n)
    if after is None:
        return None
    axis, unit = after.axis, after.before * n
    for one in call.results:
        if one.numel() and (one.ndim <= axis or one.shape[axis] % unit):
            return None
    return after


def _rule(name: str, *, is_pointwise: bool) -> Callable[[Call, Layout, int], Layout | None] | None:
    """The rule of an operation."""
    if is_pointwise or name in _AS_THEY_ARE:
        return _entry_by_entry
    if name in _BY_SHAPE:
        return _reshaped
    if name in _OF_ONE:
        return _of_one
    if name in _OF_ONE_ALONG_ANY:
        return _of_one_along_any
    if name in _BY_IMAGE:
        return _by_image
    if name in ("permute", "transpose", "t"):
        return _permuted
    return _along if name in _ALONG else None


def _of_one(call: Call, layout: Layout, n: int) -> Layout | None:
    name, args = call.kind.name, call.args
    is_alone = len(call.of_rows) == 1 and args[_OF_ONE[name]] is call.of_rows[0]
    return layout if is_alone and layout.axis == 0 and _is_by_row(name, args) else None


def _of_one_along_any(call: Call, layout: Layout, n: int) -> Layout | None:
    name, args, rows = call.kind.name, call.args, call.of_rows[0]
    is_alone = len(call.of_rows) == 1 and args[_OF_ONE_ALONG_ANY[name]] is rows
    is_kept = name == "embedding" or layout.axis < rows.ndim - len(args[1])
    return layout if is_alone and is_kept else None


def _are_alike(call: Call, layout: Layout, after: Layout) -> bool:
    """Whether rows are along one axis in all tensors, and no other has entries for each of them."""
    ndim, axis = call.of_rows[0].ndim, layout.axis
    length = call.of_rows[0].shape[axis]
    for one in call.of_rows:
        if one.ndim != ndim or one.shape[axis] != length:
            return False
    for one in call.rest:
        if not is_shared(one, ndim, axis):
            return False
    return all(one.shape[after.axis] == length for one in call.results if one.numel())


def _entry_by_entry(call: Call, layout: Layout, n: int) -> Layout | None:
    is_kept = call.results[0].ndim == call.of_rows[0].ndim
    return layout if is_kept and _are_alike(call, layout, layout) else None


def _by_image(call: Call, layout: Layout, n: int) -> Layout | None:
    is_kept = call.results[0].ndim > 2 and layout.axis == 0
    return layout if is_kept and _are_alike(call, layout, layout) else None


def _permuted(call: Call, layout: Layout, n: int) -> Layout | None:
    order = _order(call.kind.name, call.args, call.of_rows[0].ndim)
    return layout._replace(axis=order.index(layout.axis))


def _reshaped(call: Call, layout: Layout, n: int) -> Layout | None:
    """Where rows stand after a change of shape; None if they are torn apart."""
    before, after = call.of_rows[0].shape, call.results[0].shape
    outer, size = math.prod(before[: layout.axis]) * layout.before, 1
    for axis, length in enumerate(after):
        merged, rest = divmod(outer, size)
        if not rest and length and length % (merged * n) == 0:
            return Layout(axis, merged)
        size *= length
        if not 0 < size <= outer:
            return None
    return None


def _order(name: str, args: PyTree, ndim: int) -> list[int]:
    """The axes of an argument in the order of the result."""
    if name == "permute":
        return [axis % ndim for axis in args[1]]
    order = list(range(ndim))
    one, other = (0, ndim - 1) if name == "t" else (args[1] % ndim, args[2] % ndim)
    order[one], order[other] = other, one
    return order


def _along(call: Call, layout: Layout, n: int) -> Layout | None:
    """The layout after an operation along other axes than that of the rows."""
    after = _along_others(call, layout)
    if after is None or not _are_alike(call, layout, after):
        return None
    if call.kind.name in _WITHOUT_BROADCASTING:
        length = call.of_rows[0].shape[layout.axis]
        if any(one.shape[layout.axis] != length for one in call.rest):
            return None
    return after


def _along_others(call: Call, layout: Layout) -> Layout | None:
    kind, rows, made = call.kind, call.of_rows[0], call.results[0]
    named = kind.named(call.args, call.kwargs)
    dim = named.get("dim", named.get("dims"))
    if kind.name in ("stack", "unsqueeze"):
        return layout._replace(axis=layout.axis + (dim % made.ndim <= layout.axis))
    dims = dim if isinstance(dim, list | tuple) else [dim]
    if not dims or not all(isinstance(d, int) for d in dims):
        return None  # along all of them
    dims = {d % rows.ndim for d in dims}
    if layout.axis in dims:
        return None
    if made.ndim == rows.ndim:
        return layout
    dropped = [d for d in dims if kind.name != "squeeze" or rows.shape[d] == 1]
    return layout._replace(axis=layout.axis - sum(d < layout.axis for d in dropped))


def is_shared(one: Tensor, ndim: int, axis: int) -> bool:
    """Whether a value has the same entries for every row, beside rows along an axis of so many."""
    return one.ndim < ndim - axis or one.shape[axis - ndim] == 1 or one.stride(axis - ndim) == 0


def _is_by_row(name: str, args: PyTree) -> bool:
    """Whether a layer takes one row at a time, given what it gets beside the rows."""
    if name == "addmm":
        return is_shared(args[0], 2, 0)
    if name in ("native_batch_norm", "cudnn_batch_norm"):
        return not args[5]  # it does not train
    return name != "native_group_norm" or args[3] == args[0].shape[0]
