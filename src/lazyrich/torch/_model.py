"""The module behind its wrappers, its trainable parameters, and a state that stays as it was."""

import copy
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lazyrich._base import InputError, kind_of

from ._float32 import full_float32
from ._held import held
from ._kept import ON_COPIES, Kept
from ._plain_ways import plain_attention, plain_group_norm, plain_recurrence
from ._random_numbers import kept_random_numbers
from ._shared_memory import Memo, keep_shared

_Module = TypeVar("_Module", bound=nn.Module)

Chosen = Sequence[str] | Callable[[str], bool] | None
"""Which parameters count: names or beginnings of names, a test of a name, None for all."""

# What splits parameters among processes: a kernel needs each of them whole.
_SHARDED = ("FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine")
_WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule")

# What a copy shares, since it cannot be copied and holds nothing of the model.
_SHARED = (ModuleType, type(threading.Lock()), type(threading.RLock()))

# Parameters, buffers, random numbers and settings of the process are other ones for a while.
ONE_AT_A_TIME = threading.RLock()


def unwrap(model: Any) -> nn.Module:
    """The module that the user wrote, out of DDP, ``torch.compile`` and the like.

    Args:
        model: a module, or a wrapper around one.

    Returns:
        The innermost module. It shares its parameters with the wrapper.

    Raises:
        InputError: if it is not a module, or one whose parameters are split among processes.

    Example:
        >>> unwrap(nn.DataParallel(nn.Linear(2, 1)))
        Linear(in_features=2, out_features=1, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model is {kind_of(model)}; it must be a torch.nn.Module (an instance, "
            "not a class or a state dict)."
        )
    while True:
        kinds = {kind.__name__ for kind in type(model).__mro__}
        if kinds & set(_SHARDED) or _has_sharded_parameters(model):
            raise InputError(
                f"{type(model).__name__} splits parameters among processes, and a tangent kernel "
                "needs them whole; gather the parameters into a plain copy of the module first."
            )
        if not kinds & set(_WRAPPERS):
            return model
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module


def _has_sharded_parameters(model: nn.Module) -> bool:
    return any(
        type(p).__name__ == "DTensor" or hasattr(p, "ds_id") for p in model.parameters(recurse=True)
    )


def trainable_parameters(model: nn.Module, params: Chosen = None) -> dict[str, nn.Parameter]:
    """The parameters that the kernel differentiates with respect to, by name.

    Args:
        model: a module without wrappers.
        params: names or beginnings of names (``"layer4"``), or a test of a name; None for
            all. Frozen parameters (``requires_grad=False``) are left out in any case.

    Returns:
        The parameters, each once, also where it is tied.

    Raises:
        InputError: if there is none, if a name fits none, or if one is complex.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> list(trainable_parameters(model, ["1"]))
        ['1.weight', '1.bias']
    """
    every = dict(model.named_parameters())
    params = _names(params)
    _refuse_without_shape({**every, **dict(model.named_buffers())})
    known = dict(model.named_parameters(remove_duplicate=False))  # tied ones by each name
    taken = {id(p) for name, p in known.items() if p.requires_grad and _is_chosen(name, params)}
    chosen = {name: p for name, p in every.items() if id(p) in taken}
    if params is not None and not callable(params):
        for name in params:
            if not any(_is_chosen(one, [name]) for one in known):
                raise InputError(
                    f"params names {name!r}, which is not the name of a parameter of the model or "
                    f"of a part of it; the model has {_some(list(every))}."
                )
    if not chosen:
        frozen = "all of them frozen" if every else "none at all"
        raise InputError(
            f"The model has no trainable parameter to differentiate ({len(every)} parameters, "
            f"{frozen if params is None else 'none chosen'}); set requires_grad=True on those "
            f"that count{'' if params is None else ', or choose others with params='}."
        )
    for name, parameter in chosen.items():
        if not parameter.is_leaf:
            raise InputError(
                f"The parameter {name!r} is computed from other tensors (as after copy.deepcopy of "
                "a scripted module), so nothing differentiates with respect to it; detach it."
            )
        if parameter.is_inference():
            raise InputError(
                f"The parameter {name!r} was made inside torch.inference_mode, so PyTorch keeps no "
                "graph of it; make or load the model outside of it, or take copy.deepcopy(model) "
                "there."
            )
        if parameter.is_complex():
            raise InputError(
                f"The parameter {name!r} is complex, and the tangent kernel of a complex parameter "
                "is not defined here; train its real and imaginary parts as real parameters."
            )
    return chosen


def _refuse_without_shape(parameters: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if nn.parameter.is_lazy(parameter):
            raise InputError(
                f"The parameter or buffer {name!r} has no shape yet; "
                "run the model on a batch first."
            )


def _names(params: Chosen) -> Chosen:
    """Names as a list, from any iterable of them."""
    if params is None or callable(params):
        return params
    is_list = isinstance(params, Iterable) and not isinstance(params, str | Tensor)
    names = list(params) if is_list else []
    others = [name for name in names if not isinstance(name, str)]
    if not is_list or others:
        kind = kind_of(others[0] if others else params)
        raise InputError(
            "params must be a list of names or beginnings of names of parameters, such as "
            f"['layer4'], or a test of a name; {'a list with ' if others else ''}{kind} was "
            "given."
        )
    return names


def _is_chosen(name: str, params: Chosen) -> bool:
    if params is None:
        return True
    if callable(params):
        try:
            return bool(params(name))
        except Exception as error:  # the test is the user's
            raise InputError(
                f"params= fails on the name {name!r} ({type(error).__name__}: {error}); give a "
                "function from the name of a parameter to whether it counts."
            ) from error
    return any(name == one or name.startswith(f"{one}.") for one in params)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def copy_of(model: nn.Module, constants: list[Tensor] | None = None) -> nn.Module:
    """A copy of a module; values that it keeps from its last call are copied as constants.

    Args:
        model: a module.
        constants: to which copies of tensors are added that the module once computed.

    Raises:
        InputError: if it cannot be copied.
    """
    _refuse_without_shape({**dict(model.named_parameters()), **dict(model.named_buffers())})
    memo: Memo = {}
    try:
        alive = _copy_before(model, memo, constants)
        with torch.no_grad():  # of a scripted module the copies would have a graph
            copied = copy.deepcopy(model, memo)
            _copy_attributes(model, copied, memo)
            del alive
            _refuse_shared_parts(model, copied)
            for p, original in zip(copied.parameters(), model.parameters(), strict=True):
                p.requires_grad_(original.requires_grad)
        return copied
    except (torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # __deepcopy__ and __reduce__ are code of a model's own
        said = " ".join(str(error).split())[:200]
        is_of_tensor = "__deepcopy__() for non-wrapper subclasses" in said
        advice = (
            "let the class of that tensor implement new_empty or __deepcopy__."
            if is_of_tensor
            else "keep what is not a tensor or a number, such as locks, files and generators, out "
            "of the module."
        )
        raise InputError(
            f"The model cannot be copied ({type(error).__name__}: {said}); {advice}"
        ) from error


def deep_copy(module: _Module, memo: Memo) -> _Module:
    """A copy of a module for its ``__deepcopy__``, in which memory is shared as it is there.

    Args:
        module: the module.
        memo: of ``copy.deepcopy``.
    """
    made = memo[id(module)] = type(module).__new__(type(module))
    alive = _copy_before(module, memo)
    made.__setstate__(copy.deepcopy(vars(module), memo))
    _copy_attributes(module, made, memo)
    del alive
    return made


def _copy_before(
    model: nn.Module, memo: Memo, constants: list[Tensor] | None = None
) -> list[object]:
    """Copy what ``copy.deepcopy`` cannot copy, or copies in another way.

    Args:
        model: what will be copied.
        memo: of ``copy.deepcopy``, to which copies are added.
        constants: as `copy_of`.

    Returns:
        What has to live until the model is copied.
    """
    found = held(model)
    for _, _, value in found.places:
        if isinstance(value, Tensor) and _is_constant(value) and id(value) not in memo:
            copied = memo[id(value)] = value.detach().clone()
            if constants is not None and value.grad_fn is not None:
                constants.append(copied)
    for container in found.containers:
        values = container.values() if isinstance(container, dict) else container
        memo.update({id(one): one for one in values if isinstance(one, _SHARED)})
    return keep_shared(model, found, memo)


def _copy_attributes(model: nn.Module, copied: nn.Module, memo: Memo) -> None:
    """Copy what somebody has set on parameters, which ``copy.deepcopy`` leaves out."""
    for p, original in zip(copied.parameters(), model.parameters(), strict=True):
        if p is not original and vars(original) and not vars(p):
            vars(p).update(copy.deepcopy(vars(original), memo))


def _refuse_shared_parts(model: nn.Module, copied: nn.Module) -> None:
    """Refuse a copy that has parts of the original, whose mode and parameters it would change."""
    mine = {id(one) for one in [*model.modules(), *model.parameters()]}
    named = [*copied.named_modules(), *copied.named_parameters()]
    shared = [name for name, one in named if id(one) in mine]
    if shared:
        raise InputError(
            f"A copy of the model shares {shared[0] or 'everything'!r} with it (its __deepcopy__ "
            "returns what it is called on), so that it cannot be measured by itself; let copies "
            "have parts of their own."
        )


def _is_constant(value: Tensor) -> bool:
    """Whether ``copy.deepcopy`` cannot copy a tensor: results, and compressed sparse buffers."""
    is_dense = value.layout in (torch.strided, torch.sparse_coo)
    return not value.is_leaf or not (is_dense or isinstance(value, nn.Parameter))


@contextmanager
def unchanged(model: nn.Module) -> Generator[Kept]:
    """Run the model with gradients on, and leave nothing of it changed.

    Parameters, buffers, attributes, modes, autocast and random numbers are as before afterwards,
    also after an error, and whatever the model writes to; parameters that take more than 1 GiB
    are not copied, beside tables whose layer shortens their rows as it reads them (``max_norm``).
    Callers use ``torch.autograd.grad``, which leaves ``.grad`` alone. Other threads that want the
    same wait.

    Yields:
        The model as it was, with which it can be seen what a call has done to it.
    """
    with ExitStack() as stack:
        stack.enter_context(ONE_AT_A_TIME)
        parameters, kept = list(model.parameters()), Kept.of(model)
        stack.enter_context(kept_random_numbers(model, kept.state.generators))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(plain_attention())
        stack.enter_context(plain_recurrence(model))
        stack.enter_context(plain_group_norm(model))
        stack.enter_context(full_float32())
        stack.enter_context(_not_compiled())
        for kind in {p.device.type for p in parameters} | {"cpu"}:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            yield kept
        finally:
            ON_COPIES.pop(id(model), None)
            kept.restore()


@contextmanager
def _not_compiled() -> Generator[None]:
    """Run compiled parts as they were written, so that operations are seen one by one."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled
        yield
        return
    try:
        stance = torch.compiler.set_stance("force_eager")
    except RuntimeError as error:
        raise InputError(
            "A tangent kernel is computed outside of functions that torch.compile compiles; take "
            "the call out of them."
        ) from error
    with stance:
        yield


def refuse_training_mode(model: nn.Module) -> None:
    """Refuse layers that, in training mode, mix rows or draw random numbers.

    Raises:
        InputError: naming the first such layer.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.training or module.running_mean is None:
                why = (
                    "keeps no running statistics; make it with track_running_stats=True"
                    if module.running_mean is None
                    else "is in training mode; call model.eval() first"
                )
                raise InputError(
                    f"The batch norm layer {name!r} {why}, since its output for one row depends on "
                    "the other rows, so there is no tangent kernel of a row."
                )
        elif _is_random(module) and module.training:
            raise InputError(
                f"The dropout layer {name!r} is in training mode and draws random numbers; "
                "call model.eval() first."
            )


def _is_random(module: nn.Module) -> bool:
    is_dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    rate = getattr(module, "dropout", None)
    return is_dropout or (
        isinstance(module, nn.RNNBase | nn.MultiheadAttention)
        and isinstance(rate, float)
        and rate > 0
        and (not isinstance(module, nn.RNNBase) or module.num_layers > 1)
    )


def parameter_dtype(parameters: Mapping[str, Tensor]) -> torch.dtype:
    """The type in which products are formed: float64 if a parameter is, float32 otherwise."""
    is_double = any(p.dtype == torch.float64 for p in parameters.values())
    return torch.float64 if is_double else torch.float32
