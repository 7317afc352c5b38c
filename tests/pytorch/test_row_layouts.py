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
        if not reading.is_kept or not reading.layouts:
            continue
        where = reading.layouts[-1]
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
