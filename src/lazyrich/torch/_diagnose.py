"""Diagnose a module from two checkpoints, or describe it from one."""

import torch
from torch import nn

from lazyrich._base import InputError
from lazyrich.diagnosis import (
    Diagnosis,
    Loss,
    Optimization,
    ProbeBatch,
    Settings,
    diagnosis_of,
)

from ._checkpoint import Checkpoint, read_checkpoint
from ._probe import ModuleProbe, optimization_of
from ._rows import Inputs, Output


def diagnose(
    model: nn.Module,
    *,
    before: Checkpoint | None = None,
    after: Checkpoint | None = None,
    x: Inputs,
    y: object = None,
    x_test: Inputs | None = None,
    y_test: object = None,
    loss: Loss | None = None,
    output: Output = None,
    optimizer: torch.optim.Optimizer | Optimization | None = None,
    settings: Settings | None = None,
) -> Diagnosis:
    """Is a module lazy or rich, does it generalise late, and what would make it sooner?

    As `lazyrich.diagnose`, for PyTorch. The module is measured in evaluation mode with its
    present buffers (at the start, running statistics are not yet estimated from data) and is
    left as it was. The linearization gap is computed by central differences in double precision.

    Args:
        model: the module, in DDP or ``torch.compile`` wrappers or not.
        before: the reference: a file that ``torch.save`` wrote, a state dict, or a module.
            None describes ``after`` alone: fit, logits and features, without a regime.
        after: the later checkpoint; None takes the parameters that ``model`` has.
        x: training rows, some dozens to some hundreds: a tensor, a tuple of arguments or a
            dict of named ones.
        y: their labels: values of the outputs' shape, or classes as whole numbers.
        x_test: rows that it was not trained on.
        y_test: their labels.
        loss: ``"mse"`` or ``"cross_entropy"``; None infers it from the labels.
        output: from what the model returns to outputs (n,) or (n, c), such as
            ``lambda out: out.logits[:, -1]``.
        optimizer: the one that trains the model, or a module given as a checkpoint; or what is
            known of it.
        settings: number of random directions, kind of kernel, seed.

    Returns:
        A Diagnosis: print it, or ask it for ``to_dict()`` or ``to_html(path)``.

    Raises:
        InputError: if a checkpoint cannot be read or does not fit the model, if the optimizer
            is of another model, if parameters or outputs are not finite, if labels do not
            fit, or with fewer than 4 rows.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> start = {name: value.clone() for name, value in model.state_dict().items()}
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> str(diagnose(model, before=start, x=x).regime)
        'lazy'
    """
    probe = ModuleProbe(
        model,
        ProbeBatch(x, y, x_test, y_test, loss),
        output=output,
        settings=settings or Settings(),
    )
    known = _optimization(optimizer, probe.model, before, after)
    if after is not None:
        probe.model = probe.copy_at(read_checkpoint(after, probe.model, "after"))
    reference = None if before is None else read_checkpoint(before, probe.model, "before")
    evidence = probe.evidence(reference, optimization=known)
    return diagnosis_of(evidence, probe.setup())


def _optimization(
    optimizer: torch.optim.Optimizer | Optimization | None, *modules: Checkpoint | None
) -> Optimization:
    """What is known of an optimizer that trains one of some modules.

    Raises:
        InputError: if it trains none, and so tells nothing of how they were trained.
    """
    if isinstance(optimizer, Optimization):
        return optimizer
    known = optimization_of(optimizer)
    if optimizer is not None:
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        models = [one for one in modules if isinstance(one, nn.Module)]
        if trained.isdisjoint(id(p) for model in models for p in model.parameters()):
            raise InputError(
                "optimizer trains no parameter of the model; give the one that was made with its "
                "parameters, or a lazyrich.diagnosis.Optimization."
            )
    return known
