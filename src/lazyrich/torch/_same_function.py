"""Whether a copy of a model is the function that the model is, by calling both.

A function that stands in for a method, a hook or a class may hold a tensor of the original, which
a copy then reads or writes in place of its own.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from lazyrich._base import InputError

from ._arguments import Copies
from ._kept import Kept, KeptState, is_same
from ._model import ONE_AT_A_TIME, copy_of
from ._plain_ways import plain_attention, plain_group_norm, plain_recurrence
from ._random_numbers import kept_random_numbers
from ._rounding import rounding
from ._rows import is_transformed
from ._touching import call_touching
from ._trial import another, refuse_other_parameters

Call: TypeAlias = Callable[[nn.Module, PyTree], Tensor]
"""What a module returns for arguments in some form, as a tensor."""

_HOLDS = (
    "a function that stands in for a method, a hook, a class or an object with __slots__ holds it; "
    "let it be reached through the module that is given."
)
_TOUCHED = f"A copy of the model still uses a tensor of the original that calls change: {_HOLDS}"
_CHANGED = (
    "A tensor of the original model has changed, which its copy still reads, since the copy was "
    f"made: {_HOLDS}"
)
_DIFFERS = (
    "A copy of the model returns other outputs than the model for the same arguments. Two holders "
    "of one tensor, or of its memory, no longer share it in the copy, or a function holds a tensor "
    "of the original; let what calls write to be read from the module that it is written to."
)
# Of the largest output; a copy runs the same operations, and differs by rounding at most.
_MOST_ROUNDING = 0.03


class Tried(NamedTuple):
    """Arguments, what a model returned for them, and what rounding alone may add to that."""

    given: PyTree
    value: Tensor
    rounding: float


class Original:
    """A model, until a copy of it has been compared with it.

    Copies of this object know the same model; one from a file knows none.

    Args:
        model: without wrappers.
    """

    # Searches of what a module holds end here.
    __slots__ = ("lent", "model")

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = model
        self.lent: list[tuple[Tensor | np.ndarray, Tensor | np.ndarray]] = []

    def __deepcopy__(self, memo: object) -> "Original":
        other = Original(self.model)
        other.lent = list(self.lent)
        return other

    def __reduce__(self) -> tuple[type["Original"], tuple[()]]:
        return Original, ()

    def compare(self, other: nn.Module, given: PyTree, call: Call) -> None:
        """Refuse a copy that is another function; once, outside of transformations.

        Args:
            other: the copy.
            given: arguments.
            call: as `refuse_another_function`.

        Raises:
            InputError: if it is, or if what it reads of the original has changed since.
        """
        leaves = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
        if is_transformed() or torch.jit.is_tracing() or any(leaf.is_meta for leaf in leaves):
            return  # no value can be read, or all is recorded
        if self.model is not None and all(p.is_leaf for p in self.model.parameters()):
            with ONE_AT_A_TIME:
                if self.model is None:  # another thread has compared meanwhile
                    return
                lent = refuse_another_function(self.model, other, given, call)
                if lent is not None:
                    self.model = None
                    self.lent = [(one, _copied(one)) for one in lent]
        if any(not _is_equal(now, then) for now, then in self.lent):
            raise InputError(_CHANGED)


@contextmanager
def left_as_it_was(model: nn.Module | None) -> Generator[None]:
    """Undo what calls of a copy do to the original."""
    kept = None if model is None else Kept.of(model)
    try:
        yield
    finally:
        if kept is not None:
            kept.restore()


@torch.inference_mode(False)
@torch.enable_grad()
def refuse_another_function(
    original: nn.Module, other: nn.Module | None, given: PyTree, call: Call
) -> list[Tensor | np.ndarray] | None:
    """Refuse a copy of a model that is not the function that the model is.

    Where the model has been changed since, it is another copy, made now, that is compared.

    Args:
        original: the model, which stays as it is.
        other: the copy, in evaluation mode; None for one that is made now.
        given: arguments. They are tried, and others of their shapes.
        call: from a module and arguments to its outputs, with their graph.

    Returns:
        What the copy reads of the original, and no call changes; None if the model cannot take
        the arguments.

    Raises:
        InputError: if outputs differ by more than rounding, if the copy computes with parameters
            of the original, or if it uses tensors of the original that calls change.
    """
    kept = Kept.of(original)
    plain = plain_attention(), plain_recurrence(original), plain_group_norm(original)
    with _disable_current_modes(), plain[0], plain[1], plain[2]:
        try:
            for module in original.modules():
                module.training = False
            before = KeptState(original)
            is_at_it = other is not None and _is_at(other, original)
            given = given if is_at_it or other is None else _moved(given, other, original)
            tried, written = _tried(before, given, call)
            if not tried:
                return None  # the call itself says why
            compared = _Compared(original, tried, written, call)
            if is_at_it and other is not None and compared.problem(other) is None:
                return compared.lent
            problem = compared.problem(_frozen(copy_of(original)))
            if problem is not None:
                raise InputError(problem)
            return compared.lent
        finally:
            kept.restore()


def _frozen(model: nn.Module) -> nn.Module:
    for parameter in model.eval().parameters():
        parameter.requires_grad_(False)
    return model


class _Compared:
    """Copies of a model against what the model returned.

    Args:
        original: the model.
        tried: what it returned.
        written: what its own calls write to.
        call: from a module and arguments to its outputs.
    """

    def __init__(
        self,
        original: nn.Module,
        tried: Sequence[Tried],
        written: Iterable[Tensor | np.ndarray],
        call: Call,
    ) -> None:
        self._original, self._tried, self._call = original, tried, call
        self._written = {id(one) for one in written}
        self.lent: list[Tensor | np.ndarray] = []

    def problem(self, other: nn.Module) -> str | None:
        """What is wrong with a copy, in a sentence; None if nothing."""
        kept, own = Kept.of(self._original), KeptState(other)
        parameters = list(self._original.parameters())
        trained = {id(p) for p in parameters if p.requires_grad}
        values = [*parameters, *(place.value for place in kept.state.places)]
        is_alike, self.lent = True, []
        try:
            for k, (given, wanted, least) in enumerate(self._tried):
                theirs = Copies(given).given  # which may be tensors of the original
                with kept_random_numbers(other, own.generators):
                    if k:
                        made = self._call(other, theirs)
                    else:
                        made, self.lent = call_touching(partial(self._call, other, theirs), values)
                refuse_other_parameters(made, list(other.parameters()))
                if kept.state.is_written() or any(one.is_written() for one in kept.parameters):
                    return _TOUCHED
                is_alike = is_alike and is_close(made.detach(), wanted, least=least)
                own.restore()
        finally:
            own.restore()
            kept.restore()
        if any(id(one) in self._written | trained for one in self.lent):
            return _TOUCHED
        return None if is_alike or self._is_random() else _DIFFERS

    def _is_random(self) -> bool:
        """Whether the model itself returns other outputs for the same arguments."""
        again, _ = _tried(KeptState(self._original), self._tried[0].given, self._call)
        value, least = self._tried[0].value, self._tried[0].rounding
        return not again or not is_close(again[0].value, value, least=least)


def _tried(
    state: KeptState, given: PyTree, call: Call
) -> tuple[list[Tried], list[Tensor | np.ndarray]]:
    """What a model returns for arguments and for others of their shapes, and what it writes to."""
    found, written = [], []
    for of in (given, another(given)):
        try:
            with kept_random_numbers(state.model, state.generators):
                made = call(state.model, of)
                error = rounding(made, state.model.parameters())
                found.append(Tried(of, made.detach(), error))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a model may raise anything at arguments that it cannot take
            break
        finally:
            written += state.written()
            state.restore()
    return found, written


def _is_at(other: nn.Module, original: nn.Module) -> bool:
    """Whether parameters and buffers of two modules are equal, on the same devices."""
    one, two = (
        {**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (other, original)
    )
    return one.keys() == two.keys() and all(
        one[name].device == value.device
        and one[name].dtype == value.dtype
        and one[name].shape == value.shape
        and one[name].layout == value.layout
        and is_same(one[name].detach(), value.detach())
        for name, value in two.items()
    )


def _moved(given: PyTree, other: nn.Module, original: nn.Module) -> PyTree:
    """Arguments of a copy, on the device and in the precision of the original."""
    here, there = (next(m.parameters(), None) for m in (other, original))
    if here is None or there is None:
        return given

    def moved(leaf: PyTree) -> PyTree:
        if not isinstance(leaf, Tensor):
            return leaf
        is_alike = leaf.is_floating_point() and leaf.dtype == here.dtype
        return leaf.detach().to(there.device, there.dtype if is_alike else None)

    return pytree.tree_map(moved, given)


def is_close(one: Tensor, other: Tensor, *, least: float = 0.0) -> bool:
    """Whether outputs are equal up to rounding, and finite at the same places.

    Args:
        one: outputs.
        other: outputs.
        least: what rounding alone may add to them, beyond some of their own digits.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()) or one.numel() == 0:
        return torch.equal(one, other)
    is_finite = one.isfinite()
    if not torch.equal(is_finite, other.isfinite()):
        return False
    gap = torch.where(is_finite, one - other, 0).abs().max()
    size = torch.where(is_finite, other, 0).abs().max()
    own = min(1e3 * torch.finfo(one.dtype).eps, _MOST_ROUNDING) * float(size)
    return float(gap) <= max(own, least)


def _copied(value: Tensor | np.ndarray) -> Tensor | np.ndarray:
    return value.copy() if isinstance(value, np.ndarray) else value.detach().clone()


def _is_equal(now: Tensor | np.ndarray, then: Tensor | np.ndarray) -> bool:
    if isinstance(now, Tensor) and isinstance(then, Tensor):
        return now.shape == then.shape and is_same(now.detach(), then)
    return np.array_equal(np.asarray(now), np.asarray(then))
