"""Copies of the arguments of a call, which a call may change."""

import copy
import gc
import io
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import CodeType, FrameType, FunctionType, MappingProxyType, ModuleType
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lazyrich._base import InputError, kind_of

from ._graph import Node
from ._held import is_closed
from ._kept import is_same, version_of
from ._rows import is_transformed
from ._shared_memory import Memo

Given = tuple[tuple[object, ...], dict[str, object]]
"""Arguments, those by position and those by keyword."""

Shareable: TypeAlias = Tensor | np.ndarray
"""What has memory that a call may write to."""

# So many things are looked at: an object may hold a whole program.
_MOST = 20_000
# Bytes of tensors and arrays up to which values are compared.
_MOST_COMPARED = 1 << 30
# What is the same in a copy, since nothing can change it.
_FIXED = (
    bool, int, float, complex, str, bytes, type(None), type(...),
    torch.dtype, torch.device, np.dtype,
)  # fmt: skip


class Copies:
    """Copies of arguments for one call.

    Args:
        given: the arguments.
        has_graph: whether copies of tensors have the graph of the tensors.

    Attributes:
        given: the copies.
        nodes: of the copies of tensors, also of those inside of objects.

    Raises:
        InputError: if an argument can be read only once.
    """

    def __init__(self, given: PyTree, *, has_graph: bool = False) -> None:
        copying = _Copying(has_graph=has_graph)
        self.given: PyTree = pytree.tree_map(copying.copy, given)
        self.nodes = copying.nodes
        self._shared: list[_Shared] = []
        n_bytes = 0
        for one, holder in copying.shared:
            n_bytes += _n_bytes(one)
            is_compared = n_bytes <= _MOST_COMPARED
            twin = copying.memo.get(id(one))
            self._shared.append(_Shared(one, twin, holder, is_compared=is_compared))
        self._overlapping = _overlapping(copying.cloned)

    def refuse_written(self) -> None:
        """Refuse a call that has written to what copies share with the arguments.

        Raises:
            InputError: naming the type of what holds it, which has its values again.
        """
        written = [one for one in self._shared if one.is_written()]
        for one in written:
            one.restore()
        if written:
            raise InputError(
                "The model writes to a tensor or an array that an argument holds which cannot be "
                f"copied (a {written[0].holder}), and it is called more than once for one output; "
                "give what it writes to by itself, in a list or in a dict, or let the model write "
                "to a copy."
            )
        if any(_mark(made) != mark for made, mark in self._overlapping):
            raise InputError(
                "The model writes to an argument that shares memory with another one, and is "
                "called with a copy of each; give copies that share none, or let the model write "
                "to a copy."
            )


def called_with_copies(model: nn.Module, given: Given) -> PyTree:
    """What a model returns for copies of arguments.

    Raises:
        InputError: as `Copies.refuse_written`.
    """
    copies = Copies(given)
    theirs, named = copies.given
    made = model(*theirs, **named)
    copies.refuse_written()
    return made


class Lists:
    """The lists that arguments hold, as they are before a call.

    Args:
        given: the arguments.
    """

    def __init__(self, given: PyTree) -> None:
        found = (one for one in reachable(given) if isinstance(one, list | deque))
        self._lists = [(one, list(one)) for one in found]

    def refuse_filled(self) -> None:
        """Refuse a call that has put tensors into a list, such as a cache.

        Raises:
            InputError: if it has.
        """
        for now, then in self._lists:
            former = {id(one) for one in then}
            added = [one for one in now if id(one) not in former]
            if any(isinstance(one, Tensor) for one in reachable(added)):
                raise InputError(
                    "The model puts a tensor into a list that it is given, such as a cache, which "
                    "its linearized network would leave as it is, since it calls the model with "
                    "copies of the arguments; give no list, or let the model return the tensor."
                )


class _Copying(TorchFunctionMode):
    """Has ``copy.deepcopy`` copy a tensor with its graph, or as a constant."""

    def __init__(self, *, has_graph: bool) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        # What copies have in common with what is copied, and the type of the argument.
        self.shared: list[tuple[Shareable, str]] = []
        # Tensors and arrays, each with its copy.
        self.cloned: list[tuple[Shareable, Shareable]] = []
        self._has_graph = has_graph
        self.memo: Memo = {}

    def copy(self, leaf: PyTree) -> PyTree:
        """A copy of a tensor or of something else; what cannot be copied as it is."""
        if isinstance(leaf, Tensor):
            if id(leaf) not in self.memo:  # one that is given twice is one tensor also then
                self.memo[id(leaf)] = self._clone(leaf)
                self.cloned.append((leaf, self.memo[id(leaf)]))
            return self.memo[id(leaf)]
        if isinstance(leaf, _FIXED):
            return leaf
        is_loaded = "torch._dynamo" in sys.modules  # else nothing is compiled
        copy_object = self._copy_object
        return (torch.compiler.disable(copy_object) if is_loaded else copy_object)(leaf)

    def _copy_object(self, leaf: PyTree) -> PyTree:
        inside = reachable(leaf)
        made = leaf
        with suppress(Exception):
            self._copy_what_copies_itself(inside)
            with self:
                made = copy.deepcopy(leaf, self.memo)
        if made is leaf and isinstance(leaf, Iterator) and not isinstance(leaf, io.IOBase):
            raise InputError(
                f"An argument is {kind_of(leaf)}, which can be read only once, and the "
                "model is called more than once for one output; give a list of what it yields."
            )
        held = [one for one in inside if isinstance(one, Tensor | np.ndarray)]
        self.cloned += [(one, self.memo[id(one)]) for one in held if id(one) in self.memo]
        former = {id(one) for one in held}
        now = [one for one in reachable(made) if id(one) in former] if former else []
        self.shared += [(one, type(leaf).__name__) for one in now]
        return made

    # It is not compiled with what comes after it.
    _copy_object.__dict__["_torchdynamo_disable"] = True

    def _copy_what_copies_itself(self, inside: list[PyTree]) -> None:
        """Copy what ``copy.deepcopy`` copies in another way, or not at all; inner things first."""
        for one in reversed(inside):
            if id(one) in self.memo:
                continue
            if isinstance(one, nn.Parameter):
                self.memo[id(one)] = self._clone(one)
            elif isinstance(one, MappingProxyType):
                with self:
                    self.memo[id(one)] = MappingProxyType(copy.deepcopy(dict(one), self.memo))

    def _clone(self, one: Tensor) -> Tensor:
        if not self._has_graph:
            return one.detach().clone().requires_grad_(one.requires_grad)
        made = one.clone()
        if made.grad_fn is not None:
            self.nodes.append(made.grad_fn)
        return made

    def __torch_function__(
        self, func: Callable, types: PyTree, args: PyTree = (), kwargs: PyTree = None
    ) -> PyTree:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        one, memo = args
        if id(one) not in memo:
            memo[id(one)] = self._clone(one)
        return memo[id(one)]


class _Shared:
    """A tensor or an array that a copy of an argument shares with the argument.

    Args:
        value: the tensor or array.
        twin: a copy of it that another argument has; None if there is none.
        holder: the type of the argument that holds it.
        is_compared: whether its values are compared, also where no write is counted.
    """

    def __init__(
        self, value: Shareable, twin: Shareable | None, holder: str, *, is_compared: bool
    ) -> None:
        self._value, self._twin, self.holder = value, twin, holder
        self._versions = _version(value), _version(twin)
        is_compared &= not is_transformed()
        self._kept = _copy(value) if is_compared else None

    def is_written(self) -> bool:
        """Whether it was written to, or what would be itself if all were copied."""
        if (_version(self._value), _version(self._twin)) != self._versions:
            return True
        if self._kept is None:
            return False
        both = [one for one in (self._value, self._twin) if one is not None]
        return not all(_is_equal(one, self._kept) for one in both)

    def restore(self) -> None:
        """Give it the values that it had."""
        if isinstance(self._value, np.ndarray) and isinstance(self._kept, np.ndarray):
            self._value[...] = self._kept
        elif isinstance(self._value, Tensor) and isinstance(self._kept, Tensor):
            with torch.no_grad(), suppress(RuntimeError):  # to one that is expanded
                self._value.detach().copy_(self._kept)


def _overlapping(
    cloned: Sequence[tuple[Shareable, Shareable]],
) -> list[tuple[Shareable, int | bytes]]:
    """Copies of what shares memory with another argument, each with what a write changes."""
    if len(cloned) < 2 or torch.compiler.is_compiling() or is_transformed():
        return []
    spans = {id(one): (one, made, _span(one)) for one, made in cloned}.values()
    return [
        (made, _mark(made))
        for one, made, (start, stop) in spans
        if any(a < stop and start < b for other, _, (a, b) in spans if other is not one)
    ]


def _mark(value: Shareable) -> int | bytes:
    """What is another one once a tensor or an array has been written to."""
    return value.tobytes() if isinstance(value, np.ndarray) else _version(value)


def _span(value: Shareable) -> tuple[int, int]:
    """The first address of a value's entries, and the one after the last.

    Not of all memory that it is a part of: two halves of a batch are apart.
    """
    if isinstance(value, np.ndarray):
        return np.lib.array_utils.byte_bounds(value)
    if value.layout != torch.strided or value.is_meta or not value.numel():
        return 0, 0
    reach = sum((k - 1) * s for k, s in zip(value.shape, value.stride(), strict=True)) + 1
    return value.data_ptr(), value.data_ptr() + reach * value.element_size()


def _version(value: Shareable | None) -> int:
    """How often a tensor was written to in place; zero where that is not counted."""
    return version_of(value) if isinstance(value, Tensor) else 0


def _n_bytes(value: Shareable) -> int:
    is_dense = isinstance(value, np.ndarray) or (value.layout == torch.strided)
    return value.nbytes if is_dense else 0


def _copy(value: Shareable) -> Shareable | None:
    """A copy whose values can be compared; None of what has none."""
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else value.copy()
    return None if value.is_meta or value.is_nested else value.detach().clone()


def _is_equal(one: Shareable, kept: Shareable) -> bool:
    if isinstance(one, Tensor) and isinstance(kept, Tensor):
        return one.shape == kept.shape and is_same(one.detach(), kept)
    return np.asarray(one).tobytes() == np.asarray(kept).tobytes()


def reachable(root: PyTree) -> list[PyTree]:
    """What an object holds, each once, tensors and arrays as a whole, what is outermost first.

    Whatever holds it: containers, objects with or without ``__slots__``, functions, classes.
    """
    found, waiting, seen = [], deque([root]), {id(root)}
    while waiting and len(found) < _MOST:
        one = waiting.popleft()
        found.append(one)
        if isinstance(one, Tensor | np.ndarray):
            continue
        for inner in _referents(one):
            if id(inner) not in seen and not isinstance(inner, _FIXED):
                seen.add(id(inner))
                waiting.append(inner)
    return found


def _referents(one: PyTree) -> list[PyTree]:
    """What an object refers to, without the program that it is a part of."""
    if isinstance(one, type):
        return [] if is_closed(one) else list(vars(one).values())
    if isinstance(one, FunctionType):
        inside = [one.__closure__, one.__defaults__, one.__kwdefaults__, vars(one)]
        return [part for part in inside if part]
    is_of_program = isinstance(one, ModuleType | CodeType | FrameType)
    return [] if is_of_program else gc.get_referents(one)
