"""Oracle: a model in which any one row depends on any other is refused, of any length."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_random  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch._graph import Graph  # noqa: E402
from lazyrich.torch._plan import Operations  # noqa: E402
from lazyrich.torch._row_axis import observed  # noqa: E402

N = 20
X = torch.randn(N, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class With(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(8, 8).double(), function

    def forward(self, x):
        return self.function(torch.tanh(self.layer(x)))[:, :2]


def from_row(here, there):
    """One row, known by its values, has something of another one."""

    def function(h):
        is_here, is_there = ((h - mark).norm(dim=1) < 1e-6 for mark in marks)
        return h + is_here[:, None] * (is_there[:, None] * h).sum(0)

    with torch.no_grad():
        hidden = torch.tanh(With(None).layer(X))
    marks = hidden[here], hidden[there]
    return function


@pytest.mark.parametrize("here", [0, 7, 13])
def test_one_row_that_depends_on_another_one(here):
    for there in set(range(N)) - {here}:
        with pytest.raises(lzt.InputError, match="depends on the other rows"):
            lzt.ntk(With(from_row(here, there)), X)


PLACES = torch.randn(N, 8, 8, dtype=torch.float64)
MIXING = {
    "mean": lambda h: h - h.mean(0),
    "all": lambda h: h - h.mean(),
    "sum of all": lambda h: h * h.sum(),
    "next row": lambda h: h.roll(1, 0),
    "reversed": lambda h: h.flip(0),
    "softmax": lambda h: h.softmax(0),
    "sorted": lambda h: h.sort(0)[0],
    "cumulated": lambda h: h.cumsum(0),
    "gram": lambda h: h @ h.T @ h,
    "first row": lambda h: h + h[:1],
    "batch norm": lambda h: functional.batch_norm(h, None, None, training=True),
    "layer norm over rows": lambda h: functional.layer_norm(h.T, (len(h),)).T,
    "attention over rows": lambda h: functional.scaled_dot_product_attention(*3 * [h[None]])[0],
    "convolution over rows": lambda h: (
        functional.conv1d(h.T[:, None], torch.ones(1, 1, 3, dtype=h.dtype), padding=1)[:, 0].T
    ),
    "pool over rows": lambda h: functional.avg_pool1d(h.T, 3, 1, 1).T,
    "another layout": lambda h: h.T.reshape(h.shape),
    "maximum": lambda h: h - h.max(0)[0],
    "in place": lambda h: torch.zeros_like(h).add_(h.mean(0)) + h,
    "into a view": lambda h: (lambda z: (z.T.copy_(h.T.flip(1)), z)[1] + h)(torch.zeros_like(h)),
    "asked": lambda h: h * (2.0 if h.mean() > 0 else 1.0),
    "one row": lambda h: h * float(h[0, 0].detach()),
    "distances": lambda h: torch.cdist(h, h)[:, :2] + h[:, :2],
    "outer": lambda h: (h[:, None] * h[None]).sum(1),
    "looked up": lambda h: h[h[:, 0].argsort()],
    "norm of all": lambda h: h / h.norm(),
    "normalised over rows": lambda h: functional.normalize(h, dim=0),
    "merged": lambda h: h.reshape(-1, 2).softmax(0).reshape(h.shape),
    "per place, in a product": lambda h: torch.bmm(h[:, None], PLACES[: len(h)])[:, 0],
    "per place, added": lambda h: torch.addmm(PLACES[: len(h), 0], h, PLACES[0]),
    "per place, beside": lambda h: torch.cat([h, PLACES[: len(h), 0]], 1),
    "per place, multiplied": lambda h: h * PLACES[: len(h), 0],
    "diagonal": lambda h: h[:, :5].T @ h @ torch.ones(8, 8, dtype=h.dtype) + h[:5],
}


@pytest.mark.parametrize("name", MIXING)
def test_operations_that_mix_are_not_taken_to_keep_rows(name):
    model = With(MIXING[name])
    for few in (X[:5],) if name == "diagonal" else (X[:5], X[:2]):  # of five rows alone
        _, are_apart = observed(lambda: model(few), [few])  # noqa: B023
        assert not are_apart
        with torch.no_grad():
            assert not observed(lambda: model(few), [few])[1]  # noqa: B023


SHOWN = [
    "linear", "linear on places", "conv1d grouped", "conv2d", "layer norm", "group norm",
    "batch norm", "embedding", "sliced", "view", "where", "gathered",
]  # fmt: skip


def test_usual_layers_are_shown_to_keep_rows():
    for name in SHOWN:
        model = torch_random.RandomModule(0, [name])
        assert observed(lambda: model(X), [X])[1], name  # noqa: B023
        with torch.no_grad():
            assert observed(lambda: model(X), [X])[1], name  # noqa: B023


def test_attention_without_dropout_is_not_random():
    class Attention(nn.Module):
        def __init__(self, dropout):
            super().__init__()
            self.layer, self.dropout = nn.Linear(4, 12), dropout

        def forward(self, x):
            q, k, v = self.layer(x[:, None]).chunk(3, -1)
            return functional.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)[:, 0, 0]

    x = torch.randn(6, 5, 4)
    for dropout in (0.0, 0.5):
        model = Attention(dropout)
        assert observed(lambda: model(x), [x])[1] == (dropout == 0)  # noqa: B023


LEAVING = {
    "number": lambda h: float(h.detach().max()),
    "array": lambda h: h.detach().numpy().max(),
    "list": lambda h: max(map(max, h.tolist())),
    "as an array": lambda h: np.asarray(h.detach()).max(),
    "elsewhere": lambda h: np.from_dlpack(h.detach()).max(),
}


@pytest.mark.parametrize("name", LEAVING)
def test_rows_that_leave_pytorch_are_not_taken_to_be_kept(name):
    assert not observed(lambda: X * float(LEAVING[name](X)), [X])[1]


def test_rows_that_are_written_across_another_value():
    square = X[:8]

    def call():
        made = torch.zeros(8, 8, dtype=torch.float64)
        torch.add(square, 1, out=made.T)  # a row of these is a column of the other
        return square * made.sum(1)[:, None]

    assert not observed(call, [square])[1]


def test_what_is_not_made_of_the_rows_is_not_taken_for_them():
    assert not observed(lambda: torch.ones(len(X), 2), [X])[1]


def test_rows_that_are_mixed_only_where_there_are_many():
    for n, mix in ((12, lambda h: h - h.mean(0)), (40, lambda h: h + h.mean(0, True))):
        model = With(lambda h, n=n, mix=mix: mix(h) if len(h) >= n else h)
        x = torch.randn(n, X.shape[1], dtype=torch.float64)
        with pytest.raises(lzt.InputError, match="depends on the other rows"):
            lzt.ntk(model, x)


@pytest.mark.parametrize("n", [2, 20])
def test_outputs_that_depend_on_the_number_of_rows(n):
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(With(lambda h: h / len(h)), X[:n])
    hidden = With(lambda h: hidden.gate * h / len(h))
    hidden.gate = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    with pytest.raises(lzt.InputError, match="gradient for one row depends on the other rows"):
        lzt.ntk(hidden, X[:n])


def test_operations_are_compared_up_to_the_number_of_rows():
    # The sizes of everything but the rows have to agree, and the order of operations.
    layer = torch.nn.Linear(4, 4)

    def operations(n, then, width=4):
        h = layer(torch.ones(n, 4))[:, :width]
        return Operations.of(Graph(then(h)), n)

    few = operations(2, torch.tanh)
    assert few.is_same(operations(7, torch.tanh))
    assert not few.is_same(operations(7, torch.sigmoid))
    assert not few.is_same(operations(7, torch.tanh, 3))
    assert not few.is_same(operations(7, lambda h: torch.tanh(torch.tanh(h))))
    assert not operations(2, lambda h: h.T.tanh()).is_same(operations(7, lambda h: h.T.tanh()))


@pytest.mark.parametrize("name", ["longest", "any", "largest"])
def test_what_a_few_rows_share_with_all_of_them(name):
    """Of 60 rows a third are the longest, so most groups of eight hold one."""
    lengths = 3 + torch.arange(60) % 3
    functions = {
        "longest": lambda h, n: h[:, : int(n.max())].mean(1),
        "any": lambda h, n: h[:, 0] * (2.0 if (n == 5).any() else 1.0),
        "largest": lambda h, n: h[:, 0] / n.max(),
    }

    class Texts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 2).double()

        def forward(self, x, n):
            return functions[name](self.layer(x), n)

    x = torch.randn(60, 5, 8, dtype=torch.float64)
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(Texts(), (x, lengths), trace_outputs=True)


def backward_by(change):
    """The identity, with another backward pass."""

    class Changed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            return h.clone()

        @staticmethod
        def backward(ctx, g):
            return change(g)

    return Changed.apply


OF_GRADIENTS = {
    "a sum without a value": (lambda h: h + h.sum() - h.sum().detach(), False),
    "a mean without a value": (lambda h: h - h.mean(0) + h.mean(0).detach(), False),
    "normalized": (backward_by(lambda g: g / g.norm()), False),
    "normalized by row": (backward_by(lambda g: g / (g.norm(dim=1, keepdim=True) + 0.1)), False),
    "centred": (backward_by(lambda g: g - g.mean(0)), False),
    "clipped": (backward_by(lambda g: g.clamp(-0.1, 0.1)), False),
    "signs": (backward_by(torch.sign), False),
    "reversed": (backward_by(torch.neg), True),
    "halved": (backward_by(lambda g: g / 2), True),
    "the identity": (backward_by(lambda g: g), True),
}


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_gradients_that_mix_rows_or_are_not_linear(name):
    """No output shows it; a linear change of each row's own gradient has a kernel."""
    function, is_sound = OF_GRADIENTS[name]
    model = With(function)
    for call in (lambda: lzt.ntk(model, X), lambda: lzt.sketch(model, X, 3)):
        if is_sound:
            call()
        else:
            with pytest.raises(lzt.InputError, match="not the sum of those of the rows"):
                call()


def test_a_hook_that_clips_a_gradient():
    model = With(lambda h: h)
    model.layer.weight.register_hook(lambda g: g.clamp(-0.01, 0.01))
    with pytest.raises(lzt.InputError, match="not the sum of those of the rows"):
        lzt.ntk(model, X)


@pytest.mark.parametrize(
    ("strides", "is_kept"), [((3, 1, 3, 3), True), ((3, 1, 1, 1), True), ((1, 4, 1, 1), False)]
)
def test_memory_described_in_another_way_keeps_rows_if_they_stay_where_they_are(strides, is_kept):
    x = torch.randn(4, 3, 1, 1)
    made, are_apart = observed(lambda: (2 * x).as_strided_((4, 3, 1, 1), strides), [x])
    assert are_apart == is_kept
    assert torch.equal(made, 2 * x) == is_kept
