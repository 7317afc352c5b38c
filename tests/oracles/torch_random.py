"""Random modules: chains of layers and of uses of parameters, of every kind that rows allow."""

# ruff: noqa: E501

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

WIDTH = 8


def fitted(h):
    """Any rows as eight numbers each."""
    h = h.flatten(1)
    if h.shape[1] < WIDTH:
        return F.pad(h, (0, WIDTH - h.shape[1]))
    return h[:, :WIDTH] - h[:, -WIDTH:].flip(1) / 2 if h.shape[1] > WIDTH else h


def ids(h, below=5):
    return (h.detach().abs() * 7).long() % below


class Cells(nn.Module):
    """A cell on parts of the rows, one after the other."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state = None
        for part in x.split(2, 1):
            state = self.cell(part, state)
        return state[0] if isinstance(state, tuple) else state


# By name: the layer, and how it is called on rows (n, 8).
LAYERS = {
    "linear": (lambda: nn.Linear(8, 8), lambda m, h: m(h)),
    "linear without bias": (lambda: nn.Linear(8, 6, bias=False), lambda m, h: m(h)),
    "linear on places": (lambda: nn.Linear(2, 5), lambda m, h: m(h.view(-1, 4, 2))),
    "linear on grid": (lambda: nn.Linear(2, 3), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "linear on merged places": (lambda: nn.Linear(2, 3), lambda m, h: m(h.view(-1, 2)).view(len(h), -1)),
    "linear time first": (lambda: nn.Linear(2, 3), lambda m, h: m(h.view(-1, 4, 2).transpose(0, 1)).transpose(0, 1)),
    "bilinear": (lambda: nn.Bilinear(4, 4, 6), lambda m, h: m(h[:, :4], h[:, 4:])),
    "bilinear on places": (lambda: nn.Bilinear(2, 2, 3), lambda m, h: m(h.view(-1, 4, 2), h.view(-1, 4, 2).flip(1))),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1), lambda m, h: m(h.view(-1, 2, 4))),
    "conv1d grouped": (lambda: nn.Conv1d(4, 8, 2, groups=2, dilation=1), lambda m, h: m(h.view(-1, 4, 2))),
    "conv1d dilated": (lambda: nn.Conv1d(1, 3, 3, dilation=2, stride=2), lambda m, h: m(h[:, None])),
    "conv1d depthwise": (lambda: nn.Conv1d(4, 4, 2, groups=4, bias=False), lambda m, h: m(h.view(-1, 4, 2))),
    "conv1d circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), lambda m, h: m(h.view(-1, 2, 4))),
    "conv1d same": (lambda: nn.Conv1d(2, 3, 2, padding="same"), lambda m, h: m(h.view(-1, 2, 4))),
    "conv1d of one row": (lambda: nn.Conv1d(2, 3, 2), lambda m, h: torch.stack([m(r) for r in h.view(-1, 2, 4)])),
    "conv2d": (lambda: nn.Conv2d(2, 3, 2, padding=1, stride=(2, 1)), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "conv2d reflect": (lambda: nn.Conv2d(1, 3, (1, 3), padding=(0, 2), padding_mode="reflect"), lambda m, h: m(h.view(-1, 1, 2, 4))),
    "conv2d grouped": (lambda: nn.Conv2d(2, 4, (1, 2), groups=2, dilation=(1, 2), padding=(0, 1)), lambda m, h: m(h.view(-1, 2, 1, 4))),
    "conv2d 1x1": (lambda: nn.Conv2d(2, 3, 1), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "conv2d channels last": (lambda: nn.Conv2d(2, 3, 2), lambda m, h: m(h.view(-1, 2, 2, 2).contiguous(memory_format=torch.channels_last))),
    "conv3d": (lambda: nn.Conv3d(1, 3, 2, padding=(1, 0, 0)), lambda m, h: m(h.view(-1, 1, 2, 2, 2))),
    "transposed conv1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1, padding=1), lambda m, h: m(h.view(-1, 2, 4))),
    "transposed conv1d grouped": (lambda: nn.ConvTranspose1d(4, 6, 2, groups=2, dilation=2), lambda m, h: m(h.view(-1, 4, 2))),
    "transposed conv2d": (lambda: nn.ConvTranspose2d(2, 3, 2, stride=(2, 1), bias=False), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "transposed conv3d": (lambda: nn.ConvTranspose3d(2, 2, 2, groups=2), lambda m, h: m(h.view(-1, 2, 1, 2, 2))),
    "layer norm": (lambda: nn.LayerNorm(8), lambda m, h: m(h)),
    "layer norm on places": (lambda: nn.LayerNorm((2, 2)), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "group norm": (lambda: nn.GroupNorm(2, 4), lambda m, h: m(h.view(-1, 4, 2))),
    "instance norm": (lambda: nn.InstanceNorm1d(2, affine=True), lambda m, h: m(h.view(-1, 2, 4))),
    "batch norm": (lambda: nn.BatchNorm1d(8), lambda m, h: m(h)),
    "batch norm on places": (lambda: nn.BatchNorm2d(2), lambda m, h: m(h.view(-1, 2, 2, 2))),
    "root mean square norm": (lambda: nn.RMSNorm(4), lambda m, h: m(h.view(-1, 2, 4))),
    "embedding": (lambda: nn.Embedding(5, 4), lambda m, h: m(ids(h)).sum(2) * h),
    "embedding with padding": (lambda: nn.Embedding(5, 8, padding_idx=1), lambda m, h: h + m(ids(h)).mean(1)),
    "embedding repeated": (lambda: nn.Embedding(2, 4), lambda m, h: m(ids(h, 2)).flatten(1)[:, ::3]),
    "bag mean": (lambda: nn.EmbeddingBag(5, 8, mode="mean"), lambda m, h: h * m(ids(h))),
    "bag max": (lambda: nn.EmbeddingBag(5, 8, mode="max"), lambda m, h: h + m(ids(h))),
    "bag weighted": (lambda: nn.EmbeddingBag(5, 8, mode="sum", padding_idx=0), lambda m, h: m(ids(h), per_sample_weights=h)),
    "bag offsets": (lambda: nn.EmbeddingBag(5, 8, mode="sum"), lambda m, h: h + m(ids(h).flatten(), torch.arange(0, h.numel(), 8))),
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), lambda m, h: m(*3 * [h.view(-1, 2, 4)])[0]),
    "attention with bias": (lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True, batch_first=True, kdim=2, vdim=2), lambda m, h: m(h.view(-1, 2, 4), *2 * [h.view(-1, 4, 2)], need_weights=False)[0]),
    "attention time first": (lambda: nn.MultiheadAttention(4, 1), lambda m, h: m(*3 * [h.view(-1, 2, 4).transpose(0, 1)])[0].transpose(0, 1)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True), lambda m, h: m(h.view(-1, 2, 4))),
    "decoder": (lambda: nn.TransformerDecoderLayer(4, 2, 6, dropout=0.0, batch_first=True), lambda m, h: m(h.view(-1, 2, 4), h.view(-1, 2, 4).flip(1))),
    "lstm": (lambda: nn.LSTM(2, 3, batch_first=True), lambda m, h: m(h.view(-1, 4, 2))[0]),
    "lstm both ways": (lambda: nn.LSTM(2, 2, bidirectional=True, proj_size=1), lambda m, h: m(h.view(-1, 4, 2).transpose(0, 1))[0][-1]),
    "gru": (lambda: nn.GRU(2, 3, num_layers=2, batch_first=True, bias=False), lambda m, h: m(h.view(-1, 4, 2))[1].transpose(0, 1)),
    "rnn": (lambda: nn.RNN(2, 3, nonlinearity="relu"), lambda m, h: m(h.view(-1, 4, 2).transpose(0, 1))[1][0]),
    "lstm cell": (lambda: Cells(nn.LSTMCell(2, 4)), lambda m, h: m(h)),
    "gru cell": (lambda: Cells(nn.GRUCell(2, 4)), lambda m, h: m(h)),
    "leaky": (lambda: nn.PReLU(8), lambda m, h: m(h)),
    "leaky channels": (lambda: nn.PReLU(2), lambda m, h: m(h.view(-1, 2, 4))),
    "leaky scalar": (lambda: nn.PReLU(), lambda m, h: m(h)),
}  # fmt: skip

# Functions of rows (n, 8) and one parameter p of shape (8, 8).
USES = {
    "product": lambda h, p: h @ p,
    "product transposed": lambda h, p: h @ p.T,
    "from the left": lambda h, p: (p @ h.T).T,
    "linear function": lambda h, p: F.linear(h, p, p[0]),
    "sliced": lambda h, p: h[:, :4] @ p[:4],
    "sliced columns": lambda h, p: h @ p[:, 2:7],
    "strided": lambda h, p: h[:, ::2] @ p[::2, 1::2],
    "view": lambda h, p: h.view(-1, 2, 4) @ p.view(4, 16),
    "batched": lambda h, p: torch.bmm(h.view(-1, 2, 4), p[:4].expand(len(h), 4, 8)),
    "baddbmm": lambda h, p: torch.baddbmm(p[:2].expand(len(h), 2, 8), h.view(-1, 2, 4), p[4:].expand(len(h), 4, 8), alpha=0.5),
    "chunks": lambda h, p: sum(h @ part for part in p.chunk(2, 1)),
    "chunks apart": lambda h, p: torch.cat([h[:, :4] @ part for part in p.chunk(2)], 1),
    "unbound": lambda h, p: torch.stack([(h * row).sum(1) for row in p.unbind()], 1),
    "stacked": lambda h, p: torch.einsum("ni,kij->nkj", h, torch.stack([p, p.T])),
    "concatenated": lambda h, p: h @ torch.cat([p, p[:, :2] ** 2], 1),
    "split": lambda h, p: torch.tanh(h @ p.split([3, 5], 1)[0]) @ p.split([3, 5])[0],
    "einsum": lambda h, p: torch.einsum("nij,ikj->nk", h.view(-1, 2, 4), p.view(2, 8, 4)),
    "einsum diagonal": lambda h, p: torch.einsum("ni,ii->ni", h, p),
    "einsum quadratic": lambda h, p: torch.einsum("ni,ij,nj->n", h, p, h)[:, None] + h,
    "heads": lambda h, p: torch.einsum("nhd,hde->nhe", h.view(-1, 4, 2), p.view(4, 2, 8)),
    "index select": lambda h, p: h + p.index_select(0, ids(h, 8)[:, 0]),
    "index select twice": lambda h, p: p.index_select(1, ids(h, 8)[:, 0]).T * h,
    "looked up": lambda h, p: h * p[ids(h, 8)[:, 1]],
    "looked up negatively": lambda h, p: h + p[ids(h, 8) - 8].mean(1),
    "looked up pairs": lambda h, p: h + p[ids(h, 8), ids(h.flip(1), 8)],
    "gathered": lambda h, p: h + p[:1].expand_as(h).gather(1, ids(h, 8)),
    "taken": lambda h, p: h * torch.take(p, ids(h, 64)),
    "masked": lambda h, p: h @ p.masked_fill(p > 0.5, 0.0),
    "where": lambda h, p: torch.where(h > 0, h * p[0], p[1]),
    "triangle": lambda h, p: h @ p.tril(),
    "normalised": lambda h, p: F.linear(F.normalize(h), F.normalize(p)),
    "weight norm": lambda h, p: h @ (p / p.norm(dim=0, keepdim=True) * p[0]),
    "softmax": lambda h, p: h @ p.softmax(0),
    "cumulated": lambda h, p: h + p[0].cumsum(0),
    "scaled": lambda h, p: h * p[0, 0] + p[1, 1],
    "gain and offset": lambda h, p: h * p[0] + p[1],
    "divided": lambda h, p: h / (2 + p[0] ** 2),
    "taken from": lambda h, p: p[0] - h,
    "columns": lambda h, p: h + p[:, 1],
    "outer": lambda h, p: h @ torch.outer(p[0], p[1]),
    "low rank": lambda h, p: h @ p[:, :2] @ p[:2],
    "power": lambda h, p: h @ (p @ p),
    "expanded": lambda h, p: (h[:, None] * p[:2].expand(len(h), 2, 8)).flatten(1),
    "repeated": lambda h, p: h[:, :4] + p[:1, :4].repeat(len(h), 1),
    "broadcast places": lambda h, p: (h.view(-1, 2, 4) + p[0].view(2, 4)) * p[:2, :1],
    "vector": lambda h, p: (h @ p[0])[:, None] * h,
    "matrix of each row": lambda h, p: (h.view(-1, 4, 2) @ (p[:2, :2] + h[:, :4].view(-1, 2, 2))),
    "convolution": lambda h, p: F.conv1d(h[:, None], p[:2, None, :3], p[2, :2], padding=1),
    "convolution flipped": lambda h, p: F.conv1d(h[:, None], p[:3].flip(1)[:, None, :4], stride=2),
    "convolution back": lambda h, p: F.conv_transpose1d(h.view(-1, 2, 4), p[:2, :6].view(2, 3, 2)),
    "convolution 2d": lambda h, p: F.conv2d(h.view(-1, 2, 2, 2), p.view(8, 2, 2, 2)),
    "own filters": lambda h, p: F.conv1d(h[None], (h * p[0])[:, None, :3], groups=len(h))[0],
    "keys": lambda h, p: F.scaled_dot_product_attention(h.view(-1, 2, 4), *2 * [p.view(1, 16, 4).expand(len(h), 16, 4)]),
    "queries": lambda h, p: F.scaled_dot_product_attention(p[:3, :4].expand(len(h), 3, 4), *2 * [h.view(-1, 2, 4)], is_causal=True),
    "distances": lambda h, p: torch.cdist(h, p),
    "cosines": lambda h, p: F.cosine_similarity(h[:, None], p[None], dim=2),
    "complex": lambda h, p: (h.to(torch.complex128) @ torch.complex(p, p.T)).abs(),
    "spectrum": lambda h, p: torch.fft.irfft(torch.fft.rfft(h) * torch.fft.rfft(p[0]), n=8),
    "in place": lambda h, p: torch.sin(h).mul_(p[0]).add_(p[1]),
    "put in place": lambda h, p: torch.zeros_like(h).copy_(p[0]) * h,
    "written": lambda h, p: torch.zeros(len(h), 8, dtype=h.dtype).index_add(1, torch.tensor([1, 1, 3]), h[:, :3] * p[0, :3]) + h,
    "written parameter": lambda h, p: h @ torch.zeros_like(p).index_copy(0, torch.arange(8).flip(0), p),
    "interpolated": lambda h, p: torch.lerp(h, p[0].expand_as(h), 0.3),
    "addcmul": lambda h, p: torch.addcmul(h, h, p[0], value=0.5),
    "addmm": lambda h, p: torch.addmm(p[0], h, p, beta=0.5, alpha=2.0),
    "checkpointed": lambda h, p: checkpoint(lambda a: torch.sin(a @ p), h, use_reentrant=False),
    "rolled": lambda h, p: h @ p.roll(1, 0),
    "permuted": lambda h, p: torch.tensordot(h.view(-1, 2, 4), p.view(4, 2, 8), ([1, 2], [1, 0])),
    "kron": lambda h, p: h @ torch.kron(p[:2, :2], p[:4, :4]),
    "layer normed": lambda h, p: F.layer_norm(h, (8,), p[0], p[1]),
    "group normed": lambda h, p: F.group_norm(h.view(-1, 4, 2), 2, p[0, :4], p[1, :4]),
    "batch normed": lambda h, p: F.batch_norm(h, torch.zeros_like(h[0]), torch.ones_like(h[0]), p[0], p[1]),
    "table": lambda h, p: h + F.embedding(ids(h, 8), p).mean(1),
    "table renewed": lambda h, p: h + F.embedding(ids(h, 8), 2 * p).sum(1),
    "bag": lambda h, p: h + F.embedding_bag(ids(h, 8), p, mode="mean"),
    "maximum": lambda h, p: torch.maximum(h, p[0]),
    "sorted": lambda h, p: h * p[0].sort()[0],
    "row by row": lambda h, p: torch.stack([row @ p for row in h]),
    "vmap": lambda h, p: torch.func.vmap(lambda row: torch.tanh(p @ row))(h),
    "rows in another order": lambda h, p: torch.tanh(h.flip(0) @ p).flip(0),
    "rows sent on": lambda h, p: torch.zeros_like(h).index_add(0, (h[:, 0] > 0).nonzero()[:, 0], h[h[:, 0] > 0] @ p) + h,
    "rows last": lambda h, p: torch.tanh(p.T @ h.T + p[0][:, None]).T,
    "conv of rows last": lambda h, p: F.conv1d(h.T[None], p[:, :, None].expand(8, 8, 1))[0].T,
    "self gram": lambda h, p: (lambda a: a.transpose(1, 2) @ p[:2, :2] @ a)(h.view(-1, 2, 4)),
}  # fmt: skip

PLAIN = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "gelu": F.gelu,
    "glu": lambda h: F.glu(h, 1),
    "max pool": lambda h: F.max_pool1d(h[:, None], 2),
    "mean pool": lambda h: F.avg_pool2d(h.view(-1, 2, 2, 2), 2),
    "adaptive pool": lambda h: F.adaptive_max_pool1d(h.view(-1, 2, 4), 3),
    "lp pool": lambda h: F.lp_pool1d(h.abs()[:, None] + 0.1, 2, 2),
    "pixel shuffle": lambda h: F.pixel_shuffle(h.view(-1, 4, 1, 2), 2),
    "unfold": lambda h: F.unfold(h.view(-1, 1, 2, 4), 2),
    "fold": lambda h: F.fold(h.view(-1, 4, 2), (2, 3), 2),
    "normalise": F.normalize,
    "softmax of features": lambda h: h.softmax(1),
    "sort": lambda h: h.sort(1)[0],
    "filled": lambda h: h.masked_fill(h < -0.5, 0.2),
    "upsample": lambda h: F.interpolate(h.view(-1, 2, 4), 6, mode="linear"),
    "clamp": lambda h: h.clamp(-1, 1) + h / 3,
}


class RandomModule(nn.Module):
    """A chain that a seed decides: layers, one of them perhaps again, uses of one parameter."""

    def __init__(self, seed, names=None):
        super().__init__()
        torch.manual_seed(seed)
        draw = random.Random(seed)
        self.p = nn.Parameter(torch.randn(8, 8) / 2)
        self.steps, self.layers = [], nn.ModuleList()
        groups = [sorted(LAYERS), sorted(LAYERS), *3 * [sorted(USES)], sorted(PLAIN), None]
        for k in range(draw.randint(1, 4) if names is None else len(names)):
            group = draw.choice(groups)
            if names is None and group is None and self.steps:
                self.steps.append(draw.choice(self.steps))
                continue
            name = draw.choice(group or sorted(USES)) if names is None else names[k]
            if name in LAYERS:
                self.layers.append(LAYERS[name][0]())
            self.steps.append((name, len(self.layers) - 1))
        self.is_vector = draw.random() < 0.2
        self.readout = nn.Linear(8, 3) if draw.random() < 0.5 else None
        self.double().eval()
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        with torch.no_grad():
            for parameter in self.parameters():  # No zeros, and no gains of one.
                parameter.add_(0.1 * torch.randn_like(parameter))

    def forward(self, h):
        for name, where in self.steps:
            if name in PLAIN:
                made = PLAIN[name](h)
            elif name in USES:
                made = USES[name](h, self.p)
            else:
                made = LAYERS[name][1](self.layers[where], h)
            h = fitted(made)
        h = h[:, :2] if self.readout is None else self.readout(h)
        return h[:, 0] if self.is_vector else h
