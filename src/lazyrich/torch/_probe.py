"""Collect the evidence of a diagnosis from a PyTorch module, without changing the module."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError, Json, kind_of
from lazyrich.diagnosis import (
    Evidence,
    GroupChange,
    LinearPart,
    Optimization,
    ProbeBatch,
    Settings,
    Snapshot,
    cosine_of,
    loss_gradient,
    loss_taken,
    read_labels,
    require_different_rows,
    require_kind,
    require_rows,
    rows_taken,
)

from ._graph import gradients, parameters_of
from ._linear_part import linear_part
from ._magnitude import is_finite
from ._model import copy_of, trainable_parameters, unchanged, unwrap
from ._ntk import ntk
from ._plan import require_graph
from ._rows import (
    Inputs,
    Output,
    batch_of,
    n_rows,
    outputs,
    require_batch,
    require_device,
    values_of,
)
from ._same_function import refuse_another_function
from ._sketch import Sketch, sketch
from ._trial import refuse_constants, refuse_other_parameters

Parameters = Mapping[str, Tensor]


@contextmanager
def measuring(model: nn.Module) -> Generator[None]:
    """Evaluation mode for a while, with everything as before afterwards."""
    with unchanged(model):
        model.eval()
        yield


def on_device(x: Inputs, model: nn.Module) -> Inputs:
    """A copy of a batch on the device of the model; arrays become tensors."""
    device = next(model.parameters()).device

    def moved(leaf: PyTree) -> PyTree:
        if isinstance(leaf, np.ndarray):
            leaf = torch.as_tensor(leaf, device="cpu")
        return leaf.detach().clone().to(device) if isinstance(leaf, Tensor) else leaf

    return pytree.tree_map(moved, x)


class ModuleProbe:
    """A module on a probe batch."""

    def __init__(
        self, model: nn.Module, probe: ProbeBatch, *, output: Output, settings: Settings
    ) -> None:
        """Look at the module as it is now."""
        require_kind(settings, Settings, "settings")
        self.model, self.output, self.settings = unwrap(model), output, settings
        parameters = self.parameters()
        self.x = on_device(batch_of(probe.inputs), self.model)
        n = require_batch(self.x)
        require_device(self.x, parameters)
        require_rows(n)
        tensors = [one for one in pytree.tree_leaves(self.x) if isinstance(one, Tensor)]
        flat = [one.reshape(n, -1).contiguous() for one in tensors]
        require_different_rows([one.view(torch.uint8).cpu().numpy() for one in flat])
        is_tested = probe.test_inputs is not None
        test_x = batch_of(probe.test_inputs)
        self.test_x = on_device(test_x, self.model) if is_tested else None
        n_test = require_batch(self.test_x, "x_test") if is_tested else 0
        self.require_finite(parameters, "model")
        with measuring(self.model):
            with rows_taken("x"):
                self.shape = tuple(values_of(self.model, self.x, output).shape)
            if is_tested:
                with rows_taken("x_test"):
                    values_of(self.model, self.test_x, output)
        self.loss = probe.loss
        c, loss = self.shape[1], probe.loss
        self.labels = read_labels(_host(probe.targets), c, n, loss)
        self.test_labels = None
        if is_tested:
            loss = self.labels.loss if self.labels is not None else loss
            self.test_labels = read_labels(_host(probe.test_targets), c, n_test, loss, "y_test")
        self.n_parameters = sum(p.numel() for p in self.parameters().values())

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters as they are."""
        return trainable_parameters(self.model)

    def copy_of_parameters(self) -> dict[str, Tensor]:
        """Their present values."""
        return {name: p.detach().clone() for name, p in self.parameters().items()}

    def require_finite(self, parameters: Parameters, what: str) -> None:
        """Refuse parameters that hold NaN.

        Raises:
            InputError: naming the first of them.
        """
        for name, p in parameters.items():
            if not is_finite(p):
                raise InputError(
                    f"The parameter {name!r} of {what} holds NaN or infinite entries: the run has "
                    "diverged; give a checkpoint from before that."
                )

    def is_finite(self) -> bool:
        """Whether no parameter holds NaN or an infinity."""
        return all(is_finite(p) for p in self.parameters().values())

    def copy_at(self, parameters: Parameters) -> nn.Module:
        """The module with other values of its parameters, in evaluation mode.

        Raises:
            InputError: if it cannot be copied, or if the copy is another function.
        """
        constants: list[Tensor] = []
        other = copy_of(self.model, constants).eval()
        with measuring(self.model):
            refuse_another_function(self.model, other, self.x, self._called)
        with torch.no_grad():
            for name, p in other.named_parameters():
                if name in parameters:
                    p.copy_(parameters[name])
        with measuring(other):
            made = outputs(other, self.x, self.output)
            others = {id(p) for p in self.model.parameters()}
            own = [p for p in parameters_of(made) if id(p) not in others]
            refuse_other_parameters(made, own)
            refuse_constants(lambda: values_of(other, self.x, self.output), constants)
        return other

    def _called(self, model: nn.Module, x: Inputs) -> Tensor:
        return outputs(model, x, self.output)

    def sketch_of(self, model: nn.Module, *, labels: bool) -> Sketch:
        """Random directions pulled back, and the labels' energy."""
        y = None
        if labels and self.labels is not None:
            y = torch.as_tensor(self.labels.values, device="cpu")
        with measuring(model):
            return sketch(
                model,
                self.x,
                self.settings.n_directions,
                y=y,
                seed=self.settings.seed,
                output=self._shifted(model),
            )

    def _shifted(self, model: nn.Module) -> Output:
        """The outputs plus a constant of the size of θ·∂f/∂θ, which no derivative sees.

        The outputs of a centred network at its start are rounding alone, and would seem to
        depend on the other rows if that were judged by their own size.
        """
        values = outputs(model, self.x, self.output)
        require_graph(values)
        chosen = [p for p in model.parameters() if p.requires_grad]
        mean = torch.full_like(values, 1 / len(values))
        found = gradients(values, chosen, mean)
        size = sum(
            float((g.double() * p.detach().double()).abs().sum())
            for g, p in zip(found, chosen, strict=True)
            if g is not None
        )

        def shifted(out: object) -> PyTree:
            value = out if self.output is None else self.output(out)
            return value + size if isinstance(value, Tensor) and math.isfinite(size) else value

        return shifted

    def snapshot(self, model: nn.Module, *, is_start: bool) -> Snapshot:
        """Everything about one checkpoint."""
        is_exact = self.settings.is_exact(*self.shape, self.n_parameters)
        found = self.sketch_of(model, labels=not is_exact)
        query = None
        test_x = self.test_x
        with measuring(model):
            values, features = self._outputs(model, self.x)
            shifted = self._shifted(model)
            kernel = _four(ntk(model, self.x, output=shifted)) if is_exact else None
            is_small = test_x is not None and n_rows(test_x) * self.shape[1] <= 20_000
            if is_exact and is_start and is_small and self.test_labels is not None:
                query = _four(ntk(model, test_x, self.x, output=shifted))
            test = (None, None) if test_x is None else self._outputs(model, test_x)
        energy = found.labels
        return Snapshot(
            outputs=values,
            products=dict(found.groups),
            label_energy=math.nan if energy is None else energy.value,
            permuted_energy=np.zeros(0) if energy is None else np.array(energy.null),
            kernel=kernel,
            query_kernel=query,
            test_outputs=test[0],
            features=features,
            test_features=test[1],
        )

    def _outputs(self, model: nn.Module, x: Inputs) -> tuple[np.ndarray, np.ndarray | None]:
        """Outputs, and the inputs of the linear layer that made them if there is one."""
        calls: list[tuple[Tensor, Tensor]] = []

        def note(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            if given:
                calls.append((given[0], made))

        hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Linear)]
        try:
            values = values_of(model, x, self.output)
        finally:
            for hook in hooks:
                hook.remove()
        host = _require_finite_outputs(values)
        if calls and calls[-1][1].shape == values.shape and torch.equal(calls[-1][1], values):
            return host, calls[-1][0].detach().double().cpu().numpy()
        return host, None

    def linear_part(self, reference: Parameters) -> LinearPart:
        """f₀, f and J₀Δ by central differences, in double precision if the module allows it."""
        with measuring(self.model):
            if all(p.device.type != "mps" for p in self.parameters().values()):
                with suppress(RuntimeError, TypeError, NotImplementedError, InputError):
                    return linear_part(self.model, self.x, self.output, reference, torch.float64)
            return linear_part(self.model, self.x, self.output, reference, torch.float32)

    def gradient_cosine(self, values: np.ndarray) -> float:
        """cos(−∂L/∂θ, θ); NaN without labels."""
        if self.labels is None:
            return math.nan
        chosen = list(self.parameters().values())
        with measuring(self.model):
            made = outputs(self.model, self.x, self.output)
            cotangent = torch.as_tensor(loss_gradient(values, self.labels), device=made.device).to(
                made
            )
            arrived = gradients(made, chosen, cotangent)
        gradient = np.concatenate(
            [_flat(p if g is None else g, g is None) for p, g in zip(chosen, arrived, strict=True)]
        )
        return cosine_of(-gradient, np.concatenate([_flat(p, False) for p in chosen]))

    def groups(self, reference: Parameters) -> dict[str, GroupChange]:
        """How far each module's parameters have moved."""
        squares: dict[str, list[float]] = {}
        for name, p in self.parameters().items():
            now = p.detach().double()
            start = reference[name].to(now)
            group = name.rsplit(".", 1)[0] if "." in name else name
            new = [float((one**2).sum()) for one in (start, now, now - start)]
            old = squares.get(group, [0.0] * 3)
            squares[group] = [a + b for a, b in zip(old, new, strict=True)]
        return {name: GroupChange(*map(math.sqrt, three)) for name, three in squares.items()}

    def evidence(
        self,
        reference: Parameters | None,
        *,
        optimization: Optimization | None = None,
        notes: tuple[str, ...] = (),
    ) -> Evidence:
        """All evidence of the module now against a reference, or of the module alone."""
        now = self.snapshot(self.model, is_start=False)
        start = linear = None
        groups = {}
        if reference is not None:
            start = self.snapshot(self.copy_at(reference), is_start=True)
            linear = self.linear_part(reference)
            groups = self.groups(reference)
        return Evidence(
            now=now,
            start=start,
            linear=linear,
            groups=groups,
            labels=self.labels,
            test_labels=self.test_labels,
            gradient_cosine=self.gradient_cosine(now.outputs),
            optimization=optimization or Optimization(),
            notes=loss_taken(self.labels, self.loss) + notes,
            n_parameters=self.n_parameters,
        )

    def setup(self) -> dict[str, Json]:
        """What was measured, for the report."""
        is_exact = self.settings.is_exact(*self.shape, self.n_parameters)
        n = self.settings.n_directions
        return {
            "framework": f"PyTorch {torch.__version__}",
            "rows": self.shape[0],
            "outputs": self.shape[1],
            "parameters": self.n_parameters,
            "loss": None if self.labels is None else self.labels.loss,
            "kernel": "exact" if is_exact else f"sketch of {n} random directions",
        }


def optimization_of(optimizer: torch.optim.Optimizer | None) -> Optimization:
    """Rate, decoupled decay and kind of an optimizer, from its first group."""
    if optimizer is None:
        return Optimization()
    if not hasattr(optimizer, "param_groups"):
        raise InputError(
            f"optimizer is {kind_of(optimizer)}; give a torch.optim.Optimizer or a "
            "lazyrich.diagnosis.Optimization."
        )
    group = optimizer.param_groups[0]
    decay = float(group.get("weight_decay", 0.0))
    is_adaptive = "betas" in group or "alpha" in group
    is_decoupled = bool(group.get("decoupled_weight_decay", False)) or (
        type(optimizer).__name__ in ("AdamW", "SGD")
    )
    return Optimization(
        float(group["lr"]), decay if is_decoupled or not decay else None, is_adaptive
    )


def _flat(tensor: Tensor, is_zero: bool) -> np.ndarray:
    values = tensor.detach().reshape(-1).double().cpu().numpy()
    return np.zeros_like(values) if is_zero else values


def _four(kernel: Tensor) -> np.ndarray:
    values = kernel.double().cpu().numpy()
    return values if values.ndim == 4 else values[:, :, None, None]


def _require_finite_outputs(values: Tensor) -> np.ndarray:
    host = values.detach().double().cpu().numpy()
    if not np.isfinite(host).all():
        raise InputError(
            "The outputs on the probe rows are NaN or infinite: the network has diverged; give a "
            "checkpoint from before that."
        )
    return host


def _host(value: object) -> PyTree:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.double() if value.is_floating_point() else value).numpy()
    return value
