"""How far a module is from its linearization, by central differences."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError
from lazyrich.diagnosis import LinearPart

from ._held import held
from ._model import copy_of
from ._rows import Inputs, Output, outputs, values_of
from ._same_function import refuse_another_function
from ._shared_memory import regions
from ._touching import call_touching
from ._trial import refuse_constants

_STEPS = (0.01, 0.03)
"""Of the central difference along θ − θ₀, as parts of it."""

# Shorter steps are taken until the two agree so well, or rounding would take such a part.
_AGREED = 1e-4
_MOST_ROUNDING = 1e-7


def linear_part(
    model: nn.Module, x: Inputs, output: Output, reference: Mapping[str, Tensor], dtype: torch.dtype
) -> LinearPart:
    """f₀, f and J₀Δ of a module on a batch.

    Args:
        model: without wrappers.
        x: the batch.
        output: from what the model returns to its outputs.
        reference: parameters at the start, by name.
        dtype: in which everything is computed.

    Raises:
        InputError: if outputs on the way are not finite, if a copy of the model is another
            function, or if it cannot be converted.
    """
    # A copy, and not torch.func.functional_call, which breaks a layer that is used twice.
    constants: list[Tensor] = []
    other = copy_of(model, constants).eval()
    refuse_another_function(model, other, x, lambda m, given: outputs(m, given, output))
    refuse_constants(lambda: values_of(other, x, output), constants)
    x = pytree.tree_map(lambda leaf: _in_precision(leaf, dtype), x)
    _convert(other, dtype, lambda: values_of(other, x, output))
    now = {name: p.detach().clone() for name, p in other.named_parameters()}
    now = {name: p for name, p in now.items() if name in reference}
    start = {name: reference[name].to(p) for name, p in now.items()}

    def at(part: float) -> np.ndarray:
        for name, p in other.named_parameters():
            if name in start:
                p.data.copy_(
                    start[name] + part * (now[name] - start[name]) if part != 1 else now[name]
                )
        return values_of(other, x, output).double().cpu().numpy()

    scale, epsilon = _first_scale(start, now), torch.finfo(dtype).eps
    while True:
        steps = [h * scale for h in _STEPS]
        slopes = {f"h = {h:g}": (at(h) - at(-h)) / (2 * h) for h in steps}
        short, long = slopes.values()
        is_settled = np.abs(long - short).max() <= _AGREED * np.abs(short).max()
        if is_settled or epsilon / (steps[0] / 10) > _MOST_ROUNDING:
            break
        scale /= 10
    epsilon /= steps[0]
    part = LinearPart(at(0.0), at(1.0), slopes, epsilon)
    if not all(np.isfinite(one).all() for one in (part.start, part.now, *slopes.values())):
        raise InputError(
            "The outputs at the reference or near it are NaN or infinite: the network has "
            "diverged there; give checkpoints from before that."
        )
    return part


def _first_scale(start: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> float:
    """By which steps are shortened where parameters have moved farther than they were long."""
    changes = [(p, now[name] - p) for name, p in start.items() if not torch.equal(now[name], p)]
    length, moved = (
        math.sqrt(sum(float(one.double().square().sum()) for one in of))
        for of in ([p for p, _ in changes], [change for _, change in changes])
    )
    return min(1.0, (length or 1.0) / moved) if moved else 1.0


_SEPARATED = (
    "The model keeps a tensor or an array that has memory of one of its parameters or buffers, and "
    "that does not follow it to another precision; compute it in each call, or give the model in "
    "double precision."
)


def _convert(model: nn.Module, dtype: torch.dtype, call: Callable[[], Tensor]) -> None:
    """Convert parameters and buffers to a precision.

    Args:
        model: whose they are.
        dtype: the precision.
        call: of the model, after it was converted.

    Raises:
        InputError: if something else has memory of one of them, which it would not have afterwards.
    """
    parameters = {id(p) for p in model.parameters()}
    mine = [*model.parameters(), *model.buffers()]
    converted = {id(one): one for one in mine if _in_precision(one, dtype) is not one}
    if not converted:
        return
    every = {id(one): one for one in [*mine, *(place.value for place in held(model).places)]}
    for region in regions(every.values()):
        there = {id(one) for one in region.values}
        # Parameters of one region, as those of recurrent layers on a GPU, do not overlap.
        if len(there) > 1 and there & converted.keys() and not there <= parameters:
            raise InputError(_SEPARATED)
    former = [one.detach() for one in converted.values()]
    for one in {id(one): one for one in model.buffers()}.values():
        one.data = _in_precision(one.data, dtype)  # also for whatever else holds the buffer
    model._apply(lambda t: _in_precision(t, dtype))
    if call_touching(call, former)[1]:  # held by what is not searched, such as a function
        raise InputError(_SEPARATED)


def _in_precision(value: PyTree, dtype: torch.dtype) -> PyTree:
    """Floating-point and complex tensors in a precision, anything else as it is."""
    if isinstance(value, Tensor) and value.is_complex():
        return value.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if is_real else value
