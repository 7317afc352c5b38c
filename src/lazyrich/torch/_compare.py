"""Compare the tangent kernels of several checkpoints of one module."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from lazyrich._base import InputError, kind_of
from lazyrich.diagnosis import Estimate, ProbeBatch, Settings

from ._checkpoint import Checkpoint, read_checkpoint
from ._probe import ModuleProbe
from ._rows import Inputs, Output


@dataclass(frozen=True)
class Comparison:
    """Kernels and parameters of several checkpoints, pair by pair.

    Attributes:
        names: of the checkpoints, in the order given.
        cosine: by pair of names, the cosine of the kernels centred over rows.
        growth: by pair, the trace of the second kernel over that of the first.
        parameter_change: by pair, ‖θ_b − θ_a‖/‖θ_a‖.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1)
        >>> weights = model.state_dict()
        >>> found = compare(model, {"start": weights, "end": weights}, torch.randn(8, 2))
        >>> found.names, found.parameter_change["start", "end"]
        (('start', 'end'), 0.0)
    """

    names: tuple[str, ...]
    cosine: Mapping[tuple[str, str], Estimate]
    growth: Mapping[tuple[str, str], Estimate]
    parameter_change: Mapping[tuple[str, str], float]

    def __str__(self) -> str:
        """A line for each pair."""
        width = max(len(f"{a} → {b}") for a, b in self.cosine)
        return "\n".join(
            f"{f'{a} → {b}':{width}}  kernel cosine {self.cosine[a, b]}, "
            f"growth {self.growth[a, b]}, parameter change {self.parameter_change[a, b]:.3g}"
            for a, b in self.cosine
        )


def compare(
    model: nn.Module,
    checkpoints: Mapping[str, Checkpoint],
    x: Inputs,
    *,
    output: Output = None,
    settings: Settings | None = None,
) -> Comparison:
    """The tangent kernels of several checkpoints of one module, pair by pair.

    Args:
        model: a module of the checkpoints' architecture; it is left as it was.
        checkpoints: by name, each a file that ``torch.save`` wrote, a state dict or a module.
        x: probe rows.
        output: as for `diagnose`.
        settings: number of random directions and seed.

    Returns:
        A Comparison.

    Raises:
        InputError: if there are fewer than two checkpoints, or as `diagnose`.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1)
        >>> found = compare(model, {"a": nn.Linear(2, 1), "b": model}, torch.randn(8, 2))
        >>> round(found.cosine["a", "b"].value, 4)  # of a linear model, which is always lazy
        1.0
    """
    if not isinstance(checkpoints, Mapping):
        raise InputError(
            f"checkpoints is {kind_of(checkpoints)}; give them by name, such as "
            "{'start': 'step0.pt', 'end': 'final.pt'}."
        )
    if len(checkpoints) < 2:
        raise InputError(
            f"There is {len(checkpoints)} checkpoint; give two or more by name, such as "
            "{'start': 'step0.pt', 'end': 'final.pt'}."
        )
    probe = ModuleProbe(model, ProbeBatch(x), output=output, settings=settings or Settings())
    names = tuple(map(str, checkpoints))
    found, states = {}, {}
    for name, checkpoint in zip(names, checkpoints.values(), strict=True):
        states[name] = read_checkpoint(checkpoint, probe.model, name)
        found[name] = probe.sketch_of(probe.copy_at(states[name]), labels=False)
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]

    def distance(a: str, b: str) -> float:
        moved = sum(float((states[b][k] - v).double().square().sum()) for k, v in states[a].items())
        size = sum(float(v.double().square().sum()) for v in states[a].values())
        return (moved / size) ** 0.5 if size else float("inf")

    return Comparison(
        names,
        {(a, b): found[a].cosine(found[b]) for a, b in pairs},
        {(a, b): found[a].growth(found[b]) for a, b in pairs},
        {(a, b): distance(a, b) for a, b in pairs},
    )
