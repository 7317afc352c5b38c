"""Jacobians, row by row, of the parameters for which no structured method is known."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import PyTree
from torch import Tensor, nn

from ._graph import gradients
from ._rows import Inputs, Output, n_rows, outputs, rows


@torch.enable_grad()
def jacobian(
    model: nn.Module,
    x: Inputs,
    output: Output,
    parameters: Mapping[str, nn.Parameter],
    chosen: Sequence[int],
) -> dict[str, Tensor]:
    """∂f_a(x_i)/∂θ for some parameters.

    Rows are run one at a time, since a backward pass through the whole batch for each row
    would take n times as long.

    Args:
        model: a module without wrappers.
        x: n rows.
        output: from what the model returns to its outputs.
        parameters: those that count.
        chosen: the outputs a.

    Returns:
        By parameter, (n, c, p).
    """
    found: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for i in range(n_rows(x)):
        values = outputs(model, rows(x, i, i + 1), output)[0]
        for name, gradient in zip(
            parameters, _gradients(values[list(chosen)], list(parameters.values())), strict=True
        ):
            found[name].append(gradient.flatten(1))
    return {name: torch.stack(gradients) for name, gradients in found.items()}


def _gradients(values: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """(c, *shape) for each parameter."""
    result: list[list[PyTree]] = [[] for _ in parameters]
    for value in values:
        for k, g in enumerate(gradients(value, parameters, torch.ones_like(value))):
            result[k].append(torch.zeros_like(parameters[k]) if g is None else g)
    return [torch.stack(one) for one in result]
