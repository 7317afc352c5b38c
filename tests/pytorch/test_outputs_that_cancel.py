"""Oracle: explicit float64 Jacobians, and that α[f(θ) − f(θ₀)] has α² times the kernel of f.

Outputs that are zero at the start, by a symmetry of the parameters or by subtraction, are the
usual start of lazy training; all that is left of them is rounding.
"""

import copy

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

DTYPES = [torch.float32, torch.float64]


class Doubled(nn.Module):
    """Two copies of each hidden unit, with read-outs of opposite signs, and something on top."""

    def __init__(self, run=lambda f: f, activation=torch.tanh):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(8, 64), nn.Linear(64, 2, bias=False)
        self.run, self.activation = run, activation
        with torch.no_grad():
            self.first.weight[32:] = self.first.weight[:32]
            self.first.bias[32:] = self.first.bias[:32]
            self.last.weight[:, 32:] = -self.last.weight[:, :32]

    def forward(self, x):
        return self.run(self.last(self.activation(self.first(x))))


@pytest.mark.parametrize("n", [2, 5, 33])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [torch.tanh, torch.relu])
def test_networks_of_units_with_opposite_signs(activation, dtype, n):
    model = Doubled(activation=activation).to(dtype)
    x = torch.randn(n, 8, dtype=dtype)
    wanted = torch_zoo.kernel(copy.deepcopy(model).double(), x.double()).detach()
    tolerance = {
        "rtol": 0,
        "atol": float(wanted.abs().max()) * (1e-12 if dtype.itemsize == 8 else 1e-5),
    }
    for found in (
        lzt.ntk(model, x),
        lzt.ntk(model, x, memory=200_000),
        lzt.ntk(lzt.linearize(model), x),
    ):
        torch.testing.assert_close(found.double(), wanted, **tolerance)
    lzt.explain_ntk(model, x)
    lzt.sketch(model, x, 4)


MIXED = {
    "a mean": lambda f: f + f.mean(0),
    "a number of rows": lambda f: f + len(f),
    "a place": lambda f: f + torch.arange(len(f))[:, None],
    "gradients by number": lambda f: f * (1 + 0 * len(f)) + (len(f) - 1) * (f - f.detach()),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MIXED)
def test_rows_that_are_mixed_are_refused_all_the_same(name, dtype):
    model = Doubled(MIXED[name]).to(dtype)
    with pytest.raises(lzt.InputError, match="no tangent kernel of a row"):
        lzt.ntk(model, torch.randn(9, 8, dtype=dtype))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer, self.last = kind(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.layer(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.layers(x).mean(1))


STARTS = {
    "RNN": lambda: Recurrent(nn.RNN),
    "GRU": lambda: Recurrent(nn.GRU),
    "LSTM": lambda: Recurrent(nn.LSTM),
    "encoder in training mode": Attention,
    "encoder": lambda: Attention().eval(),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STARTS)
def test_scaled_networks_at_their_start(name, dtype):
    for seed in range(2):
        torch.manual_seed(seed)
        model, x = STARTS[name]().to(dtype), torch.randn(5, 6, 4).to(dtype)
        scaled = lzt.scale_output(model, 10.0)
        found, wanted = lzt.ntk(scaled, x), 100 * lzt.ntk(model, x)
        size = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=0, atol=size * 1e2 * torch.finfo(dtype).eps)
        linear = lzt.linearize(scaled)
        with torch.no_grad():
            for p in linear.parameters():
                if p.requires_grad:
                    p += 0.01
        assert bool(linear(x).isfinite().all())
        lzt.sketch(scaled, x, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_recurrent_linearized_networks_after_a_call(name, dtype):
    """A functional call leaves the tensors of its transformation in a recurrent layer's list."""
    torch.manual_seed(0)
    model, x = STARTS[name]().to(dtype), torch.randn(5, 6, 4).to(dtype)
    linear = lzt.linearize(model)
    before = linear(x)
    torch.testing.assert_close(before, model(x))
    layer = linear.initial.layer
    assert all(
        one is getattr(layer, of)
        for one, of in zip(layer._flat_weights, layer._flat_weights_names, strict=True)
    )
    torch.testing.assert_close(copy.deepcopy(linear)(x), before)
    found, wanted = lzt.ntk(linear, x), lzt.ntk(model, x)
    atol = 1e3 * torch.finfo(dtype).eps * float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)
