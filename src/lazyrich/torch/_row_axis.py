"""Whether the operations of a call keep each row of a batch by itself.

Every operation of the call is examined as it runs, and where it leaves the rows. Values that
share memory are taken for one. A value that is neither a parameter or a buffer nor made by an
operation of the call may hold anything.
"""

from collections.abc import Callable, Iterable, Sequence
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

from ._graph import Node
from ._operations import EveryOperation
from ._row_layout import FIRST, Call, Kind, Layout, layout_after, operation_kind

T = TypeVar("T")

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


class Reading(EveryOperation):
    """Examines each operation.

    Attributes:
        is_kept: whether none of them may mix rows.
        n: number of rows.
    """

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
            self._stand: dict[_View, Layout] = {_view(one): FIRST for one in inputs}
        self._inputs = frozenset(self._of_rows)
        # By the number of the node that autograd makes for an operation, just before it.
        self._at: dict[int, Layout | None] = {}

    def keeps_apart(self, made: PyTree) -> bool:
        """Whether every operation kept rows apart, and all tensors that were returned have rows."""
        leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]
        with torch._C.DisableTorchFunction():
            return self.is_kept and all(
                leaf.shape[:1] == (self.n,) and self.layout_of(leaf) == FIRST for leaf in leaves
            )

    def layout_at(self, node: Node) -> Layout | None:
        """Where rows stand in the first value of a node; None where it has none."""
        return self._at.get(node._sequence_nr())

    def layout_of(self, value: Tensor) -> Layout | None:
        """Where rows stand in a value of the call; None where it has none."""
        return self._stand.get(_view(value))

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
        if func is _AS_STRIDED and _changes_nothing(args):
            return self._described(func, args)
        number = torch.autograd._get_sequence_nr() - 1
        made = func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            layout = self._look(func, args, kwargs, made)
        self._at.setdefault(number, layout)
        return made

    def _described(self, func: OpOverload, args: PyTree) -> Tensor:
        """The result of an operation that leaves every entry where it is."""
        layout = self.layout_of(args[0])
        made = func(*args)
        if layout is not None:
            self._stand[_view(made)] = layout
        return made

    def _look(self, func: OpOverload, args: PyTree, kwargs: PyTree, made: PyTree) -> Layout | None:
        """Examine an operation that has been run, and say where it leaves the rows."""
        kind, results, after = operation_kind(func), _tensors(made), None
        of_rows, rest, unknown = self._sorted(_tensors(args, *kwargs.values()))
        if kind.name.startswith("_scaled_dot_product"):
            results = results[:2]  # the others are states of the random numbers of dropout
        is_of_rows = bool(of_rows) and kind.name not in _OF_NOTHING
        for one in unknown:
            _note(self._found, one)
        if (kind.is_seeded and _is_random(kind, args, kwargs)) or unknown:
            self.is_kept = False  # every call may be another function
        elif _top_saved_tensors_default_hooks(True) is not None:
            self.is_kept = False  # the backward pass may read other values
        elif self.is_kept and is_of_rows:
            after = self._follow(Call(kind, args, kwargs, of_rows, rest, results))
            self.is_kept = after is not None
        elif self.is_kept and kind.written:
            written = _written(kind, args, kwargs)
            held = (self._given, self._of_rows)
            self.is_kept = not any(_is_noted(of, one) for of in held for one in written)
        for one in results:
            if is_of_rows:
                _note(self._of_rows, one)
            elif not unknown and not _is_noted(self._given, one) and kind.name not in _UNFILLED:
                _note(self._made, one)
        return after

    def _sorted(self, given: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Tensors that have rows, all others, and of these the ones of which nothing is known."""
        of_rows, rest, unknown = [], [], []
        for one in given:
            memory = _memory(one)
            if memory is None or memory in self._of_rows:
                of_rows.append(one)
                continue
            rest.append(one)
            if memory not in self._made and memory not in self._given and one.ndim and one.numel():
                unknown.append(one)
        return of_rows, rest, unknown

    def _follow(self, call: Call) -> Layout | None:
        """Note where an operation leaves the rows."""
        layouts = []
        for one in call.of_rows:
            layout = self.layout_of(one)
            if layout is None:
                return None
            layouts.append(layout)
        if call.kind.written and not all(
            _is_noted(self._of_rows, one) for one in _written(call.kind, call.args, call.kwargs)
        ):
            return None  # it may be a part of something else
        after = layout_after(call, layouts, self.n) if call.results else None
        if after is not None:
            for one in call.results:
                self._stand[_view(one)] = after
        return after


_LISTS = (list, tuple)


def _tensors(*trees: PyTree) -> list[Tensor]:
    """The tensors in arguments or results of an operation, alone or in lists."""
    found: list[Tensor] = []
    for tree in trees:
        if isinstance(tree, Tensor):
            found.append(tree)
        elif isinstance(tree, _LISTS):
            for one in tree:
                if isinstance(one, Tensor):
                    found.append(one)
                elif isinstance(one, _LISTS):
                    found += _tensors(one)
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


_View = tuple[int | None, int | torch.SymInt, tuple[int, ...], tuple[int, ...]]
"""Some memory, and how it is described."""


def _view(one: Tensor) -> _View:
    memory = _memory(one)
    if memory is None:
        return None, id(one), (), ()
    return memory, one.storage_offset(), one.shape, one.stride()


def _changes_nothing(args: PyTree) -> bool:
    """Whether memory is described as it was, beside axes of one entry, as pooling does."""
    if len(args) != 3:
        return False
    one, size, strides = args
    is_same = tuple(one.shape) == tuple(size) and one.storage_offset() == 0
    return is_same and all(
        k == 1 or a == b for k, a, b in zip(size, one.stride(), strides, strict=True)
    )


def _written(kind: Kind, args: PyTree, kwargs: PyTree) -> list[Tensor]:
    """The tensors that an operation changes, also those that are given for its results."""
    given = kind.named(args, kwargs)
    return _tensors([given.get(name) for name in kind.written])


def _is_random(kind: Kind, args: PyTree, kwargs: PyTree) -> bool:
    """Whether an operation that may draw numbers does: attention without dropout does not."""
    return kind.named(args, kwargs).get("dropout_p") != 0.0
