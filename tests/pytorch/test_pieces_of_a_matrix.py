"""Oracle: explicit float64 Jacobians; pieces of any size give the same.

Gradients of rows and outputs are formed for some rows and columns of a matrix at a time, so that
a temporary stays in the cache.
"""

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch import _total  # noqa: E402


class Sequence(nn.Module):
    """Layers at every position, one of them twice, and a table that is read and multiplied."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.twice = nn.Linear(5, 70), nn.Linear(70, 70, bias=False)
        self.table, self.last = nn.Embedding(3, 70), nn.Linear(70, 40)
        self.convolution, self.read = nn.Conv1d(40, 33, 3), nn.Linear(33, 2)

    def forward(self, x):
        h = torch.tanh(self.first(x) + self.table(torch.arange(x.shape[1]) % 3))
        h = torch.tanh(self.twice(torch.tanh(self.twice(h))))
        h = self.last(h * torch.softmax(h @ self.table.weight.T, -1).amax(-1, keepdim=True))
        return self.read(torch.tanh(self.convolution(h.transpose(1, 2))).square().mean(2))


class BothWays(nn.Module):
    """A matrix that is multiplied from both sides."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(64, 48) / 8)

    def forward(self, x):
        return nn.functional.linear(torch.tanh(x @ self.matrix), self.matrix).mean(1)[:, :40]


@pytest.mark.parametrize("most", [1, 1000, 7000, 30_000, 1 << 20])
@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize(("made", "shape"), [(Sequence, (6, 9, 5)), (BothWays, (10, 16, 64))])
def test_pieces_of_any_size(monkeypatch, made, shape, traced, most):
    monkeypatch.setitem(_total._MOST_ENTRIES, "cpu", most)
    model, x = made().double(), torch.randn(*shape, dtype=torch.float64)
    wanted = torch_zoo.kernel(model, x).detach()
    wanted = wanted.diagonal(dim1=2, dim2=3).sum(2) if traced else wanted
    found = lzt.ntk(model, x, trace_outputs=traced)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    other = lzt.ntk(model, x[:4], x[3:], trace_outputs=traced)
    torch.testing.assert_close(other, wanted[:4, 3:], rtol=1e-10, atol=1e-12)


class Squares(nn.Module):
    def forward(self, h):
        return h.square().mean(1)[:, :40]


def test_pieces_are_formed_at_the_full_rate(monkeypatch):
    """None is narrower than what a product needs to be quick, or than the matrix."""
    sizes = []
    plain = _total.Total.add_gradients

    def noted(total, left, right):
        sizes.append(left.shape[2])
        plain(total, left, right)

    monkeypatch.setattr(_total.Total, "add_gradients", noted)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 192), nn.Tanh(), nn.Linear(192, 64), Squares())
    x = torch.randn(48, 20, 64)
    lzt.ntk(model, x, trace_outputs=True)
    matrices = [size for size in sizes if size not in (64, 192)]  # those are biases
    assert matrices
    assert sum(matrices) % (64 * 192) == 0
    assert min(matrices) >= 32 * 32
