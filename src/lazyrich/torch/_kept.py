"""A model as it was before it was called, whatever it does to its parameters and attributes."""

import ctypes
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn

from ._held import held

# Bytes of parameters up to which a model's calls are made with a copy of them at hand.
_MOST_COPIED = 1 << 30
# What models hold of which each call writes to copies, by identity, while they are measured.
ON_COPIES: "dict[int, KeptState]" = {}


def _comparison() -> Callable[[int, int, int], int] | None:
    """The C library's comparison of memory, from two addresses and a number of bytes."""
    try:
        compare = ctypes.CDLL(None).memcmp
    except (AttributeError, OSError, TypeError):
        return None  # such as on Windows
    compare.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
    return compare


_COMPARE = _comparison()


class KeptParameter:
    """A parameter as it is: values, memory, hooks, whether it has a gradient, and that gradient."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter, self.data = parameter, parameter.data
        self.copy = parameter.detach().clone()
        self.hooks = None if parameter._backward_hooks is None else dict(parameter._backward_hooks)
        self.has_gradient, self.grad = parameter.requires_grad, parameter.grad
        self.copy_of_grad = None if self.grad is None else self.grad.detach().clone()

    def is_written(self) -> bool:
        """Whether its values are other ones, or elsewhere."""
        return _is_elsewhere(self.parameter, self.data) or not is_same(self.data, self.copy)

    def restore(self) -> None:
        """Make it what it was."""
        p = self.parameter
        if _is_elsewhere(self.parameter, self.data):
            p.data = self.data
        if not is_same(self.data, self.copy):
            p.data.copy_(self.copy)
        if p.requires_grad != self.has_gradient:
            p.requires_grad_(self.has_gradient)
        if p._backward_hooks is not None and dict(p._backward_hooks) != (self.hooks or {}):
            for added in p._backward_hooks.keys() - (self.hooks or {}).keys():
                del p._backward_hooks[added]
        if p.grad is not self.grad:
            p.grad = self.grad
        grad, copy = self.grad, self.copy_of_grad
        if grad is not None and copy is not None and not is_same(grad, copy):
            with torch.no_grad():  # of a sparse one, ``data`` is another tensor
                grad.copy_(copy)


def kept_parameters(model: nn.Module) -> list[KeptParameter]:
    """The parameters of a model, or where they are too large the tables that a call shortens."""
    # What inference mode made, nobody outside can write to.
    plain = [p for p in model.parameters() if type(p) is nn.Parameter and not p.is_inference()]
    plain = [p for p in plain if p.layout == torch.strided]
    if sum(p.numel() * p.element_size() for p in plain) > _MOST_COPIED:
        plain = []
    tables = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]
    return [KeptParameter(p) for p in {id(p): p for p in [*plain, *tables]}.values()]


class KeptState:
    """What modules hold beside parameters, as it is: attributes, containers, tensors, arrays.

    Generators of random numbers are told and not put back.
    """

    def __init__(self, model: nn.Module) -> None:
        found = held(model)
        self.model = model
        # Most are empty, such as those of hooks, and are looked at together.
        self.empty = [value for value in found.containers if not value]
        self.containers = [(value, value.copy()) for value in found.containers if value]
        self.places, self.generators = found.places, found.generators
        buffers, n_bytes = {id(one) for one in model.buffers()}, 0
        self.tensors, self.arrays = [], []
        for value in {id(place.value): place.value for place in found.places}.values():
            n_bytes += 0 if id(value) in buffers else value.nbytes if _is_dense(value) else 0
            if n_bytes > _MOST_COPIED:
                break  # such as a data set
            if isinstance(value, np.ndarray):
                self.arrays.append((value, value.copy()))
            elif not value.is_meta and not value.is_nested:
                self.tensors.append(_KeptTensor(value))

    def is_changed(self) -> bool:
        """Whether something is not what it was."""
        return (
            any(self.empty)
            or any(not are_identical(now, then) for now, then in self.containers)
            or self.is_written()
        )

    def is_written(self) -> bool:
        """Whether a tensor was written to, or an array has other values."""
        return any(one.is_written() for one in self.tensors) or any(
            not _is_same_array(now, then) for now, then in self.arrays
        )

    def written(self) -> list[Tensor | np.ndarray]:
        """Tensors and arrays that were written to, or have been replaced by others."""
        found = [one.tensor for one in self.tensors if one.is_written()]
        found += [now for now, then in self.arrays if not _is_same_array(now, then)]
        for now, then in self.containers:
            if not are_identical(now, then):
                values = (then.values(), now.values()) if isinstance(then, dict) else (then, now)
                held_now = {id(one) for one in values[1]}
                former = (one for one in values[0] if id(one) not in held_now)
                found += [one for one in former if isinstance(one, Tensor | np.ndarray)]
        return found

    def restore(self) -> None:
        """Make everything what it was."""
        for filled in filter(None, self.empty):
            filled.clear()
        for now, then in self.containers:
            if not are_identical(now, then):
                now.clear()
                now.extend(then) if isinstance(now, list | deque) else now.update(then)
        for tensor in self.tensors:
            tensor.restore()
        for now, then in self.arrays:
            if not _is_same_array(now, then):
                now[...] = then

    def writes_to_fixed(self) -> bool:
        """Whether something was written to that no copy can stand in for."""
        copies = self._copies()
        return any(one.is_written() and id(one.tensor) not in copies for one in self.tensors)

    @contextmanager
    def on_copies(self) -> Generator[None]:
        """Let a call write to copies of the tensors, since the graph of another may hold them."""
        copies = self._copies()
        try:
            for container, key, value in self.places:
                if id(value) in copies:
                    container[key] = copies[id(value)]
            yield
        finally:
            self.restore()

    def _copies(self) -> dict[int, Tensor]:
        """Copies by the identity of the tensor; those that share memory share it again.

        What shares memory with a parameter, or with something that cannot be replaced, is written
        to where it is.
        """
        kept = {id(one.tensor) for one in self.tensors if one.is_replaceable()}
        fixed = {_memory(p) for p in self.model.parameters()}
        for container, _, value in self.places:
            if isinstance(value, Tensor) and (container is None or id(value) not in kept):
                fixed.add(_memory(value))
        arrays = [(now.__array_interface__["data"][0], now.nbytes) for now, _ in self.arrays]
        fixed |= {_memory(one.tensor) for one in self.tensors if one.shares_with(arrays)}
        memories: dict[int, torch.UntypedStorage] = {}
        copies = {}
        for one in self.tensors:
            name = _memory(one.tensor)
            if name in fixed:
                continue
            if name not in memories:
                memories[name] = one.tensor.untyped_storage().clone()
            t = one.tensor.detach()
            empty = torch.empty(0, dtype=t.dtype, device=t.device)
            made = empty.set_(memories[name], t.storage_offset(), t.shape, t.stride())
            made = made.conj() if t.is_conj() else made
            made = copies[id(one.tensor)] = torch._neg_view(made) if t.is_neg() else made
            vars(made).update(vars(one.tensor))
        return copies


@contextmanager
def called(model: nn.Module) -> Generator[None]:
    """Let a call of a model write to copies, if it is one of those that do."""
    state = ON_COPIES.get(id(model))
    with nullcontext() if state is None else state.on_copies():
        yield


class _KeptTensor:
    """A tensor that is no parameter: its values, where they are, whether it has a gradient."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.copy, self.version = tensor, tensor.detach().clone(), version_of(tensor)
        self.has_gradient = tensor.requires_grad
        is_plain = tensor.layout == torch.strided and type(tensor) is Tensor
        self.data = tensor.data if is_plain else None
        self.n_bytes = tensor.untyped_storage().nbytes() if is_plain else 0

    def is_written(self) -> bool:
        """Whether it was written to, be it with the values that it had."""
        is_counted = version_of(self.tensor) != self.version
        return is_counted or self._is_emptied() or not is_same(self.tensor, self.copy)

    def is_replaceable(self) -> bool:
        """Whether a plain tensor in other memory can stand in for it."""
        attributes = vars(self.tensor).values()  # some libraries mark tensors by a flag
        is_bare = all(isinstance(one, bool | int | float | str | None) for one in attributes)
        return self.data is not None and is_bare

    def shares_with(self, arrays: Iterable[tuple[int, int]]) -> bool:
        """Whether its memory is that of an array, of which addresses and bytes are given."""
        if self.data is None:
            return False
        start = self.data.untyped_storage().data_ptr()
        return any(a < start + self.n_bytes and start < a + n for a, n in arrays)

    def _is_emptied(self) -> bool:
        """Whether its memory is gone, which nothing may read then."""
        return self.data is not None and self.data.untyped_storage().nbytes() < self.n_bytes

    def restore(self) -> None:
        if self.data is not None:
            if self._is_emptied():
                self.data.untyped_storage().resize_(self.n_bytes)
            if _is_elsewhere(self.tensor, self.data):
                self.tensor.data = self.data
        if self.tensor.is_leaf and self.tensor.requires_grad != self.has_gradient:
            self.tensor.requires_grad_(self.has_gradient)
        if not is_same(self.tensor, self.copy):
            with torch.no_grad():
                once = _entries_once(self.tensor)
                once.copy_(self.copy[tuple(map(slice, once.shape))] if once.ndim else self.copy)


class Kept(NamedTuple):
    """A model as it is.

    Attributes:
        parameters: those of which copies are made.
        state: everything else that it holds.
    """

    parameters: list[KeptParameter]
    state: KeptState

    @classmethod
    def of(cls, model: nn.Module) -> "Kept":
        """The model as it is now."""
        return cls(kept_parameters(model), KeptState(model))

    def restore(self) -> None:
        """Make it what it was."""
        self.state.restore()
        for one in self.parameters:
            one.restore()


def _entries_once(tensor: Tensor) -> Tensor:
    """A tensor without the repetitions of one that is expanded, to which nothing can be copied."""
    if tensor.layout != torch.strided or 0 not in tensor.stride():
        return tensor
    return tensor[tuple(slice(0, 1) if s == 0 else slice(None) for s in tensor.stride())]


def _memory(tensor: Tensor) -> int:
    """The name of a tensor's memory; of one without, its own."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError, ValueError):
        return -id(tensor)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to in place; zero where that is not counted."""
    return 0 if tensor.is_inference() else tensor._version


def _is_elsewhere(tensor: Tensor, data: Tensor) -> bool:
    """Whether a tensor has other memory, or another shape, than it had."""
    is_laid_out = tensor.shape == data.shape and tensor.stride() == data.stride()
    return not is_laid_out or tensor.data_ptr() != data.data_ptr()


def _is_dense(value: Tensor | np.ndarray) -> bool:
    return isinstance(value, np.ndarray) or value.layout == torch.strided


def _is_same_array(now: np.ndarray, then: np.ndarray) -> bool:
    if now.dtype.hasobject or not now.flags.writeable:
        return True
    return now.shape == then.shape and now.tobytes() == then.tobytes()


def are_identical(now: PyTree, then: PyTree) -> bool:
    """Whether a container holds the same things as its copy, in the same order."""
    if len(now) != len(then):
        return False
    if isinstance(now, dict):  # in another order they count as changed, and are put back
        is_held = all(map(operator.is_, now.values(), then.values()))
        return is_held and (all(map(operator.is_, now, then)) or list(now) == list(then))
    return now == then if isinstance(now, set) else all(map(operator.is_, now, then))


def is_same(value: Tensor, copy: Tensor) -> bool:
    """Whether a tensor has the values of its copy."""
    if value.is_meta:
        return True
    parts, others = _dense_parts(value), _dense_parts(copy)
    return all(_is_equal(a, b) for a, b in zip(parts, others, strict=True))


def _have_same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one block of the same bits, found in a tenth of the usual time.

    Not by way of NumPy, which takes from a tensor that its memory can be given back.
    """
    if _COMPARE is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    for t in (one, other):
        is_dense = t.layout == torch.strided and t.device.type == "cpu" and t.is_contiguous()
        if type(t) not in (Tensor, nn.Parameter) or not is_dense or t.is_conj() or t.is_neg():
            return False
        if t.untyped_storage().nbytes() < (t.storage_offset() + t.numel()) * t.element_size():
            return False  # it has been given back
    return _COMPARE(one.data_ptr(), other.data_ptr(), one.nbytes) == 0


def _is_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, what is not a number in the same places."""
    if _have_same_bits(one, other) or torch.equal(one, other):
        return True
    has_both = one.shape == other.shape and one.dtype == other.dtype
    return has_both and bool(((one == other) | ((one != one) & (other != other))).all())


def _dense_parts(value: Tensor) -> list[Tensor]:
    """What a sparse tensor consists of; a dense one is its only part."""
    if value.layout == torch.sparse_coo:
        return [value._indices(), value._values()]
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices(), value.col_indices(), value.values()]
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [value.ccol_indices(), value.row_indices(), value.values()]
    return [value]
