"""Everything of a PyTorch module that a measurement leaves as it was."""

import torch


def state(model):
    """All that has to stay: of the model, of its parameters, and of PyTorch."""
    modules = dict(model.named_modules())
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {
            name: (len(module._forward_hooks), len(module._forward_pre_hooks))
            for name, module in modules.items()
        },
        "identity": {name: id(value) for name, value in tensors.items()},
        "version": {name: value.detach().clone() for name, value in tensors.items()},
        "trained": {name: value.requires_grad for name, value in tensors.items()},
        "grad": {name: None if v.grad is None else v.grad.clone() for name, v in tensors.items()},
        "hooks of tensors": {name: len(v._backward_hooks or {}) for name, v in tensors.items()},
        "random": torch.random.get_rng_state(),
        "gradients on": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
    }


def is_same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def assert_unchanged(before, model):
    after = state(model)
    assert [key for key in before if not is_same(before[key], after[key])] == []
