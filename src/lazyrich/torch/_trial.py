"""Whether a module is a function of its arguments and parameters, by trial."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError

from ._arguments import Copies, Given, Lists
from ._graph import Node, gradients, parameters_of
from ._kept import Kept, KeptState
from ._plan import require_graph
from ._rounding import roundings
from ._rows import Output, chosen_output, refuse_no_numbers, taken
from ._state import MORE_CALLS, FirstCall, differ, refuse_deeds


@dataclass(frozen=True)
class Tried:
    """What a call gave.

    Attributes:
        values: the outputs.
        cotangent: random ones of the outputs.
        pulled: what they are pulled back to at each parameter; None where nothing arrives.
        rounding: what rounding alone may add to the outputs.
    """

    values: Tensor
    cotangent: Tensor
    pulled: list[Tensor | None]
    rounding: float

    @classmethod
    def of(cls, values: Tensor, parameters: Sequence[Tensor]) -> "Tried":
        """Outputs with their graph, pulled back to parameters."""
        generator = torch.Generator().manual_seed(0)
        cotangent = torch.randn(values.shape, generator=generator, device="cpu").to(values)
        pulled = gradients(values, parameters, cotangent)
        error = roundings(parameters, pulled, values.dtype)
        return cls(values.detach(), cotangent, pulled, error)

    def differs(self, others: Sequence["Tried"]) -> bool:
        """Whether outputs or what was pulled back differ by more than rounding."""
        if differ(self.values, [other.values for other in others], least=self.rounding):
            return True
        return any(self.differs_in_pulled(other) for other in others)

    def differs_in_pulled(self, other: "Tried") -> bool:
        """Whether what was pulled back differs by more than rounding."""
        for mine, yours in zip(self.pulled, other.pulled, strict=True):
            if mine is None or yours is None:
                some = yours if mine is None else mine
                if some is not None and bool(some.any()):
                    return True
            elif differ(mine, [yours]):
                return True
        return False


def refuse_no_function(
    model: nn.Module, given: Given, output: Output, names: Sequence[str], kept: Kept
) -> tuple[Tried, bool]:
    """Refuse a module that is not a function of its arguments and parameters.

    It is called some times with the same arguments and with others of their shapes. What is only
    read where a value is zero shows in gradients, or with other arguments.

    Args:
        model: a module without wrappers; those of its parameters that are named have a gradient.
        given: arguments.
        output: from what the model returns to a tensor.
        names: of the parameters that it is a function of.
        kept: the model as it is.

    Returns:
        What a call gave, and whether calls change what the module holds, which is as before now.

    Raises:
        InputError: if a call changes a parameter, if outputs or gradients change from call to
            call, or if they are of parameters that are not the module's.
    """
    named = dict(model.named_parameters())
    parameters = [named[name] for name in names]
    first, deeds, pairs = FirstCall(model, kept), [], []
    reached: list[list[nn.Parameter]] = []

    def tried(of: Given) -> Tried:
        copies = Copies(of)
        lists = Lists(copies.given)
        theirs, by_name = copies.given
        with taken(model, of, what="arguments"):
            made = chosen_output(model(*theirs, **by_name), output)
        copies.refuse_written()
        lists.refuse_filled()
        refuse_no_numbers(made)
        require_graph(made)
        reached.append(parameters_of(made))
        return Tried.of(made, parameters)

    try:
        found = tried(given)
        again = [tried(given)]
        is_changing = first.is_changed()
        if is_changing:
            again += [tried(given) for _ in range(MORE_CALLS)]
        deeds.append(first.deed())
        first.restore()
        with suppress(Exception):  # the module may not take such arguments
            other = another(given)
            pairs.append((tried(other), tried(other)))
        if is_changing:
            again.append(tried(given))
        deeds.append(first.deed())
        is_changing = is_changing or first.is_changed()
    finally:
        first.restore()
    refuse_deeds(*deeds)
    if found.differs(again) or any(one.differs([other]) for one, other in pairs):
        raise InputError(
            "The model's outputs for the same arguments, or their gradients, change from call to "
            "call (it draws random numbers, or keeps values of its calls), so it has no linearized "
            "network; turn that off in evaluation mode."
        )
    _refuse_others(reached[0], list(named.values()))
    return found, is_changing


def refuse_inseparable(
    model: nn.Module,
    given: Given,
    call: Callable[[nn.Module, Given], Tensor],
    found: Tried,
    parameters: Sequence[Tensor],
) -> None:
    """Refuse a module whose calls cannot be made to write to copies of what it holds.

    Args:
        model: a module that writes to what it holds in each call.
        given: arguments.
        call: from a module and arguments to its outputs.
        found: what a call gave, with these arguments.
        parameters: what it was pulled back to.

    Raises:
        InputError: if with copies it is another function, or if some cannot be copied.
    """
    state, other, pair = KeptState(model), another(given), []
    try:
        with suppress(Exception):  # the module may not take such arguments
            pair.append(call(model, other).detach())
        is_fixed = state.writes_to_fixed()
        state.restore()
        with KeptState(model).on_copies():
            apart = Tried.of(call(model, given), parameters)
        if pair:
            with KeptState(model).on_copies():
                pair.append(call(model, other).detach())
    finally:
        state.restore()
    if is_fixed or found.differs([apart]) or (pair and differ(pair[0], pair[1:])):
        raise InputError(
            "The model writes to a tensor in each call that something else than its modules holds "
            "too (a function, an object with __slots__, an array or a parameter), so calls cannot "
            "be kept apart; let it have memory of its own, and be reached through the module."
        )


@torch.no_grad()
def refuse_constants(call: Callable[[], Tensor], constants: Sequence[Tensor]) -> None:
    """Refuse a copy of a module that reads what the original once computed and kept.

    Args:
        call: of the copy, that gives outputs.
        constants: what it holds of the original's results; they are other ones for a while.

    Raises:
        InputError: if the outputs depend on them.
    """
    if not constants:
        return
    former, kept = call(), [one.clone() for one in constants]
    for one in constants:
        if one.is_floating_point():
            one.add_(1 + one.abs().max() if one.numel() else 1)
    try:
        is_read = differ(former, [call()])
    finally:
        for one, values in zip(constants, kept, strict=True):
            one.copy_(values)
    if is_read:
        raise InputError(
            "The model reads a tensor that was computed before from its parameters and kept, such "
            "as a transposed weight, which a copy with other parameters, as of a linearized "
            "network, cannot follow; compute it in each call."
        )


def refuse_other_parameters(
    value: Tensor, own: Sequence[Tensor], *, beside: Collection[Node] = ()
) -> None:
    """Refuse a copy of a module that still computes with parameters of the original.

    Args:
        value: what the copy returned, with its graph.
        own: the copy's parameters.
        beside: nodes of the arguments, which may be computed from any parameters.

    Raises:
        InputError: if parameters that are not its own are reached.
    """
    _refuse_others(parameters_of(value, beside=beside), own)


def _refuse_others(reached: Sequence[Tensor], own: Sequence[Tensor]) -> None:
    mine = {id(p) for p in own}
    if any(id(p) not in mine for p in reached):
        raise InputError(
            "A copy of the model still computes with parameters that are not the copy's: a "
            "function that stands in for a method, or a hook, holds them or the original; make it "
            "a method of the class, or let it reach them through the module that it is given."
        )


def another(given: PyTree) -> PyTree:
    """Other arguments of the same shapes and types."""

    def of(leaf: PyTree) -> PyTree:
        if not isinstance(leaf, Tensor) or leaf.dtype == torch.bool:
            return leaf
        return 0.5 * leaf + 0.25 if leaf.is_floating_point() else torch.zeros_like(leaf)

    return pytree.tree_map(of, given)
