"""How far a module is from its linearization, by central differences."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError
from lazyrich.diagnosis import LinearPart

from ._model import copy_of
from ._rows import Inputs, Output, values_of

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
        InputError: if outputs on the way are not finite.
    """
    # A copy, and not torch.func.functional_call, which breaks a layer that is used twice.
    other = copy_of(model).eval()
    other._apply(lambda t: _in_precision(t, dtype))
    now = {name: p.detach().clone() for name, p in other.named_parameters()}
    now = {name: p for name, p in now.items() if name in reference}
    start = {name: reference[name].to(p) for name, p in now.items()}
    x = pytree.tree_map(lambda leaf: _in_precision(leaf, dtype), x)

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


def _in_precision(value: PyTree, dtype: torch.dtype) -> PyTree:
    """Floating-point and complex tensors in a precision, anything else as it is."""
    if isinstance(value, Tensor) and value.is_complex():
        return value.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if is_real else value
