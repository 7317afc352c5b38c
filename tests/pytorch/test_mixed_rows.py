"""Oracle: a model in which any one row depends on any other is refused, of any length."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_random  # noqa: E402
from oracles.torch_zoo import backward_by  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch._row_axis import watched  # noqa: E402

N = 20
X = torch.randn(N, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def observed(call, inputs, constants=()):
    """What a call returns, and whether it was seen to keep rows apart."""
    made, reading = watched(call, inputs, constants)
    return made, reading.keeps_apart(made)


class With(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(8, 8).double(), function

    def forward(self, x):
        return self.function(torch.tanh(self.layer(x)))[:, :2]


def is_kept_apart(model, x):
    return observed(lambda: model(x), [x], [*model.parameters(), *model.buffers()])[1]


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


def by_all(normalized, h, **given):
    """Normalized along a first axis as long as the rows, with a gain or a shift of each row."""
    wide = functional.pad(h, (0, len(h)))[:, : len(h)]
    return normalized(wide, (len(h),), **given) @ torch.ones(len(h), 8, dtype=h.dtype)


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
    "gain of another row": lambda h: by_all(functional.layer_norm, h, weight=h.sum(1)),
    "shift of another row": lambda h: by_all(functional.layer_norm, h, bias=h.sum(1)),
    "groups of rows": lambda h: torch.native_group_norm(h, None, None, 1, len(h), 8, 1, 1e-5)[0],
    "added along another axis": lambda h: (
        torch.baddbmm(h.sum(1), h[:, :, None], torch.ones(len(h), 1, len(h), dtype=h.dtype))[:, 0]
        @ torch.ones(len(h), 8, dtype=h.dtype)
    ),
    "one row scattered": lambda h: h.scatter(1, torch.zeros(1, 3, dtype=torch.long), 5.0),
    "scattered into more rows": lambda h: (
        (
            torch.zeros(1, 8, dtype=h.dtype).expand(2 * len(h), 8).scatter(1, (h > 0).long(), 1.0)
        ).view(len(h), 16)[:, :8]
        * h
    ),
    "diagonal": lambda h: h[:, :5].T @ h @ torch.ones(8, 8, dtype=h.dtype) + h[:5],
}


@pytest.mark.parametrize("name", MIXING)
def test_operations_that_mix_are_not_taken_to_keep_rows(name):
    model = With(MIXING[name])
    for few in (X[:5],) if name == "diagonal" else (X[:5], X[:2]):  # of five rows alone
        assert not is_kept_apart(model, few)
        with torch.no_grad():
            assert not is_kept_apart(model, few)


SHOWN = [
    "linear", "linear on places", "conv1d grouped", "conv2d", "layer norm", "group norm",
    "batch norm", "embedding", "sliced", "view", "where", "gathered",
]  # fmt: skip


def test_usual_layers_are_shown_to_keep_rows():
    for name in SHOWN:
        model = torch_random.RandomModule(0, [name])
        assert is_kept_apart(model, X), name
        with torch.no_grad():
            assert is_kept_apart(model, X), name


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
        assert is_kept_apart(model, x) == (dropout == 0)


LEAVING = {
    "number": lambda h: float(h.detach().max()),
    "array": lambda h: h.detach().numpy().max(),
    "list": lambda h: max(map(max, h.tolist())),
    "as an array": lambda h: np.asarray(h.detach()).max(),
    "elsewhere": lambda h: np.from_dlpack(h.detach()).max(),
    "number by number": lambda h: largest(h.detach()),
    "memory": lambda h: h.untyped_storage().data_ptr() and 1.0,
    "pickled": lambda h: pickle.loads(pickle.dumps(h.detach())).max(),
    "capsule": lambda h: torch.from_dlpack(torch.utils.dlpack.to_dlpack(h.detach())).max(),
    "thread": lambda h: in_a_thread(lambda: h.max(0)[0])[0],
}


def largest(h):
    seen = []
    h.clone().apply_(lambda one: seen.append(one) or one)
    return max(seen)


def in_a_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize("name", LEAVING)
def test_rows_that_leave_pytorch_are_not_taken_to_be_kept(name):
    assert not observed(lambda: X * LEAVING[name](X), [X])[1]


def places(h, width=8):
    return torch.arange(len(h), dtype=h.dtype)[:, None].expand(-1, width)


EYE = torch.eye(8, dtype=X.dtype)
BY_PLACE = {
    "joined": lambda h: torch.cat([places(h, 1), h], 1),
    "stacked": lambda h: torch.stack([h, places(h)], 2).prod(2),
    "gathered": lambda h: h.gather(1, (places(h).long() + torch.arange(8)) % 8),
    "scattered": lambda h: h.scatter(1, places(h, 1).long() % 8, 9.0),
    "added to a product": lambda h: torch.addmm(places(h), h, torch.eye(8, dtype=h.dtype)),
    "batched product": lambda h: (h[:, None] @ (places(h)[:, None] * EYE))[:, 0],
    "mask": lambda h: functional.scaled_dot_product_attention(
        *3 * [h.view(-1, 1, 4, 2)], attn_mask=places(h, 4)[:, None, None] * torch.arange(4.0)
    ).flatten(1),
    "written elsewhere": lambda h: h + written_elsewhere(h),
}


def written_elsewhere(h):
    room = torch.zeros(2 * h.numel(), dtype=h.dtype)
    torch.mul(h.detach(), 1, out=room[8 : 8 + h.numel()].view(h.shape))
    return room.view(len(h), -1)[:, :8]


@pytest.mark.parametrize("name", BY_PLACE)
def test_outputs_that_depend_on_the_place_of_a_row(name):
    model = With(BY_PLACE[name])
    with torch.no_grad():
        assert not is_kept_apart(model, X[:6])
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(model, X[:6])


def test_zeros_that_are_made_like_a_row_are_not_taken_from_it():
    class Cached(With):
        cache: dict = {}  # noqa: RUF012

        def forward(self, x):
            zeros = self.cache.setdefault("zeros", x.new_zeros(8))
            return super().forward(x + zeros)

    lzt.ntk(Cached(lambda h: h), X)
    x = X.clone()
    assert observed(lambda: x * x.new_ones(8), [x])[1]


def test_what_is_the_same_for_all_rows_keeps_them_apart():
    token = nn.Parameter(torch.ones(1, 1, 4))
    made = [token]
    _, are_apart = observed(
        lambda: torch.cat([token.expand(6, -1, -1), torch.tanh(made[0] * XS)], 1), [XS], made
    )
    assert are_apart


XS = torch.randn(6, 3, 4)


def test_a_value_without_entries_hides_nothing():
    nothing = torch.tensor([])  # such as the start of a list of keys and values
    assert observed(lambda: torch.cat([nothing.expand(6, 3, 0), XS], 2) + nothing.sum(), [XS])[1]


def add_former(g):
    return g + torch.cat([torch.zeros_like(g[:1]), g[:-1]])


def with_hook_of_an_operation(h):
    if h.grad_fn is not None:
        h.grad_fn.register_prehook(lambda g: (add_former(g[0]),))
    return h * 1


def with_saved_values_changed(h):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, add_former):
        return torch.tanh(h)


def with_hook_of_a_weight(h):
    weight = torch.eye(8, dtype=h.dtype, requires_grad=True) * 1
    weight.register_hook(lambda g: g.clamp(-0.1, 0.1))
    return h @ weight


@pytest.mark.parametrize(
    "function", [with_hook_of_an_operation, with_saved_values_changed, with_hook_of_a_weight]
)
def test_backward_passes_that_are_changed_are_not_taken_to_keep_rows(function):
    assert not is_kept_apart(With(function), X)
    if function is not with_hook_of_a_weight:
        for measure in (lzt.ntk, lzt.sketch):
            with pytest.raises(lzt.InputError, match="not the sum of those of the rows"):
                measure(With(function), X)


ELSEWHERE = {}


class FirstBatch(With):
    """Takes a shift from the rows of its first call, as an activation norm does."""

    mean: torch.Tensor
    done: torch.Tensor

    def __init__(self, kind):
        super().__init__(self.shifted)
        self.kind, self.kept, self.shift, self.state = kind, None, None, {}
        self.place, self.lists = SimpleNamespace(mean=None), [{}]
        ELSEWHERE.clear()
        self.register_buffer("done", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(8, dtype=X.dtype))
        self.gain = nn.Parameter(torch.ones(8, dtype=X.dtype))

    def shifted(self, h):
        mean = h.detach().mean(0)
        if self.kind == "attribute":
            self.shift = mean if self.shift is None else self.shift
            return h - self.shift
        if self.kind == "dict":
            return h - self.state.setdefault("mean", mean)
        if self.kind == "object":
            self.place.mean = mean * 2 if self.place.mean is None else self.place.mean
            return h - self.place.mean
        if self.kind == "nested":
            return h - self.lists[0].setdefault("mean", mean.exp())
        if self.kind == "global":
            return h - ELSEWHERE.setdefault("mean", mean)
        if self.kind == "number":
            self.shift = (self.shift or 0) + 1
            return h / min(self.shift, 2)
        if not self.done:
            self.done.fill_(True)
            (self.mean if self.kind == "buffer" else self.gain.data).copy_(mean)
        return (h - self.mean) * self.gain


@pytest.mark.parametrize(
    "kind",
    ["attribute", "dict", "number", "buffer", "parameter", "object", "nested", "global"],
)
def test_starting_values_from_the_first_rows(kind):
    for measure in (lzt.ntk, lzt.sketch):
        model = FirstBatch(kind)
        with pytest.raises(lzt.InputError, match="of its first call or on the number of calls"):
            measure(model, X)
        assert not model.done
        assert not model.state
        assert model.shift is None
    model(X)  # in its second call it has its values
    if kind not in ("number", "parameter"):
        model.requires_grad_(True)
        lzt.ntk(model, X, output=lambda out: out[:, :1])


class Merged(nn.Module):
    """Keeps something where no gradient is recorded, as adapters add themselves to weights."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(2, 3))
        self.low, self.high = nn.Parameter(torch.randn(1, 3)), nn.Parameter(torch.randn(2, 1))
        self.kind, self.merged, self.shift = kind, False, None

    def forward(self, x):
        """Two numbers a row."""
        is_used = not torch.is_grad_enabled()
        if self.kind == "parameter" and is_used and not self.merged:
            self.w.add_(self.high @ self.low)
            self.merged = True
        if self.kind == "attribute" and is_used and self.shift is None:
            self.shift = x.mean(0)
        if self.kind == "global" and is_used:
            ELSEWHERE.setdefault("mean", x.mean(0))
        x = x - (ELSEWHERE.get("mean", 0.0) if self.shift is None else self.shift)
        return torch.tanh(x @ (self.w if self.merged else self.w + self.high @ self.low).T)


@pytest.mark.parametrize("kind", ["parameter", "attribute", "global"])
@pytest.mark.parametrize("options", [{}, {"x2": torch.ones(2, 3)}, {"memory": 3000}])
def test_what_a_model_keeps_only_where_no_gradient_is_recorded(kind, options):
    ELSEWHERE.clear()
    model = Merged(kind)
    with pytest.raises(lzt.InputError):
        lzt.ntk(model, torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), **options)
    assert model.shift is None
    assert not model.merged
    ELSEWHERE.clear()


class KeptImages(nn.Module):
    """Subtracts what it makes of the images of its first call."""

    start: torch.Tensor

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.kind, self.shift = nn.Conv2d(2, 3, 3), kind, None
        self.register_buffer("start", torch.zeros(3, 4, 4))

    def forward(self, x):
        """Three numbers a row."""
        hidden = self.conv(x)
        mean = hidden.detach().mean(0)
        n_rows = {"attribute": 1, "attribute of two": 2, "attribute of five": 5}
        if len(x) >= n_rows.get(self.kind, 99) and self.shift is None:
            self.shift = mean
        if self.kind == "attribute of a row" and self.shift is None:
            self.shift = mean[:, :1, :1] if len(x) == 1 else hidden[0, :, :1, :1].detach()
        if self.kind == "buffer" and not self.start.any():
            self.start.copy_(mean)
        ELSEWHERE["calls"] = ELSEWHERE.get("calls", 0) + 1
        is_kept = {
            "elsewhere": True,
            "elsewhere of two": len(x) > 1,
            "elsewhere without gradients": not torch.is_grad_enabled(),
            "elsewhere later": ELSEWHERE["calls"] > 1,
        }
        if is_kept.get(self.kind, False):
            ELSEWHERE.setdefault("mean", mean)
        if self.kind == "parameter":
            with torch.no_grad():
                self.conv.bias.add_(0.1)
        kept = self.start if self.shift is None else self.shift
        return torch.tanh(hidden - ELSEWHERE.get("mean", kept)).flatten(2).sum(2)


@pytest.mark.parametrize("options", [{}, {"x2": torch.ones(2, 2, 6, 6)}, {"memory": 30_000}])
@pytest.mark.parametrize(
    "kind",
    [
        "attribute",
        "attribute of a row",
        "attribute of two",
        "attribute of five",
        "buffer",
        "elsewhere",
        "elsewhere later",
        "elsewhere of two",
        "elsewhere without gradients",
        "nothing",
        "parameter",
    ],
)
def test_images_that_a_first_call_keeps(kind, options):
    ELSEWHERE.clear()
    model, x = KeptImages(kind), torch.randn(6, 2, 6, 6)
    if kind == "nothing":
        lzt.ntk(model, x, **options)
        return
    is_other_without = kind == "elsewhere without gradients"
    said = r"first call|when it is called" + r"|from call to call" * is_other_without
    with pytest.raises(lzt.InputError, match=said):
        lzt.ntk(model, x, **options)
    assert model.shift is None
    assert not model.start.any()
    ELSEWHERE.clear()


def test_images_of_another_size_that_a_first_call_keeps():
    class Sized(KeptImages):
        def forward(self, x):
            if x.shape[-1] != 6 and self.shift is None:
                self.shift = x.mean()
            kept = 0.0 if self.shift is None else self.shift
            return torch.tanh(self.conv(x) - kept).flatten(2).sum(2)

    model = Sized("nothing")
    with pytest.raises(lzt.InputError, match="keeps values when it is called"):
        lzt.ntk(model, torch.randn(6, 2, 6, 6), torch.randn(5, 2, 8, 8))
    assert model.shift is None


class Harmless(nn.Module):
    """Keeps values that no output reads, or rows that it was made with."""

    def __init__(self, kind, x):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(len(x) if kind == "distances" else 3, 2)
        self.kind, self.rows, self.load, self.n_calls = kind, x, torch.zeros(2), 0
        self.register_buffer("nothing", torch.tensor(math.nan).expand(3))

    def forward(self, x):
        """Two numbers a row."""
        if self.kind == "distances":
            return self.layer(torch.exp(-torch.cdist(x, self.rows)))
        out = self.layer(x)
        if self.kind == "average":
            self.load = 0.9 * self.load + 0.1 * out.detach().mean(0)
        if self.kind == "counter":
            self.n_calls += 1
        return out


@pytest.mark.parametrize("kind", ["distances", "average", "counter"])
@pytest.mark.parametrize("options", [{}, {"x2": torch.ones(4, 3)}, {"memory": 5000}])
def test_harmless_values_that_a_model_keeps(kind, options):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    model = Harmless(kind, x)
    found = lzt.ntk(model, x, trace_outputs=True, **options)
    assert model.n_calls == 0
    assert not model.load.any()
    parameters = [*model.parameters()]

    def gradient(row):
        outs = model(row[None])[0]
        of_outputs = [torch.autograd.grad(one, parameters, retain_graph=True) for one in outs]
        return torch.cat([g.flatten() for gradients in of_outputs for g in gradients])

    left, right = (torch.stack([*map(gradient, rows)]) for rows in (x, options.get("x2", x)))
    torch.testing.assert_close(found, left @ right.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("widths", [(4, 2), (2, 4)])
@pytest.mark.parametrize("traced", [False, True])
def test_a_number_of_outputs_that_changes_is_refused(widths, traced):
    counts = iter([widths[0]] + [widths[1]] * 20)
    model = With(lambda h: h)
    model.forward = lambda x: torch.tanh(model.layer(x))[:, : next(counts)]
    with pytest.raises(lzt.InputError, match="outputs"):
        lzt.ntk(model, X, trace_outputs=traced)


class FirstImages(nn.Module):
    """Takes a shift from the images of its first call."""

    def __init__(self):
        super().__init__()
        self.layer, self.shift = nn.Conv2d(3, 2, 3), None

    def forward(self, x):
        """Images to two numbers."""
        values = self.layer(x).mean((2, 3))
        if self.shift is None:
            self.shift = values.detach().mean(0)
        return values - self.shift


def test_starting_values_from_the_first_images():
    model = FirstImages()
    with pytest.raises(lzt.InputError, match="of its first call or on the number of calls"):
        lzt.ntk(model, torch.randn(5, 3, 6, 6))  # tried in another layout as well
    assert model.shift is None


def test_rows_that_are_written_across_another_value():
    square = X[:8]

    def call():
        made = torch.zeros(8, 8, dtype=torch.float64)
        torch.add(square, 1, out=made.T)  # a row of these is a column of the other
        return square * made.sum(1)[:, None]

    assert not observed(call, [square])[1]


def test_memory_that_is_not_filled_by_what_is_seen():
    assert not observed(lambda: X * torch.empty(8, dtype=X.dtype), [X])[1]


def test_what_is_not_made_of_the_rows_is_not_taken_for_them():
    assert not observed(lambda: torch.ones(len(X), 2), [X])[1]


def test_rows_that_are_mixed_only_where_there_are_many():
    for n, mix in ((12, lambda h: h - h.mean(0)), (40, lambda h: h + h.mean(0, True))):
        model = With(lambda h, n=n, mix=mix: mix(h) if len(h) >= n else h)
        x = torch.randn(n, X.shape[1], dtype=torch.float64)
        with pytest.raises(lzt.InputError, match="depends on the other rows"):
            lzt.ntk(model, x)


WITH_A_GRAPH = {
    "mixed": lambda h: h - h.mean(0) if h.requires_grad else h,
    "doubled": lambda h: h * 2 if torch.is_grad_enabled() else h,
    "hook": lambda h: (h.requires_grad and h.register_hook(lambda g: g - g.mean(0)), h)[1],
    "function": lambda h: backward_by(lambda g: g - g.mean(0))(h) if h.requires_grad else h,
    "number of rows": lambda h: h * 2 if len(h) in (2, 4) else h,
}


@pytest.mark.parametrize("name", WITH_A_GRAPH)
@pytest.mark.parametrize("memory", [None, 28_000])
def test_what_is_done_only_where_gradients_are_recorded_or_in_a_block(name, memory):
    """Blocks of two rows are not the calls of which the outputs were compared."""
    if name == "number of rows" and memory is None:
        return  # twelve rows have the outputs that each of them has alone
    with pytest.raises(lzt.InputError, match="no tangent kernel"):
        lzt.ntk(With(WITH_A_GRAPH[name]), X[:12], memory=memory)


@pytest.mark.parametrize("n", [5, 12])
def test_gradients_that_are_mixed_only_where_there_are_many_rows(n):
    model = With(lambda h: h + h.mean(0) - h.mean(0).detach() if len(h) > 4 else h)
    for measure in (lzt.ntk, lzt.explain_ntk, lambda *given: lzt.sketch(*given, 3)):
        with pytest.raises(lzt.InputError, match="not the sum of those of the rows"):
            measure(model, X[:n])


def by_place(halved, by="gain"):
    """Rows from the fifth on have half of their gradient, and the same outputs."""

    def run(h):
        gain = torch.ones(len(h), 1, dtype=h.dtype)
        gain[halved] = 0.5
        if by == "where":
            return torch.where(gain == 1, h, h.detach())
        return h * gain + (h * (1 - gain)).detach()

    return run


@pytest.mark.parametrize("by", ["gain", "where"])
@pytest.mark.parametrize("halved", [slice(4, None), slice(4, 5), slice(-1, None)])
def test_gradients_that_depend_on_a_place_beyond_the_first(halved, by):
    model = With(by_place(halved, by))
    for given in ((X[:12],), (X[:2], X[:12])):
        with pytest.raises(lzt.InputError, match="no tangent kernel of a row"):
            lzt.ntk(model, *given)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_gradients_that_depend_on_the_number_of_the_other_rows(n):
    gain = nn.Parameter(torch.ones(8, dtype=torch.float64))
    model = With(lambda h: h * (gain if len(h) < 4 else gain.detach()))
    model.gain = gain
    with pytest.raises(lzt.InputError, match="or on how many rows there are"):
        lzt.ntk(model, X[:n], X[:7])


@pytest.mark.parametrize("n", [2, 20])
def test_outputs_that_depend_on_the_number_of_rows(n):
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(With(lambda h: h / len(h)), X[:n])
    hidden = With(lambda h: hidden.gate * h / len(h))
    hidden.gate = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    with pytest.raises(lzt.InputError, match="gradient for one row depends on the other rows"):
        lzt.ntk(hidden, X[:n])


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [None, 200_000])
@pytest.mark.parametrize(("here", "there"), [(5, 6), (9, 4), (11, 7)])
def test_a_backward_pass_that_mixes_two_rows_of_many(here, there, memory, dtype):
    """No output shows it, nor do the gradients of the first rows or of one from the middle."""

    def mix(g):
        is_here = torch.arange(len(g))[:, None] == here
        return g + is_here * g[there] if len(g) > max(here, there) else g

    model, x = With(backward_by(mix)).to(dtype), torch.randn(40, 8, dtype=dtype)
    calls = [lambda: lzt.ntk(model, x, memory=memory), lambda: lzt.ntk(model, x[:3], x)]
    for call in [*calls, lambda: lzt.sketch(model, x, 3)]:
        with pytest.raises(lzt.InputError, match="not the sum of those of the rows"):
            call()
    half = With(backward_by(lambda g: g / 2)).to(dtype)
    wanted = lzt.ntk(half, x)
    torch.testing.assert_close(lzt.ntk(half, x, memory=memory), wanted)
