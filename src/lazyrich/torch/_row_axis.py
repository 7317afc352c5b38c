"""Whether the operations of a call keep each row of a batch by itself.

Every operation of the call is examined as it runs. A value that depends on the rows has them
along its first axis, slowest where others are merged with them; an operation that is not known
to keep that is taken to mix them. Values that share memory are taken for one. A value that is
neither a parameter or a buffer nor made by an operation of the call may hold anything.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import PyTree
from torch import Tensor
from torch._C import TensorBase
from torch._C._autograd import _top_saved_tensors_default_hooks
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ._operations import EveryOperation

T = TypeVar("T")

# By the argument that holds rows; the others hold none.
_OF_ONE = {
    "addmm": 1,
    "convolution": 0,
    "cudnn_batch_norm": 0,
    "embedding": 1,
    "mm": 0,
    "mv": 0,
    "native_batch_norm": 0,
    "_native_batch_norm_legit_no_training": 0,
    "native_group_norm": 0,
    "native_layer_norm": 0,
}
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
_AS_THEY_ARE = {"alias", "clone", "detach", "_to_copy", "contiguous", "lift_fresh", "expand"}
# What hands rows to code of which nothing is seen here.
LEAVING = frozenset(
    {
        getattr(Tensor, name)
        for name in (
            "__array__", "__deepcopy__", "__dlpack__", "__reduce_ex__", "_typed_storage", "apply_",
            "const_data_ptr", "data_ptr", "map2_", "map_", "numpy", "storage", "tolist",
            "untyped_storage",
        )
        if hasattr(Tensor, name)
    }
    | {vars(Tensor)["__cuda_array_interface__"].__get__, vars(TensorBase)["data"].__set__}
)  # fmt: skip
# What changes a backward pass, also where it is of a weight.
_BACKWARD = frozenset(
    {Tensor.register_hook, vars(TensorBase)["_backward_hooks"].__set__}
    | {vars(TensorBase)[name].__get__ for name in ("grad_fn", "_grad_fn")}
)
# What takes no values from its argument.
_OF_NOTHING = {"full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"}
# Memory that holds nothing yet; what fills it may not be seen.
_UNFILLED = {"empty", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
_AS_STRIDED = torch.ops.aten.as_strided_.default


def watched(
    call: Callable[[], T], inputs: Sequence[Tensor], constants: Iterable[Tensor] = ()
) -> tuple[T, "Reading"]:
    """Run a call and examine its operations.

    Args:
        call: what is run.
        inputs: the tensors that it reads, with the same number of rows each.
        constants: the other tensors that it may read, and that no call changes.

    Returns:
        What the call returns, and what was seen of its operations.
    """
    with Reading(inputs, constants) as reading, _Leaving(reading):
        return call(), reading


class _Leaving(TorchFunctionMode):
    """Notices rows that leave PyTorch, whose operations are not seen then."""

    def __init__(self, reading: "Reading") -> None:
        super().__init__()
        self.reading = reading

    def __torch_function__(
        self, func: Callable, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        if func in _BACKWARD or (func in LEAVING and self.reading.is_of_rows(args[0])):
            self.reading.is_kept = False
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Kind:
    """What is the same in each call of an operation, and looked up once.

    Attributes:
        func: the operation, held so that its identity is given to no other.
        name: without what tells its variants apart.
        arguments: their names.
        written: those that it changes, also where results are written.
        is_pointwise: whether it is entry by entry.
        is_seeded: whether it draws random numbers.
        no_dropout: whether it does not by default, having a probability of dropout.
    """

    func: OpOverload
    name: str
    arguments: tuple[str, ...]
    written: tuple[str, ...]
    is_pointwise: bool
    is_seeded: bool
    no_dropout: bool


_KINDS: dict[int, _Kind] = {}


def _kind(func: OpOverload) -> _Kind:
    """By identity, since computing the hash of an operation takes longer."""
    found = _KINDS.get(id(func))
    if found is None:
        schema = func._schema
        defaults = {one.name: one.default_value for one in schema.arguments}
        found = _KINDS[id(func)] = _Kind(
            func,
            schema.name.removeprefix("aten::").rstrip("_"),
            tuple(defaults),
            tuple(
                one.name
                for one in schema.arguments
                if one.alias_info is not None and one.alias_info.is_write
            )
            if schema.is_mutable
            else (),
            torch.Tag.pointwise in func.tags,
            torch.Tag.nondeterministic_seeded in func.tags,
            defaults.get("dropout_p") == 0.0,
        )
    return found


class Reading(EveryOperation):
    """Examines each operation; ``is_kept`` is false once one may mix rows."""

    def __init__(self, inputs: Sequence[Tensor], constants: Iterable[Tensor]) -> None:
        super().__init__()
        self.is_kept, self.n = True, len(inputs[0])
        # Weak references, which keep the memory's name from being given again, not the memory.
        self._of_rows: dict[int, StorageWeakRef] = {}
        self._made: dict[int, StorageWeakRef] = {}
        self._given: dict[int, StorageWeakRef] = {}
        self._found: dict[int, StorageWeakRef] = {}
        with torch._C.DisableTorchFunction():
            for one in constants:
                _note(self._given, one)
            for one in inputs:
                _note(self._of_rows, one)
        self._inputs = frozenset(self._of_rows)

    def keeps_apart(self, made: PyTree) -> bool:
        """Whether every operation kept rows apart, and all tensors that were returned have rows."""
        leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]
        has_rows = all(leaf.shape[:1] == (self.n,) and self.is_of_rows(leaf) for leaf in leaves)
        return self.is_kept and has_rows

    def is_of_rows(self, one: Tensor) -> bool:
        """Whether a tensor's memory is that of the inputs, or of something made of them."""
        with torch._C.DisableTorchFunction():
            return _is_noted(self._of_rows, one)

    def reads(self, former: "Reading") -> bool:
        """Whether the call read something that a former call made of its rows, and kept."""
        # A model may hold rows that it is asked about.
        made = former._of_rows.keys() - former._inputs
        return not made.isdisjoint(self._found)

    def __torch_dispatch__(
        self, func: OpOverload, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        kwargs = kwargs or {}
        changes_nothing = _changes_nothing(func, args)
        made = func(*args, **kwargs)
        if not changes_nothing:
            with torch._C.DisableTorchFunction():
                self._look(func, args, kwargs, made)
        return made

    def _look(self, func: OpOverload, args: PyTree, kwargs: PyTree, made: PyTree) -> None:
        """Examine an operation that has been run."""
        kind, given, results = _kind(func), _tensors(args, *kwargs.values()), _tensors(made)
        name = kind.name
        if name.startswith("_scaled_dot_product"):
            results = results[:2]  # the others are states of the random numbers of dropout
        of_rows, rest, unknown = [], [], []
        for one in given:
            memory = _memory(one)
            if memory is None or memory in self._of_rows:
                of_rows.append(one)
                continue
            rest.append(one)
            if memory not in self._made and memory not in self._given and one.ndim and one.numel():
                unknown.append(one)  # nothing is known of what it holds
        is_of_rows = bool(of_rows) and name not in _OF_NOTHING
        for one in unknown:
            _note(self._found, one)
        if (kind.is_seeded and _is_random(kind, args, kwargs)) or unknown:
            self.is_kept = False  # every call may be another function
        elif _top_saved_tensors_default_hooks(True) is not None:
            self.is_kept = False  # the backward pass may read other values
        elif self.is_kept and is_of_rows:
            is_made = results and all(self._has_rows(one) for one in results if one.numel())
            tensors = (of_rows, rest, results)
            self.is_kept = bool(is_made) and self._is_kept(kind, args, kwargs, tensors)
        elif self.is_kept and kind.written:
            written = _written(kind, args, kwargs)
            held = (self._given, self._of_rows)
            self.is_kept = not any(_is_noted(of, one) for of in held for one in written)
        for one in results:
            if is_of_rows:
                _note(self._of_rows, one)
            elif not unknown and not _is_noted(self._given, one) and name not in _UNFILLED:
                _note(self._made, one)

    def _has_rows(self, value: Tensor) -> bool:
        return value.ndim > 0 and value.shape[0] % self.n == 0

    def _is_kept(
        self, kind: _Kind, args: PyTree, kwargs: PyTree, tensors: Sequence[list[Tensor]]
    ) -> bool:
        name, (of_rows, rest, results) = kind.name, tensors
        rows, made = of_rows[0], results[0]
        written = _written(kind, args, kwargs) if kind.written else ()
        if not all(_is_noted(self._of_rows, one) for one in written):
            return False  # it may be a part of something else
        if name in _BY_SHAPE:
            return True
        if name in _OF_ONE:
            is_alone = len(of_rows) == 1 and args[_OF_ONE[name]] is rows
            return is_alone and _is_by_row(name, args)
        are_alike = all((one.ndim, one.shape[0]) == (rows.ndim, rows.shape[0]) for one in of_rows)
        are_alike = are_alike and all(one.shape[0] == rows.shape[0] for one in results)
        if not are_alike or not all(_is_shared(one, rows.ndim) for one in rest):
            return False
        if kind.is_pointwise or name in _AS_THEY_ARE:
            return made.ndim == rows.ndim
        if name in _BY_IMAGE:
            return made.ndim > 2
        if name in ("permute", "transpose"):
            axes = args[1] if name == "permute" else args[1:]
            first = axes[0] % rows.ndim
            return first == 0 if name == "permute" else all(a % rows.ndim for a in axes)
        if name in ("gather", "scatter") and any(len(one) != len(rows) for one in rest):
            return False  # these two do not repeat what has one row
        return name in _ALONG and _is_along(kind, args, kwargs, rows)


def _tensors(*trees: PyTree) -> list[Tensor]:
    """The tensors in arguments or results of an operation, alone or in lists."""
    found: list[Tensor] = []
    for tree in trees:
        if isinstance(tree, Tensor):
            found.append(tree)
        elif isinstance(tree, list | tuple) and tree and not isinstance(tree[0], int):
            found += _tensors(*tree)
    return found


def _note(of: dict[int, StorageWeakRef], one: Tensor) -> None:
    memory = _memory(one)
    # Not of a sparse tensor, whose operations are not known either.
    if memory is not None and memory not in of:
        of[memory] = StorageWeakRef(one.untyped_storage())


def _is_noted(of: dict[int, StorageWeakRef], one: Tensor) -> bool:
    memory = _memory(one)
    return memory is None or memory in of


def _memory(one: Tensor) -> int | None:
    """The name of a tensor's memory; None of one without."""
    try:
        return one.untyped_storage()._cdata
    except NotImplementedError:
        return None


def _is_shared(one: Tensor, ndim: int) -> bool:
    """Whether a value has the same entries for every row, beside rows of so many axes."""
    return one.ndim < ndim or one.shape[0] == 1 or one.stride(0) == 0


def _is_by_row(name: str, args: PyTree) -> bool:
    """Whether a layer takes one row at a time, given what it gets beside the rows."""
    if name == "addmm":
        return _is_shared(args[0], 2)
    if name in ("native_batch_norm", "cudnn_batch_norm"):
        return not args[5]  # it does not train
    if name == "native_group_norm":
        return args[3] == args[0].shape[0]
    return name != "native_layer_norm" or len(args[1]) < args[0].ndim


def _named(kind: _Kind, args: PyTree, kwargs: PyTree) -> dict[str, PyTree]:
    return dict(zip(kind.arguments, args, strict=False)) | kwargs


def _changes_nothing(func: OpOverload, args: PyTree) -> bool:
    """Whether memory is described as it was, beside axes of one entry, as pooling does."""
    if func is not _AS_STRIDED or len(args) != 3:
        return False
    one, size, strides = args
    is_same = tuple(one.shape) == tuple(size) and one.storage_offset() == 0
    return is_same and all(
        k == 1 or a == b for k, a, b in zip(size, one.stride(), strides, strict=True)
    )


def _written(kind: _Kind, args: PyTree, kwargs: PyTree) -> list[Tensor]:
    """The tensors that an operation changes, also those that are given for its results."""
    given = _named(kind, args, kwargs)
    return _tensors([given.get(name) for name in kind.written])


def _is_along(kind: _Kind, args: PyTree, kwargs: PyTree, rows: Tensor) -> bool:
    """Whether an operation is along other axes than the first."""
    named = _named(kind, args, kwargs)
    dim = named.get("dim", named.get("dims", 0))
    ndim = rows.ndim + (kind.name in ("stack", "unsqueeze"))
    dims = dim if isinstance(dim, list | tuple) else [dim]
    return bool(dims) and all(isinstance(d, int) and d % ndim for d in dims)


def _is_random(kind: _Kind, args: PyTree, kwargs: PyTree) -> bool:
    """Whether an operation that may draw numbers does: attention without dropout does not."""
    given = _named(kind, args, kwargs)
    return given.get("dropout_p", 0.0 if kind.no_dropout else None) != 0.0
