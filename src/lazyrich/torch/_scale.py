"""α[f(θ) − f(θ₀)] of a module: the output scale that makes training lazy or rich."""

import sys

import torch
from torch import Tensor, nn

from lazyrich._base import InputError, require_finite, require_positive

from ._arguments import Copies, Given, called_with_copies
from ._model import copy_of, deep_copy, unwrap
from ._plain_ways import plain_attention, plain_group_norm
from ._rows import Output, chosen_output
from ._same_function import Original
from ._shared_memory import Memo
from ._trial import refuse_other_parameters


class ScaledModule(nn.Module):
    """α[f(θ, x) − f(θ₀, x)], or αf(θ, x) without centring; see `scale_output`.

    Example:
        >>> scale_output(nn.Linear(2, 1), 10.0).alpha
        10.0
    """

    def __init__(self, model: nn.Module, alpha: float, *, center: bool, output: Output) -> None:
        """Wrap a module; use `scale_output`."""
        super().__init__()
        self.model = model
        self.alpha = float(alpha)
        self.output = output
        self.initial = frozen_copy(model) if center else None
        # Until the copy has been compared with it.
        self._original = Original(model if center else None)

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """The scaled outputs of a batch."""
        initial = None
        if self.initial is not None:
            if self._original.model is not None or self._original.lent:
                self._check((args, kwargs))
            # Copies, since it may change its arguments; with their graph, since they may be
            # computed by something that is trained.
            copies = Copies((args, kwargs), has_graph=True)
            theirs, named = copies.given
            with plain_attention(), plain_group_norm(self.initial):
                initial = chosen_output(self.initial(*theirs, **named), self.output)
            copies.refuse_written()
            refuse_other_parameters(initial, [], beside=copies.nodes)
        # In both, whether gradients are recorded or not.
        with plain_attention(), plain_group_norm(self.model):
            value = chosen_output(self.model(*args, **kwargs), self.output)
        return self.alpha * (value if initial is None else value - initial)

    def _outputs(self, model: nn.Module, given: Given) -> Tensor:
        return chosen_output(called_with_copies(model, given), self.output)

    def _check(self, given: Given) -> None:
        """Compare the copy with the model once, also where this module is compiled."""
        assert self.initial is not None  # the caller looked
        is_loaded = "torch._dynamo" in sys.modules  # else nothing is, and it takes a second
        compare = self._original.compare
        compare = torch.compiler.disable(compare) if is_loaded else compare
        compare(self.initial, given, self._outputs)

    # It is not compiled with what comes after it.
    _check.__dict__["_torchdynamo_disable"] = True

    def __deepcopy__(self, memo: Memo) -> "ScaledModule":
        """A copy whose parts share memory with each other as they do here."""
        return deep_copy(self, memo)

    def requires_grad_(self, requires_grad: bool = True) -> "ScaledModule":
        """Set it for the trained module; θ₀ stays as it is."""
        self.model.requires_grad_(requires_grad)
        return self

    def train(self, mode: bool = True) -> "ScaledModule":
        """Set the mode of the trained module; the one at θ₀ stays in evaluation mode."""
        super().train(mode)
        if self.initial is not None:
            self.initial.eval()
        return self


def scale_output(
    model: nn.Module, alpha: float | Tensor, *, center: bool = True, output: Output = None
) -> ScaledModule:
    """The module α[f(θ, x) − f(θ₀, x)], trained lazily for large α and richly for small.

    The module trains the parameters of ``model`` itself. Train it at the rate η₀/α² with
    SGD, so that the function moves at one speed for every α; with Adam at η₀/α.

    Args:
        model: the module; θ₀ are its parameters now.
        alpha: α, above zero.
        center: whether to subtract f(θ₀, x), computed by a frozen copy in evaluation mode.
            Do not combine it with weight decay, which pulls f(θ) but not f(θ₀) to zero.
        output: from what the model returns to a tensor; None takes it as it is.

    Returns:
        A module whose output is a tensor; zero at θ₀ if centred (and if the model computes the
        same in training mode as in evaluation mode): exactly, but for rounding in recurrent and
        attention layers, of which PyTorch has another way where no gradient is recorded.

    Raises:
        InputError: if ``alpha`` is not above zero and finite, or ``model`` is not a module. Of its
            first call: if the frozen copy returns other outputs than the model, or uses tensors
            of it, as where a hook holds them. Of each call: if it writes to a tensor inside of an
            argument that cannot be copied.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1)
        >>> scaled = scale_output(model, 10.0)
        >>> scaled(torch.ones(1, 2))
        tensor([[0.]], grad_fn=<MulBackward0>)

    References:
        Kumar et al. (2024), Eq. 2; Chizat, Oyallon and Bach (2019).
    """
    if isinstance(alpha, Tensor):
        if alpha.numel() != 1:
            raise InputError(f"alpha has shape {tuple(alpha.shape)}; give one number.")
        alpha = float(alpha.detach())
    require_finite(alpha=alpha)
    require_positive(alpha=alpha)
    return ScaledModule(unwrap(model), alpha, center=center, output=output)


def frozen_copy(model: nn.Module, constants: list[Tensor] | None = None) -> nn.Module:
    """A copy in evaluation mode whose parameters are constants; as `copy_of`."""
    frozen = copy_of(model, constants).eval()
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen
