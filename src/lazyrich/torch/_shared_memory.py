"""Memory that several tensors and arrays of a model share, which their copies share likewise."""

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn

from ._held import Held

Memo: TypeAlias = dict[PyTree, PyTree]
"""What ``copy.deepcopy`` has copied, by identity."""

# Under this name PyTorch keeps copies of storages there.
_STORAGES = "torch"

Memory: TypeAlias = torch.UntypedStorage | np.ndarray
"""What has an address: the storage of tensors, or an array."""

# Addresses of copies differ from those of the originals by multiples of this.
_ALIGNED = 64


class Span(NamedTuple):
    """Addresses of memory, from ``start`` to before ``stop``.

    Attributes:
        start: the first.
        stop: the one after the last.
        memory: what is there.
    """

    start: int
    stop: int
    memory: Memory

    @classmethod
    def of(cls, value: Tensor | np.ndarray) -> "Span | None":
        """Where a tensor's storage or an array is; None if it has no such memory."""
        if isinstance(value, np.ndarray):
            start, stop = np.lib.array_utils.byte_bounds(value)
            return cls(start, stop, value) if value.size else None
        try:
            storage = value.untyped_storage()
            start, n = storage.data_ptr(), storage.nbytes()
        except (NotImplementedError, RuntimeError, ValueError):  # sparse, nested, or not real
            return None
        return cls(start, start + n, storage) if start and n else None


class Region(NamedTuple):
    """Memory without gaps, and the tensors and arrays that are there.

    Attributes:
        start: its first address.
        stop: the address after its last one.
        values: what has the memory, or a part of it.
    """

    start: int
    stop: int
    values: list[Tensor | np.ndarray]


def regions(values: Iterable[Tensor | np.ndarray]) -> list[Region]:
    """The memory of tensors and arrays, in the order of addresses; what overlaps is together."""
    found: list[Region] = []
    spans = [(span, value) for value in values if (span := Span.of(value)) is not None]
    for span, value in sorted(spans, key=lambda one: one[0][:2]):
        if found and span.start < found[-1].stop:
            start, stop, there = found.pop()
            found.append(Region(start, max(stop, span.stop), [*there, value]))
        else:
            found.append(Region(span.start, span.stop, [value]))
    return found


def keep_shared(model: nn.Module, found: Held, memo: Memo) -> list[object]:
    """Let ``copy.deepcopy`` copy tensors and arrays so that they share memory as they do now.

    By itself it copies a parameter without the tensors that are views of it, an array without the
    tensors over its memory, and a conjugated view without its base.

    Args:
        model: what will be copied.
        found: what it holds.
        memo: of ``copy.deepcopy``, to which copies are added.

    Returns:
        What has to live until the model is copied, since the memo has identities of it.
    """
    parameters = [p for p in model.parameters() if id(p) not in memo]
    values = [place.value for place in found.places if id(place.value) not in memo]
    with torch.inference_mode(False), torch.no_grad():
        for group in _overlapping([*parameters, *values]):
            _copy_together(group, memo)
        for one in _shareable(parameters, values):
            memo[id(one)] = nn.Parameter(_rebuilt(one, memo), one.requires_grad)
        for one in values:
            if type(one) is Tensor and _is_plain(one) and (one.is_conj() or one.is_neg()):
                memo[id(one)] = _rebuilt(one, memo).requires_grad_(one.requires_grad)
    return [*parameters, *values]


def _is_plain(value: Tensor) -> bool:
    has_memory = value.layout == torch.strided and value.device.type in ("cpu", "cuda")
    return has_memory and not value.is_nested and not value.is_quantized


def _shareable(
    parameters: Sequence[nn.Parameter], values: Sequence[Tensor | np.ndarray]
) -> list[nn.Parameter]:
    """The parameters of which a copy may be a view of a copy of their memory.

    It may if that is no larger than the parameter, or if something else that is held reads it.
    """
    plain = [p for p in parameters if type(p) is nn.Parameter and p.is_leaf and _is_plain(p)]
    tensors = [one for one in values if isinstance(one, Tensor) and _is_plain(one)]
    read = {one.untyped_storage()._cdata for one in tensors}
    read |= {s._cdata for p in plain if (s := p.untyped_storage()).nbytes() == p.nbytes}
    return [p for p in plain if p.untyped_storage()._cdata in read]


def _rebuilt(value: Tensor, memo: Memo) -> Tensor:
    """A view of a copy of a tensor's memory, which is copied once."""
    storage = copy.deepcopy(value.untyped_storage(), memo)
    made = torch.empty(0, dtype=value.dtype, device=value.device)
    made.set_(storage, value.storage_offset(), value.shape, value.stride())
    made = made.conj() if value.is_conj() else made
    return torch._neg_view(made) if value.is_neg() else made


def _overlapping(values: Sequence[Tensor | np.ndarray]) -> list[list[Span]]:
    """Groups of storages and arrays in the memory of the CPU that overlap each other."""
    found: dict[int, Span] = {}
    for value in values:
        if isinstance(value, Tensor) and not (_is_plain(value) and value.device.type == "cpu"):
            continue
        if (span := Span.of(value)) is not None:
            memory = span.memory
            found[id(memory) if isinstance(memory, np.ndarray) else memory._cdata] = span
    groups: list[list[Span]] = []
    stop = 0
    for span in sorted(found.values(), key=lambda one: one[:2]):
        if groups and span.start < stop:
            groups[-1].append(span)
        else:
            groups.append([span])
        stop = max(stop, span.stop)
    return [group for group in groups if len(group) > 1]


def _copy_together(group: Sequence[Span], memo: Memo) -> None:
    """Copy memory once, and have all that lies in it lie in the copy at the same places."""
    arrays = [span.memory for span in group if isinstance(span.memory, np.ndarray)]
    if any(type(one) is not np.ndarray or one.dtype.hasobject for one in arrays):
        return  # a memory map or the like, whose copies are no parts of something
    first, last = min(span.start for span in group), max(span.stop for span in group)
    whole = np.zeros(last - first + _ALIGNED, np.uint8)
    first -= (first - whole.ctypes.data) % _ALIGNED  # numbers stay at addresses that fit them
    storages = memo.setdefault(_STORAGES, {})
    for start, stop, memory in group:
        part = whole[start - first : stop - first]
        if isinstance(memory, np.ndarray):
            at = memory.__array_interface__["data"][0] - first
            made = np.ndarray(memory.shape, memory.dtype, whole.data, at, memory.strides)
            made[...] = memory
            made.flags.writeable = memory.flags.writeable
            memo[id(memory)] = made
        else:
            storages[memory._cdata] = torch.from_numpy(part).untyped_storage().copy_(memory)
