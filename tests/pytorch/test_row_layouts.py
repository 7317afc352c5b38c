"""Oracle: entries that hold the number of their row, through random programs of operations.

Where rows are said to stand after an operation, entries have to be those numbers; and kernels of
networks that keep their rows along another axis inside, explicit float64 Jacobians.
"""

import math
import random

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch._row_axis import watched  # noqa: E402

N_PROGRAMS = 400
# Number of rows of each call.
CALLS = []


def divisors(k):
    return [d for d in range(1, k + 1) if k % d == 0]


def another_shape(draw, h):
    """Axes split at random, and merged with their neighbours."""
    lengths = []
    for k in h.shape:
        first = draw.choice(divisors(k)) if k else k
        lengths += [first, k // first] if first and draw.random() < 0.4 else [k]
    while len(lengths) > 1 and (len(lengths) > 5 or draw.random() < 0.3):
        i = draw.randrange(len(lengths) - 1)
        lengths[i : i + 2] = [lengths[i] * lengths[i + 1]]
    return lengths


def permuted(draw, h):
    axes = list(range(h.ndim))
    draw.shuffle(axes)
    return h.permute(axes)


def axis(draw, h):
    return draw.randrange(-h.ndim, h.ndim)


def sliced(draw, h):
    a = axis(draw, h)
    return h.narrow(a, 0, draw.randint(max(1, h.shape[a] // 2), h.shape[a]))


def chosen(draw, h):
    a = axis(draw, h)
    return h.select(a, draw.randrange(h.shape[a]))


def in_place(draw, h):
    copied = h.clone()
    return copied.mul_(1.0).transpose(0, h.ndim - 1)


def by_matrix(draw, h):
    return h @ torch.eye(h.shape[-1])


STEPS = {
    "shape": lambda draw, h: h.reshape(another_shape(draw, h)),
    "permute": permuted,
    "transpose": lambda draw, h: h.transpose(axis(draw, h), axis(draw, h)),
    "unsqueeze": lambda draw, h: h.unsqueeze(draw.randrange(-h.ndim - 1, h.ndim + 1)),
    "squeeze": lambda draw, h: h.squeeze(axis(draw, h)),
    "slice": sliced,
    "select": chosen,
    "stack": lambda draw, h: torch.stack([h, h], draw.randrange(h.ndim + 1)),
    "cat": lambda draw, h: torch.cat([h, h], axis(draw, h)),
    "split": lambda draw, h: h.split(max(1, h.shape[0] // 2), axis(draw, h))[0],
    "unbind": lambda draw, h: h.unbind(axis(draw, h))[0],
    "flip": lambda draw, h: h.flip(axis(draw, h)),
    "sort": lambda draw, h: h.sort(axis(draw, h), descending=True)[0],
    "mean": lambda draw, h: h.mean(axis(draw, h), keepdim=draw.random() < 0.5),
    "largest": lambda draw, h: h.amax([axis(draw, h)], keepdim=draw.random() < 0.5),
    "add": lambda draw, h: h + torch.zeros(h.shape[-1]),
    "product": by_matrix,
    "in place": in_place,
    "in its memory": lambda draw, h: h.clone().t_() if h.ndim == 2 else h.clone().squeeze_(),
    "contiguous": lambda draw, h: h.contiguous(),
    "expand": lambda draw, h: h.expand(*[-1] * h.ndim),
}


def run(seed):
    """The result of a random program, and what was seen of it; no result if it cannot be run."""
    draw = random.Random(seed)
    n = draw.choice([2, 3, 4])
    shape = (n, *(draw.choice([1, 2, 3, 4]) for _ in range(draw.randint(1, 3))))
    x = torch.arange(n).float().reshape(n, *[1] * (len(shape) - 1)).expand(shape).contiguous()
    names = [draw.choice(list(STEPS)) for _ in range(draw.randint(1, 8))]

    def program():
        h = x
        for name in names:
            if h.ndim and h.numel() < 5000:
                h = STEPS[name](draw, h)
        return h

    made, reading = watched(program, [x])
    return made, reading, n


def test_entries_are_those_of_the_row_that_they_are_said_to_be_of():
    kept = elsewhere = 0
    for seed in range(N_PROGRAMS):
        made, reading, n = run(seed)
        where = reading.layout_of(made) if reading.is_kept else None
        if where is None:
            continue
        kept += 1
        elsewhere += where != (0, 1)
        before = math.prod(made.shape[: where.axis]) * where.before
        entries = made.reshape(before, n, -1)
        wanted = torch.arange(n).float()[:, None].expand(before, n, entries.shape[2])
        assert torch.equal(entries, wanted), seed
    assert kept > N_PROGRAMS / 4
    assert elsewhere > N_PROGRAMS / 10


class Encoder(nn.Module):
    """A transformer of PyTorch's own, whose attention has rows along the second axis inside."""

    def __init__(self, layer, mask=None):
        super().__init__()
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.read = nn.Linear(8, 2)
        self.register_buffer("mask", mask)

    def forward(self, x):
        CALLS.append(len(x))
        return self.read(self.encoder(x, mask=self.mask).mean(1))


class Attention(nn.Module):
    def __init__(self, *, need_weights, batch_first=True, n_keys=None):
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.read, self.need_weights, self.n_keys = nn.Linear(8, 2), need_weights, n_keys

    def forward(self, x):
        CALLS.append(len(x))
        h = x if self.layer.batch_first else x.transpose(0, 1)
        keys = h if self.n_keys is None else h[:, : self.n_keys]
        made, weights = self.layer(h, keys, keys, need_weights=self.need_weights)
        made = made if self.layer.batch_first else made.transpose(0, 1)
        return self.read(made.mean(1)) + (
            0 if weights is None else weights.square().sum((1, 2))[:, None]
        )


class Decoder(nn.Module):
    """Its weights of keys and values are split off those of queries."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.decoder, self.read = nn.TransformerDecoder(layer, 1), nn.Linear(8, 2)

    def forward(self, x):
        CALLS.append(len(x))
        return self.read(self.decoder(x, x[:, :3]).mean(1))


def layer(**given):
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0, **given)


MODELS = {
    "encoder": lambda: Encoder(layer()),
    "norm first": lambda: Encoder(layer(norm_first=True, activation="gelu")),
    "causal": lambda: Encoder(
        layer(), mask=nn.Transformer.generate_square_subsequent_mask(4).double()
    ),
    "attention": lambda: Attention(need_weights=False),
    "attention and its weights": lambda: Attention(need_weights=True),
    "positions first": lambda: Attention(need_weights=False, batch_first=False),
    "decoder": Decoder,
    "fewer keys": lambda: Attention(need_weights=False, n_keys=3),
}


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", MODELS)
def test_transformers_with_rows_along_another_axis(name, n):
    """Also with as many rows as positions, which shapes alone do not tell apart."""
    torch.manual_seed(0)
    model, x = MODELS[name]().double().eval(), torch.randn(7, 4, 8, dtype=torch.float64)
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    wanted = torch_zoo.kernel(model, x).detach()
    for memory in (None, 60_000) if n == 7 else (None,):
        found = lzt.ntk(model, x[:n], memory=memory)
        torch.testing.assert_close(found, wanted[:n, :n], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        lzt.ntk(model, x[:n], x[-1:]), wanted[:n, -1:], rtol=1e-10, atol=1e-12
    )
    CALLS.clear()
    lzt.ntk(model, x[:n])
    assert CALLS == [2, n, 1]  # noqa: SIM300  a few, all, and one of them alone


def test_rows_that_attend_to_each_other_are_still_refused():
    class Mixed(Attention):
        def forward(self, x):
            made, _ = self.layer(x[None, :, 0], x[None, :, 0], x[None, :, 0])
            return self.read(made[0])

    model = Mixed(need_weights=False).double().eval()
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(model, torch.randn(6, 1, 8, dtype=torch.float64))


class Chosen(nn.Module):
    """Positions first inside, and for each row the position that it names; others get nothing."""

    def __init__(self, added=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.read = nn.Linear(3, 5), nn.Linear(5, 2)
        self.bias, self.scale = nn.Parameter(torch.randn(1, 5)), nn.Parameter(torch.randn(1))
        self.added = added or (lambda m, h: h)

    def forward(self, x, last):
        h = self.layer(x.transpose(0, 1))
        h = torch.tanh(self.added(self, h))
        return self.read(h.gather(0, last[None, :, None].expand(1, -1, 5))[0])


ADDED = {
    "nothing": lambda m, h: h,
    "repeated for each position and row": lambda m, h: (
        h + m.bias.expand(h.shape[0] * h.shape[1], 5).view(*h.shape)
    ),
    "repeated and turned": lambda m, h: (
        h + m.bias.expand(h.shape[1], 5).flip(0)[None].expand(*h.shape)
    ),
    "repeated for each row": lambda m, h: h + m.bias[None].expand(1, h.shape[1], 5),
    "scaled": lambda m, h: (h.permute(1, 2, 0) * m.scale).permute(2, 0, 1),
}


@pytest.mark.parametrize("added", ADDED)
def test_few_rows_whose_gradients_do_not_show_where_they_stand(added):
    model = Chosen(ADDED[added]).double()
    x = torch.randn(9, 4, 3, dtype=torch.float64), torch.tensor([0, 3, 1, 2, 3, 1, 2, 3, 0])
    wanted = torch_zoo.kernel(model, x).detach()
    two = tuple(one[:2] for one in x)
    rest = tuple(one[2:] for one in x)
    for found, part in (
        (lzt.ntk(model, x), wanted),
        (lzt.ntk(model, x, memory=40_000), wanted),
        (lzt.ntk(model, two, rest), wanted[:2, 2:]),
        (lzt.ntk(model, rest, two), wanted[2:, :2]),
        (lzt.ntk(model, rest, memory=40_000), wanted[2:, 2:]),
    ):
        torch.testing.assert_close(found, part, rtol=1e-10, atol=1e-12)


class Weighted(nn.Module):
    """Outputs times a weight of each row, which is zero for the rows that are run first."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, weight):
        return self.inner(x) * weight[:, None]


class Mixer(nn.Module):
    """Layers along positions, with rows merged with channels."""

    def __init__(self, turn):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.read = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)
        self.gain, self.turn = nn.Parameter(torch.ones(1)), turn

    def forward(self, x):
        h = self.turn(self.norm(self.first(x.transpose(1, 2))) * self.gain)
        return self.read(torch.tanh(h).mean(1))


INNER = MODELS | {
    "mixer": lambda: Mixer(lambda h: h),
    "channels first": lambda: Mixer(lambda h: h.transpose(0, 1).tanh().transpose(0, 1)),
    "merged": lambda: Mixer(lambda h: h.permute(1, 0, 2).reshape(-1, 6).tanh().view(8, -1, 6).mT.mT
                            .permute(1, 0, 2)),
    "expanded token": lambda: Mixer(
        lambda h: torch.cat([h, torch.ones(1, 1, 6, dtype=h.dtype).expand(len(h), 1, 6)], 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INNER)
def test_rows_without_a_gradient_that_are_run_first(name):
    torch.manual_seed(0)
    model = Weighted(INNER[name]()).double().eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    n = 9
    weight = torch.ones(n, dtype=torch.float64)
    weight[[0, 1, (n - 1) // 2 | 1]] = 0
    x = torch.randn(n, 4, 8, dtype=torch.float64), weight
    wanted = torch_zoo.kernel(model, x).detach()
    two, rest = (tuple(one[part] for one in x) for part in (slice(2), slice(2, None)))
    for found, part in (
        (lzt.ntk(model, x), wanted),
        (lzt.ntk(model, x, memory=200_000), wanted),
        (lzt.ntk(model, two, rest), wanted[:2, 2:]),
        (lzt.ntk(model, rest, two), wanted[2:, :2]),
    ):
        torch.testing.assert_close(found, part, rtol=1e-10, atol=1e-12)


class Cut(nn.Module):
    """Hidden units that get no gradient beside more rows than the first ones."""

    def __init__(self):
        super().__init__()
        self.layer, self.read = nn.Linear(8, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.tanh(self.layer(x.mean(1)))
        return self.read(h if len(h) < 3 else h.detach())


@pytest.mark.parametrize("measure", [lzt.ntk, lzt.sketch, lzt.explain_ntk])
def test_a_gradient_that_a_number_of_rows_takes_away(measure):
    torch.manual_seed(0)
    weight = torch.ones(9, dtype=torch.float64)
    for zero in ([], [0, 1, 5]):
        weight[zero] = 0
        x = torch.randn(9, 4, 8, dtype=torch.float64), weight.clone()
        with pytest.raises(lzt.InputError, match="how many rows there are"):
            measure(Weighted(Cut()).double(), x)


@pytest.mark.parametrize(("here", "there"), [(8, 13), (3, 12), (0, 15)])
@pytest.mark.parametrize("measure", [lzt.ntk, lzt.sketch])
def test_two_rows_that_are_mixed_in_gradients_alone(measure, here, there):
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.read = nn.Linear(8, 5), nn.Linear(5, 2)

        def forward(self, x, a, b):
            h = torch.tanh(self.layer(x))
            nothing = (b[:, None] * (h - h.detach())).sum(0)
            return self.read(h + a[:, None] * nothing)

    torch.manual_seed(0)
    a, b = torch.zeros(16, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    a[here] = b[there] = 1
    with pytest.raises(lzt.InputError, match="rows"):
        measure(Hidden().double(), (torch.randn(16, 8, dtype=torch.float64), a, b))
