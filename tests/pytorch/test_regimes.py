"""Oracle: networks that are exactly lazy, and the Jacobian of whole models, row by row."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.diagnosis import Settings  # noqa: E402

ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.GELU)


def network(seed):
    """An MLP or a CNN, its depth, width and outputs by the seed."""
    torch.manual_seed(seed)
    width, c, activation = 4 + seed % 30, 1 + seed % 3, ACTIVATIONS[seed % 3]
    if seed % 4 == 3:
        return nn.Sequential(
            nn.Unflatten(1, (1, 6)),
            nn.Conv1d(1, width, 3),
            activation(),
            nn.Flatten(),
            nn.Linear(4 * width, c),
        )
    hidden = [nn.Linear(width, width), activation()] * (seed % 2)
    return nn.Sequential(nn.Linear(6, width), activation(), *hidden, nn.Linear(width, c))


def is_lazy(seed):
    """Whether the linearized network is called lazy after it has been trained."""
    model = lzt.linearize(network(seed))
    x = torch.randn(24, 6)
    y = torch.randn(24, 1 + seed % 3)
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(40):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    kernel = "exact" if seed % 2 else "sketch"
    found = lzt.diagnose(model, before=start, x=x, y=y, settings=Settings(8, kernel))
    return found.regime == "lazy"


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_linearized_network_is_lazy(seed):
    assert is_lazy(seed)


@pytest.mark.slow
def test_linearized_networks_are_lazy_in_100_of_100():
    assert [seed for seed in range(100) if not is_lazy(seed)] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("resnet", "lstm") else pytest.mark.slow)
        for name in torch_zoo.zoo()
        if name not in ("one row", "convolutions 3d")  # of which there are fewer than four rows
    ],
)
def test_every_model_has_its_gap(name):
    model, x = torch_zoo.made(name)
    start = copy.deepcopy(model.state_dict())
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    f0 = value(model, x)
    rows = [
        torch.autograd.grad(one, list(parameters.values()), retain_graph=True, allow_unused=True)
        for one in f0.reshape(-1)
    ]
    generator = torch.Generator().manual_seed(0)
    moves = {
        n: 0.05 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        for n, p in parameters.items()
    }
    slope = [
        sum(float((g * m).sum()) for g, m in zip(row, moves.values(), strict=True) if g is not None)
        for row in rows
    ]
    with torch.no_grad():
        for n, p in parameters.items():
            p += moves[n].to(p)
    f = value(model, x)
    change = (f - f0).detach().reshape(-1).double().numpy()
    wanted = np.linalg.norm(change - np.array(slope)) / np.linalg.norm(change)
    settings = Settings(4, "sketch")
    readings = lzt.diagnose(model, before=start, x=x, settings=settings).readings
    found = readings["linearization_gap"]
    assert found.value == pytest.approx(wanted, rel=2e-2, abs=1e-3)


def value(model, x):
    """Outputs (n, c) with their graph."""
    made = model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple) else model(x)
    return made if made.ndim == 2 else made[:, None]


def test_the_linearized_network_at_its_start_has_features_of_a_dual_number():
    model = lzt.linearize(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)))
    found = lzt.diagnose(model, before=copy.deepcopy(model), x=torch.randn(6, 3))
    assert "identical" in found.reason


@pytest.mark.parametrize("alpha", [1.0, 1e4])
def test_outputs_that_are_rounding_alone_are_no_mixed_rows(alpha):
    # Attention takes a fused path without gradients, so a centred one starts near zero, not at it.
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
    model = lzt.scale_output(nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 1)), alpha)
    start = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for p in model.parameters():
            p += 1e-3 / alpha * torch.randn_like(p)
    x = torch.randn(8, 3, 8)
    for kernel in ("exact", "sketch"):
        found = lzt.diagnose(model, before=start, x=x, settings=Settings(8, kernel))
        assert found.regime == "lazy"
