"""Oracle: explicit float64 Jacobians, one backward pass for each row and output.

One parameter used twice, in all pairs of ways: as it is, transposed, as a row of a sum, as a
table, through other operations, through complex numbers.
"""

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


def complex_product(h, p):
    return (h.to(torch.complex128) @ torch.complex(p, p.T)).abs()


USES = {
    "product": lambda h, p: h @ p,
    "layer": lambda h, p: functional.linear(h, p),
    "layer transposed": lambda h, p: functional.linear(h, p.t()),
    "layer with a column": lambda h, p: functional.linear(h, p, p[:, 1]),
    "row": lambda h, p: h + p[0],
    "gains": lambda h, p: h * p.t()[1],
    "scaled": lambda h, p: functional.linear(h, 2 * p),
    "squared": lambda h, p: functional.linear(h, p.t() @ p),
    "table": lambda h, p: h + functional.embedding((h[:, 0] > 0).long(), p),
    "table transposed": lambda h, p: h + p.t()[(h[:, 1] > 0).long()],
    "convolution": lambda h, p: functional.conv1d(h[:, None], p[:1, None, :3], padding=1)[:, 0],
    "added product": lambda h, p: torch.addmm(p[0], h, p, beta=0.5, alpha=2.0),
    "complex": complex_product,
    "complex sum": lambda h, p: torch.view_as_real(h + 1j * p[0]).prod(-1),
    "not followed": lambda h, p: torch.cdist(h, p),
}


class Used(nn.Module):
    def __init__(self, *uses):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.p = nn.Parameter(torch.randn(4, 4, generator=generator, dtype=torch.float64) / 2)
        self.uses = uses

    def forward(self, h):
        for use in self.uses:
            h = torch.tanh(use(h, self.p))
        return h


@pytest.mark.parametrize("first", USES)
def test_a_parameter_that_is_used_twice(first):
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for second in USES:
        model = Used(USES[first], USES[second])
        wanted = torch_zoo.kernel(model, x).detach()
        found = lzt.ntk(model, x)
        assert float((found - wanted).abs().max()) < 1e-11 * float(wanted.abs().max()), second


def test_all_ways_through_a_parameter_are_tried():
    # So that the pairs above mean something: products, sums and what is not followed.
    x = torch.ones(3, 4, dtype=torch.float64)
    kinds = {name: lzt.explain_ntk(Used(use), x)["p"].kind for name, use in USES.items()}
    assert set(kinds.values()) >= {"gradients", "jacobian"}
    assert kinds["complex"] == kinds["not followed"] == "jacobian"


# --- rows that the model moves or sends on by their values --------------------------------


class Experts(nn.Module):
    """Each row goes to one of some layers."""

    def __init__(self, put):
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.ModuleList([nn.Linear(4, 2) for _ in range(3)])
        self.put = put
        self.double()

    def forward(self, x):
        chosen = (x[:, 0] > 0).long() + (x[:, 0] > 1).long()
        made = torch.zeros(len(x), 2, dtype=x.dtype)
        for k, expert in enumerate(self.experts):
            rows = (chosen == k).nonzero()[:, 0]
            made = self.put(made, rows, torch.tanh(expert(x[rows])))
        return made


class Moved(nn.Module):
    """A layer on the rows in another order, which is undone after it."""

    def __init__(self, order):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.order = nn.Linear(4, 3), order
        self.double()

    def forward(self, x):
        order = self.order(x)
        if order is None:
            return torch.tanh(self.inner(x))
        return torch.tanh(self.inner(x[order]))[order.argsort()]


MOVING = {
    "experts, added": lambda: Experts(lambda made, rows, part: made.index_add(0, rows, part)),
    "experts, put": lambda: Experts(lambda made, rows, part: made.index_put((rows,), part)),
    "sorted": lambda: Moved(lambda x: x[:, 1].argsort()),
    "rolled": lambda: Moved(lambda x: torch.arange(len(x)).roll(2)),
    # Nothing moves among the few rows whose operations are read.
    "rolled if many": lambda: Moved(lambda x: torch.arange(16).roll(2) if len(x) == 16 else None),
}


@pytest.mark.parametrize("n", [5, 16])
@pytest.mark.parametrize("name", MOVING)
def test_rows_that_are_moved_inside(name, n):
    # The first two rows, on which a plan is made, go one way; the others go others.
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x[0], x[1] = -x[0].abs(), x[0].abs() * torch.tensor([-2.0, 1.0, 1.0, 1.0])
    model = MOVING[name]().eval()
    wanted = torch_zoo.kernel(model, x).detach()
    for memory in (None, 100_000):
        found = lzt.ntk(model, x, memory=memory)
        assert float((found - wanted).abs().max()) < 1e-12 * float(wanted.abs().max())
