"""Oracle: explicit float64 Jacobians, one backward pass for each row and output.

Where the rows stand among the values of an operation is seen by which of them grow with the
number of rows. What has as many entries as there are rows, and does not grow with them, and what
grows without being of the rows, must not be taken for them.
"""

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

WIDTH = 3
# Number of rows of each call, kept where it is not put back.
CALLS = []


class Positions(nn.Module):
    """A table of positions, read in one way or another, beside a layer."""

    def __init__(self, n_positions, read):
        super().__init__()
        self.table = nn.Embedding(n_positions, WIDTH)
        self.first, self.last = nn.Linear(2, WIDTH), nn.Linear(WIDTH, 2)
        self.read = read

    def forward(self, x):
        CALLS.append(len(x))
        return self.last(torch.tanh(self.first(x) + self.read(self.table, x)).sum(1))


def each(x):
    return torch.arange(x.shape[1])


READ = {
    "once for all rows": lambda table, x: table(each(x)[None]),
    "without an axis of rows": lambda table, x: table(each(x)),
    "for each row": lambda table, x: table(each(x).expand(len(x), -1)),
    "all positions after each other": lambda table, x: table(each(x).repeat(len(x))).unflatten(
        0, (len(x), -1)
    ),
    "expanded afterwards": lambda table, x: table(each(x)).expand(len(x), -1, -1),
    "by a product with ones": lambda table, x: (
        x.new_ones(len(x), 1, 1)
        * (x.new_ones(len(x), x.shape[1], table.weight.shape[0]) @ table.weight)
    ),
    "from the parameter": lambda table, x: table.weight[: x.shape[1]],
}

# Of the others something holds an entry for each row that is not computed from the rows.
ONCE = {"once for all rows", "without an axis of rows", "expanded afterwards", "from the parameter"}


@pytest.mark.parametrize("n_positions", [2, 6])
@pytest.mark.parametrize("read", READ)
def test_tables_of_positions(read, n_positions):
    torch.manual_seed(0)
    model = Positions(n_positions, READ[read]).double()
    x = torch.randn(6, n_positions, 2, dtype=torch.float64)
    wanted = torch_zoo.kernel(model, x).detach()
    torch.testing.assert_close(lzt.ntk(model, x), wanted, rtol=1e-10, atol=1e-12)
    for n in (1, 2, 3):
        other = lzt.ntk(model, x[:n], x[3 - n :])
        torch.testing.assert_close(other, wanted[:n, 3 - n :], rtol=1e-10, atol=1e-12)
        blocks = lzt.ntk(model, x[:n], x[3 - n :], memory=8000)
        torch.testing.assert_close(blocks, wanted[:n, 3 - n :], rtol=1e-10, atol=1e-12)
    CALLS.clear()
    lzt.ntk(model, x)
    if read in ONCE:
        assert CALLS == [2, 6, 1]  # two rows, all rows, and one of them alone: none is run again
