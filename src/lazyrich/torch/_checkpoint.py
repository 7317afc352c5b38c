"""An earlier state of a module: a file, a state dict, or another module."""

import io
import os
import pickle
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lazyrich._base import InputError, kind_of, open_regular, reason_of

from ._magnitude import is_finite
from ._model import trainable_parameters, unwrap

_NESTED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")

Checkpoint = object
"""A path of a file that ``torch.save`` wrote, a state dict, or a module."""


def read_checkpoint(checkpoint: Checkpoint, model: nn.Module, name: str) -> dict[str, Tensor]:
    """The values of the model's trainable parameters at a checkpoint.

    Files are read with ``weights_only=True``: nothing in them is executed.

    Args:
        checkpoint: a path, a state dict (also one inside a training checkpoint, or with the
            prefixes of DDP, ``torch.compile`` or Lightning), or a module.
        model: the module that it belongs to.
        name: by which the caller knows it.

    Raises:
        InputError: if it cannot be read, does not fit the model or is not finite.
    """
    wanted = trainable_parameters(model)
    state = _state(checkpoint, name, set(wanted))
    state = _without_prefix(state, set(wanted))
    missing = [key for key in wanted if key not in state]
    if missing:
        raise InputError(
            f"{name} does not fit the model: it has no parameter {missing[0]!r}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; give a checkpoint of "
            "this model."
        )
    for key, parameter in wanted.items():
        if state[key].shape != parameter.shape:
            raise InputError(
                f"{name} does not fit the model: {key!r} has shape {tuple(state[key].shape)} "
                f"there and {tuple(parameter.shape)} in the model."
            )
        if state[key].is_floating_point() != parameter.is_floating_point():
            raise InputError(
                f"{name} does not fit the model: {key!r} holds {state[key].dtype} numbers there "
                f"and {parameter.dtype} in the model; give a checkpoint of this model."
            )
        if state[key].is_meta or state[key].layout != torch.strided:
            kind = "is on the device 'meta'" if state[key].is_meta else "is sparse"
            raise InputError(
                f"The parameter {key!r} of {name} {kind}; give a checkpoint with its values, dense."
            )
        if not is_finite(state[key]):
            raise InputError(
                f"The parameter {key!r} of {name} holds NaN or infinite entries: the run had "
                "diverged; give a checkpoint from before that."
            )
    return {key: state[key].detach().clone() for key in wanted}


def _state(checkpoint: Checkpoint, name: str, wanted: set[str]) -> dict[str, Tensor]:
    if isinstance(checkpoint, nn.Module):
        return dict(unwrap(checkpoint).named_parameters())
    if isinstance(checkpoint, str | os.PathLike):
        checkpoint = _read(checkpoint, name)
    for _ in range(2):
        for key in _NESTED:
            if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
                checkpoint = checkpoint[key]
    tensors = {}
    if isinstance(checkpoint, Mapping):
        tensors = {str(k): v for k, v in checkpoint.items() if isinstance(v, Tensor)}
        for key, value in checkpoint.items():
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
                tensors[str(key)] = torch.as_tensor(value, device="cpu")
            elif isinstance(value, list | tuple | float | int) and str(key) in wanted:
                raise InputError(
                    f"{name} holds {kind_of(value)} for the parameter {str(key)!r}; give a "
                    "tensor or an array."
                )
    if not tensors:
        raise InputError(
            f"{name} is {kind_of(checkpoint)} without parameters; give the path of a file "
            "that torch.save(model.state_dict(), path) wrote, a state dict, or a module."
        )
    return tensors


def _read(path: str | os.PathLike[str], name: str) -> object:
    try:
        with open_regular(path) as file:
            return torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(
            f"{name} cannot be read from {os.fspath(path)} ({reason_of(error)}); give the path of "
            "a file that torch.save(model.state_dict(), path) wrote."
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{os.fspath(path)} is not a checkpoint that can be read without running code in it; "
            "save model.state_dict() alone with torch.save."
        ) from error


def _without_prefix(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Take prefixes of wrappers off, until the names are those of the model."""
    for _ in range(3):
        if wanted <= state.keys():
            break
        for prefix in _PREFIXES:
            if any(key.startswith(prefix) and key[len(prefix) :] in wanted for key in state) or all(
                key.startswith(prefix) for key in state
            ):
                state = {
                    key[len(prefix) :]: v for key, v in state.items() if key.startswith(prefix)
                }
                break
    return state
