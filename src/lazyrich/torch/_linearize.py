"""The linearized network of a module, as a module that any optimizer trains."""

import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import CheckpointError

from lazyrich._base import InputError

from ._arguments import Copies, Given, called_with_copies
from ._kept import Kept, KeptState
from ._model import ONE_AT_A_TIME, deep_copy, trainable_parameters, unwrap
from ._plain_ways import plain_group_norm, plain_recurrence
from ._random_numbers import kept_random_numbers
from ._rows import Output, chosen_output, is_transformed, require_device, taken
from ._same_function import Original, left_as_it_was
from ._scale import frozen_copy
from ._shared_memory import Memo
from ._trial import Tried, refuse_constants, refuse_inseparable, refuse_no_function

_CHECKPOINTED = (
    "The model computes activations again in its backward pass (torch.utils.checkpoint), when the "
    "parameters of the linearized network are no longer in it; turn that off in evaluation mode, "
    "as model.gradient_checkpointing_disable() does in transformers."
)

_HELD = (
    "The model reads a parameter that is held elsewhere than at its place in the module, such as "
    "in a list, where it cannot be replaced by a linearized one; register it there too (as in "
    "nn.ParameterList), or read it at its place."
)

_ASSIGNED = (
    "The model assigns a parameter to an attribute that is registered as a parameter (self.a = "
    "self.weight), where the linearized network has a tensor in its place, which PyTorch does not "
    "register; read the parameter at its place, or keep it in a variable."
)

_ModelFunction = Callable[..., Tensor]


class LinearizedModule(nn.Module):
    """f(θ₀, x) + ∂f/∂θ(θ₀, x)·(θ − θ₀); see `linearize`.

    Example:
        >>> linearize(nn.Linear(2, 1)).names
        ['weight', 'bias']
    """

    def __init__(self, model: nn.Module, output: Output) -> None:
        """Linearize a module; use `linearize`."""
        super().__init__()
        require_device((), trainable_parameters(model))
        if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
            raise InputError(
                "The model is scripted or traced by torch.jit, which takes no parameters but its "
                "own, so it cannot be linearized; give the module that it was made of."
            )
        self.output = output
        self._constants: list[Tensor] = []
        initial = frozen_copy(model, self._constants)
        self.names = list(trainable_parameters(model))
        values = dict(model.named_parameters())
        self._places = _places(model, self.names)
        # A dot is not allowed in the name of a parameter.
        self.parameters_now = nn.ParameterList(
            [nn.Parameter(values[name].detach().clone()) for name in self.names]
        )
        self.initial = initial  # after what is trained, which comes first in ``parameters()``
        for name, now in zip(self.names, self.parameters_now, strict=True):
            # What changes a gradient on its way to the parameter, such as a mask.
            for hook in (values[name]._backward_hooks or {}).values():
                now.register_hook(hook)
        # The gradient of a padded row is left out, which forward mode does not know.
        self.way = "double backward" if _has_padding(self.initial) else "jvp"
        # Whether a call changes attributes or buffers; None before the first.
        self._is_changing: bool | None = None
        # Until the copy has been compared with it.
        self._original = Original(model)

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """The linearized outputs of a batch."""
        if torch.is_inference_mode_enabled():
            # In it nothing is differentiated twice.
            with torch.inference_mode(False), torch.no_grad():
                return self.forward(*args, **kwargs)
        with ONE_AT_A_TIME:  # the parameters of the module inside are other ones for a while
            initial = dict(self.initial.named_parameters())
            start = tuple(initial[name].detach() for name in self.names)
            change = tuple(now - p for now, p in zip(self.parameters_now, start, strict=True))

            def function(*values: Tensor) -> Tensor:
                named = dict(zip(self.names, values, strict=True))
                for name, value in named.items():  # what somebody has set on parameters
                    if vars(initial[name]):
                        vars(value).update(vars(initial[name]))
                state = {place: named[name] for place, name in self._places.items()}
                copies = Copies((args, kwargs), has_graph=True)
                with taken(self.initial, copies.given, what="arguments"), _said_of_parameters():
                    made = functional_call(self.initial, state, *copies.given, tie_weights=False)
                copies.refuse_written()
                return chosen_output(made, self.output)

            # Fused attention has no derivative of the derivative; the plain way has.
            plain = plain_recurrence(self.initial), plain_group_norm(self.initial)
            with (
                sdpa_kernel(SDPBackend.MATH),
                plain[0],
                plain[1],
                _weights_listed_again(self.initial),
            ):
                if self._is_changing is None or self._original.lent:
                    self._check(function, start, (args, kwargs))
                # What it writes to in a call may be in the graph of another.
                is_changing = bool(self._is_changing)
                with KeptState(self.initial).on_copies() if is_changing else nullcontext():
                    return self._value(function, start, change)

    def _value(
        self, function: _ModelFunction, start: tuple[Tensor, ...], change: tuple[Tensor, ...]
    ) -> Tensor:
        if self.way == "jvp":
            try:
                with warnings.catch_warnings():
                    # What forward mode loads at its first call is itself deprecated.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    both = jvp(function, start, change)
                return both[0] + both[1]
            except (RuntimeError, NotImplementedError, InputError) as error:
                if "out of memory" in str(error):
                    raise
        value = _double_backward(function, start, change)
        self.way = "double backward"  # not of a call that fails in either way
        return value

    def _check(self, function: _ModelFunction, start: tuple[Tensor, ...], given: Given) -> None:
        """As `_checked`, also where the linearized network is compiled."""
        is_loaded = "torch._dynamo" in sys.modules  # else nothing is, and it takes a second
        checked = torch.compiler.disable(self._checked) if is_loaded else self._checked
        checked(function, start, given)

    # It is not compiled with what comes after it.
    _check.__dict__["_torchdynamo_disable"] = True

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _checked(self, function: _ModelFunction, start: tuple[Tensor, ...], given: Given) -> None:
        """Refuse a module that is not a function, and see which derivative is right."""
        start = tuple(p.clone() for p in start)  # as inference mode may have made them
        if is_transformed():
            raise InputError(
                "The first call of a linearized network looks at values, which transformations "
                "such as vmap do not allow; call it on a batch outside of torch.func first."
            )
        if self._is_changing is not None:
            self._original.compare(self.initial, given, self._outputs)
            return
        with left_as_it_was(self._original.model):
            is_changing = self._tried(function, start, given)
        self._original.model = None
        self._is_changing = is_changing

    def _tried(self, function: _ModelFunction, start: tuple[Tensor, ...], given: Given) -> bool:
        """Whether calls change what the module at θ₀ holds, and which derivative is right."""
        kept, model = Kept.of(self.initial), self.initial
        named = dict(model.named_parameters())
        try:
            for name in self.names:
                named[name].requires_grad_()
            with kept_random_numbers(model, kept.state.generators):
                found, is_changing = refuse_no_function(model, given, self.output, self.names, kept)
                if is_changing:
                    parameters = [named[name] for name in self.names]
                    refuse_inseparable(model, given, self._outputs, found, parameters)
                for name in self.names:
                    named[name].requires_grad_(False)  # else what is read anew would go unnoticed
                self._original.compare(model, given, self._outputs)
                refuse_constants(lambda: self._outputs(model, given), self._constants)
                self.way = _right_way(function, start, found) if self.way == "jvp" else self.way
        finally:
            kept.restore()
        return is_changing

    def _outputs(self, model: nn.Module, given: Given) -> Tensor:
        return chosen_output(called_with_copies(model, given), self.output)

    def __deepcopy__(self, memo: Memo) -> "LinearizedModule":
        """A copy whose parts share memory with each other as they do here."""
        return deep_copy(self, memo)

    def requires_grad_(self, requires_grad: bool = True) -> "LinearizedModule":
        """Set it for what is trained; θ₀ stays as it is."""
        self.parameters_now.requires_grad_(requires_grad)
        return self

    def train(self, mode: bool = True) -> "LinearizedModule":
        """Set the flag; the module at θ₀ stays in evaluation mode."""
        super().train(mode)
        self.initial.eval()
        return self


def _places(model: nn.Module, names: list[str]) -> dict[str, str]:
    """By place in a module, each once, the name of the parameter that is there.

    A tied parameter has several places. A module that is used twice has several names, and
    under two of them ``functional_call`` would not put back what it replaces.
    """
    name_of = {id(p): name for name, p in model.named_parameters() if name in set(names)}
    return {
        f"{path}.{local}" if path else local: name_of[id(p)]
        for path, module in model.named_modules()
        for local, p in module._parameters.items()
        if id(p) in name_of
    }


@contextmanager
def _said_of_parameters() -> Generator[None]:
    """Say in one sentence that a module takes no tensor as a parameter."""
    try:
        yield
    except TypeError as error:
        if "cannot assign" in str(error) and "as parameter" in str(error):
            raise InputError(_ASSIGNED) from error
        raise


@contextmanager
def _weights_listed_again(model: nn.Module) -> Generator[None]:
    """Have recurrent layers list their parameters, in place of those of a functional call."""
    try:
        yield
    finally:
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                names = map(str, module._flat_weights_names)
                module._flat_weights = [getattr(module, name, None) for name in names]


def _has_padding(model: nn.Module) -> bool:
    return any(
        getattr(module, "padding_idx", None) is not None
        or getattr(module, "scale_grad_by_freq", False)
        for module in model.modules()
    )


def _right_way(function: _ModelFunction, start: tuple[Tensor, ...], found: Tried) -> str:
    """The derivative that is right, as far as both can be computed.

    Forward mode is if u·(Jv) is (Jᵀu)·v for random u and v. They differ where the model computes
    something under ``torch.no_grad``, which forward mode differentiates all the same, and where a
    hook changes a gradient.

    Raises:
        InputError: if a parameter that is replaced is read all the same, or if activations are
            checkpointed.
    """
    leaves = tuple(p.detach().requires_grad_() for p in start)
    try:
        replaced = Tried.of(function(*leaves), leaves)
    except (RuntimeError, NotImplementedError, InputError) as error:
        if isinstance(error.__cause__, CheckpointError):
            raise InputError(_CHECKPOINTED) from error
        return "jvp"  # what cannot be compared is found out where it is used
    if replaced.differs_in_pulled(found):
        raise InputError(_HELD)
    generator = torch.Generator().manual_seed(1)
    v = tuple(torch.randn(p.shape, generator=generator, device="cpu").to(p) for p in start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            slope = jvp(function, start, v)[1]
    except (RuntimeError, NotImplementedError, InputError):
        return "jvp"
    pairs = [(g, w) for g, w in zip(found.pulled, v, strict=True) if g is not None]
    terms = [(g.detach() * w).double().flatten() for g, w in pairs]
    backward = torch.cat([t.cpu() for t in terms]) if terms else torch.zeros(1, device="cpu")
    forward = (found.cotangent * slope.detach()).double().cpu()
    size = max(float(backward.norm()), float(forward.norm()))
    gap = abs(float(backward.sum()) - float(forward.sum()))
    is_right = gap <= 50 * torch.finfo(slope.dtype).eps ** 0.75 * size
    return "jvp" if is_right else "double backward"


def _double_backward(
    function: _ModelFunction, start: tuple[Tensor, ...], change: tuple[Tensor, ...]
) -> Tensor:
    """Jv as the derivative of Jᵀu with respect to u, which is linear in u."""
    message = (
        "The model has no second derivative that PyTorch can form, so it cannot be "
        "linearized; replace the operation without one, or use lazyrich.torch.ntk, which "
        "needs first derivatives only."
    )
    with torch.enable_grad():
        leaves = tuple(p.detach().requires_grad_() for p in start)
        value = function(*leaves)
        u = torch.zeros_like(value, requires_grad=True)
        try:
            pulled = torch.autograd.grad(value, leaves, u, create_graph=True, allow_unused=True)
            kept = [
                (g, v)
                for g, v in zip(pulled, change, strict=True)
                if g is not None and g.requires_grad
            ]
            if not kept:
                raise InputError(message)
            (slope,) = torch.autograd.grad(
                [g for g, _ in kept], u, [v for _, v in kept], create_graph=True
            )
        except (RuntimeError, NotImplementedError) as error:
            if "out of memory" in str(error):
                raise
            raise InputError(f"{message} PyTorch said: {str(error)[:200]}") from error
    return value.detach() + slope


def linearize(model: nn.Module, *, output: Output = None) -> LinearizedModule:
    """The linearized network f(θ₀, x) + ∂f/∂θ(θ₀, x)·(θ − θ₀) at the present parameters.

    Exactly lazy: its tangent kernel is the one of ``model`` now and never changes. It is
    computed by forward-mode differentiation (``torch.func.jvp``), or by a double backward
    pass if an operation has no forward mode; attention takes its plain path meanwhile.
    The module is in evaluation mode inside, whatever ``train()`` says: batch norm has its
    running statistics, dropout is off.

    Args:
        model: the module; θ₀ are its parameters now, of which copies are kept.
        output: from what the model returns to a tensor; None takes it as it is.

    Returns:
        A module with trainable copies of the trainable parameters, in their order. Equal to
        ``model`` (in evaluation mode) until they are changed. ``way`` says how it was
        computed. It calls the module with copies of its arguments.

    Raises:
        InputError: if nothing is trainable. Of a call: if the module cannot take the arguments, or
            writes to a tensor inside of one that cannot be copied.
            Of its first call: if outputs or gradients change from call to call, if the module
            writes to its parameters, makes or replaces some, or reads some that are held
            elsewhere, if a copy of it is another function or uses its tensors, as where a hook
            holds them, if an operation has no second derivative, or if activations are
            checkpointed.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> linearized = linearize(model)
        >>> x = torch.ones(1, 2)
        >>> bool(linearized(x) == model(x))
        True

    References:
        Lee et al. (2019), "Wide neural networks of any depth evolve as linear models under
        gradient descent".
    """
    with torch.inference_mode(False):  # else nothing could train it
        return LinearizedModule(unwrap(model), output)
