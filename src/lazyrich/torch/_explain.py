"""How each parameter of a module contributes to the kernel, as a readable table."""

from dataclasses import dataclass

from torch import Tensor, nn

from ._block import make_block, parts
from ._contract import cheapest
from ._mixed_rows import refuse_mixed_backward, refuse_mixed_rows
from ._model import (
    Chosen,
    parameter_dtype,
    refuse_training_mode,
    trainable_parameters,
    unchanged,
    unwrap,
)
from ._pilot import first_outputs
from ._plan import Planned
from ._rows import (
    N_ROWS,
    Inputs,
    Output,
    batch_of,
    observed_values,
    outputs,
    require_batch,
    require_device,
    rows,
    usable,
)
from ._state import FirstCall, refuse_reading

# So many rows have their gradients compared with those of some of them alone.
_SOME = 128


@dataclass(frozen=True)
class ModuleWay:
    """How one parameter contributes to the kernel.

    Attributes:
        name: of the parameter.
        shape: its shape.
        kind: ``"contraction"`` (cotangents with cotangents, activations with activations),
            ``"gradients"`` (the gradients of rows by one batched product), ``"shared"``
            (the same, formed once for all outputs, which differ by a factor for each
            channel), ``"jacobian"`` (a backward pass for each row and output) or
            ``"unused"``.
        reason: where the parameter was met, or why it was not understood.

    Example:
        >>> import torch
        >>> explain_ntk(nn.Linear(2, 1), torch.ones(3, 2))["weight"].kind
        'gradients'
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    reason: str


@dataclass(frozen=True)
class ModuleExplanation:
    """The ways of all parameters; printing it shows a table.

    Attributes:
        ways: one for each parameter, in the order of the module.

    Example:
        >>> import torch
        >>> [way.name for way in explain_ntk(nn.Linear(2, 1), torch.ones(3, 2)).ways]
        ['weight', 'bias']
    """

    ways: tuple[ModuleWay, ...]

    def __getitem__(self, name: str) -> ModuleWay:
        """The way of the parameter of that name."""
        for way in self.ways:
            if way.name == name:
                return way
        raise KeyError(name)

    def __str__(self) -> str:
        """A table, one parameter a line."""
        cells = [("parameter", "shape", "way", "reason")]
        cells += [(w.name, str(w.shape), w.kind, w.reason) for w in self.ways]
        widths = [max(len(row[k]) for row in cells) for k in range(4)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        )


def explain_ntk(
    model: nn.Module,
    x: Inputs,
    *,
    trace_outputs: bool = False,
    output: Output = None,
    params: Chosen = None,
) -> ModuleExplanation:
    """How `ntk` treats each parameter of a module.

    Args:
        model: a module.
        x: rows, on which the model is run as by `ntk`.
        trace_outputs: whether the traced kernel is meant.
        output: as for `ntk`.
        params: as for `ntk`.

    Returns:
        One way for each parameter; printed, it is a table.

    Raises:
        InputError: as `ntk`.

    Example:
        >>> import torch
        >>> print(explain_ntk(nn.Sequential(nn.Linear(2, 3), nn.PReLU()), torch.ones(3, 2)))
        parameter  shape   way        reason
        0.weight   (3, 2)  gradients  a product
        0.bias     (3,)    gradients  a sum
        1.weight   (1,)    jacobian   the operation PreluKernel is not followed
    """
    model = unwrap(model)
    parameters = trainable_parameters(model, params)
    x = batch_of(x)
    require_batch(x)
    require_device(x, parameters)
    refuse_training_mode(model)
    with unchanged(model) as kept:
        x, first = usable(x), FirstCall(model, kept)
        try:
            planned = _planned(model, x, output, parameters, first)
        finally:
            first.restore()
        few = rows(x, 0, N_ROWS)
        block = make_block(model, few, output, parameters, planned, parameter_dtype(parameters))
        found = parts(block, 0, block.values.shape[1] if not trace_outputs else 1)
    ways = []
    for name, parameter in parameters.items():
        route = planned.routes[name]
        if not route.is_used:
            kind = "unused"
        elif not route.meetings:
            kind = "jacobian"
        elif not isinstance(factors := found[name], Tensor):
            kind = cheapest(factors, factors, traced=trace_outputs)
        else:
            kind = "gradients"
        ways.append(ModuleWay(name, tuple(parameter.shape), kind, route.reason))
    return ModuleExplanation(tuple(ways))


def _planned(
    model: nn.Module,
    x: Inputs,
    output: Output,
    parameters: dict[str, nn.Parameter],
    first: FirstCall,
) -> Planned:
    """The plan of a model that has a tangent kernel."""
    pilot = first_outputs(model, [x], output, first)
    planned = Planned.of(pilot.as_columns(), parameters).checked(parameters)
    seen = observed_values(model, x, output)
    refuse_reading(seen.reading, pilot.reading)
    are_apart = pilot.are_apart and seen.are_apart
    refuse_mixed_rows(model, x, seen.values, output, are_apart=are_apart)
    some = rows(x, 0, _SOME)
    refuse_mixed_backward(model, some, outputs(model, some, output), output, are_apart=are_apart)
    first.refuse_kept([x], output)
    return planned
