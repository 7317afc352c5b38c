"""Oracle: law, a model measured is the model as it was, to the last bit."""

import copy

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


def spectral_in_training_mode():
    """A model whose forward pass changes a buffer."""
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(3, 2)).double().train()


def refused(model, x):
    with pytest.raises(lzt.InputError):
        lzt.ntk(model, x, output=lambda out: out[:2])


FUNCTIONS = {
    "ntk": lambda model, x: lzt.ntk(model, x),
    "blocked ntk": lambda model, x: lzt.ntk(model, x, memory=100_000),
    "explain_ntk": lambda model, x: lzt.explain_ntk(model, x),
    "sketch": lambda model, x: lzt.sketch(model, x, 4),
    "sketch with labels": lambda model, x: lzt.sketch(
        model, x, 4, y=torch.zeros(len(x), 2, dtype=x.dtype)
    ),
    "linearize": lambda model, x: lzt.linearize(model)(x),
    "scale_output": lambda model, x: lzt.scale_output(model, 2.0)(x),
    "a refused call": refused,
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("which", ["resnet", "spectral"])
def test_nothing_of_the_model_changes(function, which):
    torch.manual_seed(1)
    if which == "resnet":
        model = torch_zoo.resnet((4, 8), 2).double().eval()
        model[2].train()
        for module in model[2].modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        x = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    else:
        model, x = spectral_in_training_mode(), torch.randn(3, 4, dtype=torch.float64)
        if function in ("linearize", "scale_output"):
            model.eval()  # these return modules that run the model itself
    model(x).sum().backward()
    first = next(model.parameters())
    frozen = list(model.parameters())[-1]
    frozen.requires_grad_(False)
    calls = []
    handle = first.register_hook(lambda g: calls.append(g))
    before = copy.deepcopy(model.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    random, enabled = torch.random.get_rng_state(), torch.is_grad_enabled()

    FUNCTIONS[function](model, x)

    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.is_grad_enabled() == enabled
    assert [module.training for module in model.modules()] == modes
    assert not frozen.requires_grad
    assert first.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert len(first._backward_hooks) == 1
    handle.remove()
