"""Oracle: central differences of the module in float64; law, its kernel never changes."""

import copy

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

NAMES = ["mlp", "tied", "siamese", "lstm", "vision transformer", "resnet", "parametrized"]


def run(model, x):
    return model(*x) if isinstance(x, tuple) else model(x)


def moved(model, change, step):
    """A copy with parameters θ₀ + step · change."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        trained = [p for p in copied.parameters() if p.requires_grad]
        for parameter, amount in zip(trained, change, strict=True):
            parameter += step * amount
    return copied


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative_along_the_change(name):
    model, x = torch_zoo.made(name)
    linearized = lzt.linearize(model)
    start = run(model, x)
    torch.testing.assert_close(run(linearized, x), start, rtol=1e-12, atol=1e-12)
    change = [0.3 * torch.randn_like(p) for p in linearized.parameters_now]
    with torch.no_grad():
        for parameter, amount in zip(linearized.parameters_now, change, strict=True):
            parameter += amount
    step = 1e-5
    slope = (run(moved(model, change, step), x) - run(moved(model, change, -step), x)) / (2 * step)
    torch.testing.assert_close(run(linearized, x) - start, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["mlp", "vision transformer"])
def test_trained_and_still_lazy(name):
    model, x = torch_zoo.made(name)
    linearized = lzt.linearize(model)
    rate = 0.2 / float(lzt.ntk(model, x, trace_outputs=True).trace())
    optimizer = torch.optim.SGD(linearized.parameters(), rate)
    kernel = lzt.ntk(model, x)
    n, _, c, _ = kernel.shape
    y = torch.zeros(n, c, dtype=torch.float64)
    losses, f = [], run(model, x).detach()
    for _ in range(3):
        # Gradient descent on half the squared error moves the outputs by the kernel.
        loss = 0.5 * ((run(linearized, x) - y) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        f = f - rate * torch.einsum("ijab,jb->ia", kernel, f - y)
        torch.testing.assert_close(run(linearized, x).detach(), f, rtol=1e-9, atol=1e-11)
    assert losses[2] < losses[0]


def test_scaled_output():
    model, x = torch_zoo.made("mlp")
    other = copy.deepcopy(model)
    scaled = lzt.scale_output(model, 3.0)
    assert not scaled(x).any()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(scaled(x), 3 * (model(x) - other(x)))
    torch.testing.assert_close(lzt.scale_output(model, 3.0, center=False)(x), 3 * model(x))
    # The kernel is α² times that of the model.
    torch.testing.assert_close(lzt.ntk(scaled, x), 9 * lzt.ntk(model, x))


def test_scaled_output_trains_only_the_model():
    scaled = lzt.scale_output(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 2.0).train()
    assert not scaled.initial.training
    assert len([p for p in scaled.parameters() if p.requires_grad]) == 4


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_has_to_be_a_positive_number(alpha):
    with pytest.raises(lzt.InputError, match="alpha"):
        lzt.scale_output(nn.Linear(2, 1), alpha)
