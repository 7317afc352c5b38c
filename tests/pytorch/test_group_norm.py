"""Oracle: explicit float64 Jacobians.

Images may be laid out by pixel, where a gradient of PyTorch's own group norm ends the process.
"""

import copy

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


class Functional(nn.Module):
    """A group norm that no module shows."""

    def __init__(self):
        super().__init__()
        self.convolution, self.read = nn.Conv2d(8, 4, 3), nn.Linear(64, 2)
        self.gains = nn.Parameter(torch.ones(8))

    def forward(self, x):
        hidden = functional.group_norm(x, 2, self.gains)
        return self.read(torch.relu(self.convolution(hidden)).flatten(1))


def frozen_below():
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(288, 2)
    )
    model[0].requires_grad_(False)
    return model


MODELS = {
    "first": lambda: nn.Sequential(
        nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2)
    ),
    "frozen below": frozen_below,
    "functional": Functional,
    "beside other norms": lambda: nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.InstanceNorm2d(8, affine=True),
        nn.Conv2d(8, 8, 3, groups=2, padding=1),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 2),
    ),
}


@pytest.mark.parametrize("params", [None, ["1"]])
@pytest.mark.parametrize("name", MODELS)
def test_networks_with_group_norms(name, params):
    torch.manual_seed(0)
    model, x = MODELS[name]().eval(), torch.randn(8, 8, 6, 6)
    params = None if name in ("functional", "first") else params
    exact = copy.deepcopy(model).double()
    for of, parameter in exact.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and (params is None or of[0] == "1"))
    wanted = torch_zoo.kernel(exact, x.double()).detach()
    found = lzt.ntk(model, x, params=params).double()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    by_two = lzt.ntk(model, x[:3], x[3:], params=params).double()
    assert float((by_two - wanted[:3, 3:]).abs().max()) < 1e-4 * float(wanted.abs().max())


def laid_out_by_the_user():
    layers = [nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 3)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return model.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("params", [None, ["1"]])
def test_models_that_are_laid_out_by_pixel(params, frozen):
    torch.manual_seed(0)
    model, x = laid_out_by_the_user().eval(), torch.randn(8, 8, 6, 6)
    model[0].requires_grad_(not frozen)
    x = x.to(memory_format=torch.channels_last)
    exact = copy.deepcopy(model).double().to(memory_format=torch.contiguous_format)
    for of, parameter in exact.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and (params is None or of[0] == "1"))
    wanted = torch_zoo.kernel(exact, x.double().contiguous()).detach()
    found = lzt.ntk(model, x, params=params).double()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    trace = lzt.sketch(model, x, 64, params=params, center=False).trace()
    exact_trace = float(wanted.diagonal(dim1=0, dim2=1).diagonal(dim1=0, dim2=1).sum())
    assert trace.low * 0.5 < exact_trace < trace.high * 1.5


class FunctionalAfter(nn.Module):
    """Group norm by its function, after a convolution that may have no gradient."""

    def __init__(self):
        super().__init__()
        self.convolution, self.read = nn.Conv2d(8, 6, 3), nn.Linear(6, 2)
        self.gains, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x):
        hidden = functional.group_norm(self.convolution(x), 3, self.gains, self.shift)
        return self.read(hidden.relu().mean((2, 3)))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("made", [FunctionalAfter, MODELS["first"]])
def test_every_measurement_of_images_laid_out_by_pixel(made, frozen):
    torch.manual_seed(0)
    model, x = made().eval(), torch.randn(5, 8, 6, 6).to(memory_format=torch.channels_last)
    of = ["gains", "shift"] if made is FunctionalAfter else ["0.weight"]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not (frozen and name.startswith("convolution")))
    exact = copy.deepcopy(model).double()
    for name, parameter in exact.named_parameters():
        parameter.requires_grad_(name in of)
    wanted = torch_zoo.kernel(exact, x.double().contiguous()).detach()
    found = lzt.ntk(model, x, params=of).double()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())
    lzt.sketch(model, x, 3, params=of)
    lzt.explain_ntk(model, x, params=of)
    outputs = model(x).detach()
    torch.testing.assert_close(lzt.linearize(model)(x), outputs, rtol=1e-4, atol=1e-5)
    scaled = lzt.scale_output(model, 2.0, center=False)
    torch.testing.assert_close(scaled(x).detach(), 2 * outputs, rtol=1e-4, atol=1e-5)
    scaled(x).square().sum().backward()
