"""How far rounding alone may move outputs, also where large terms cancel in them."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._graph import gradients
from ._rows import Inputs, Output, outputs

# So many roundings of every parameter.
_MOST = 30


def rounding(values: Tensor, parameters: Iterable[Tensor]) -> float:
    """The first-order effect on outputs of rounding every parameter some times.

    Of outputs that are zero by a symmetry of the parameters, or because they are those less
    their start, all is rounding, and its size has nothing to do with that of the outputs.

    Args:
        values: outputs with their graph.
        parameters: of the model.

    Returns:
        A bound on an entry's error, 30 ε Σ |θ ∂f/∂θ|; zero without a graph.
    """
    trained = [p for p in parameters if p.requires_grad]
    if not values.requires_grad or not trained:
        return 0.0
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, values.shape, generator=generator, device="cpu") * 2 - 1
    try:
        pulled = gradients(values, trained, signs.to(values))
    except InputError:
        return 0.0  # what cannot be differentiated is refused where that is asked for
    return roundings(trained, pulled, values.dtype)


def roundings(
    parameters: Iterable[Tensor], pulled: Iterable[Tensor | None], dtype: torch.dtype
) -> float:
    """The same, from gradients of the parameters for random signs or normal numbers."""
    pairs = [(p.detach(), g) for p, g in zip(parameters, pulled, strict=True) if g is not None]
    least = torch.finfo(dtype).eps
    errors = (max(least, torch.finfo(p.dtype).eps) * float((p * g).abs().sum()) for p, g in pairs)
    return _MOST * math.fsum(errors)


def rounding_of(model: nn.Module, x: Inputs, output: Output) -> float:
    """The same of a batch, which is run for it; zero if the model cannot take it.

    Args:
        model: a module without wrappers.
        x: a few rows.
        output: as for `outputs`.
    """
    try:
        with torch.enable_grad():
            return rounding(outputs(model, x, output), model.parameters())
    except InputError:
        return 0.0
