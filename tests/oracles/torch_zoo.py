"""PyTorch modules as people write them, and their kernel from explicit Jacobians."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def kernel(model, x, output=None):
    """(n, n, c, c) from one backward pass for each row and output."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    value = model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple) else model(x)
    value = value if output is None else output(value)
    value = value if value.ndim == 2 else value[:, None]
    n, c = value.shape
    rows = []
    for one in value.reshape(-1):
        found = torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)
        flat = [
            (torch.zeros_like(p) if g is None else g).reshape(-1)
            for p, g in zip(parameters, found, strict=True)
        ]
        rows.append(torch.cat(flat).double())
    jacobian = torch.stack(rows)
    return (jacobian @ jacobian.T).reshape(n, c, n, c).permute(0, 2, 1, 3)


class TiedLanguageModel(nn.Module):
    """Tokens and positions, a shared layer, an unembedding that is the embedding."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(11, 6, padding_idx=0)
        self.positions = nn.Embedding(5, 6)
        self.layer = nn.Linear(6, 6)
        self.matrix = nn.Parameter(torch.randn(6, 6))

    def forward(self, tokens):
        hidden = self.tokens(tokens) + self.positions(
            torch.arange(tokens.shape[1], device=tokens.device)[None]
        )
        hidden = hidden + torch.tanh(self.layer(hidden) @ self.matrix)
        hidden = hidden + self.layer(hidden) @ self.matrix.T
        return (hidden @ self.tokens.weight.T)[:, -1, :4]


class Siamese(nn.Module):
    """One net for two inputs."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3))

    def forward(self, a, b):
        return self.net(a) - self.net(b)


class Recurrent(nn.Module):
    """An LSTM and a read-out of its last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 4, num_layers=2, batch_first=True)
        self.readout = nn.Linear(4, 2)

    def forward(self, x):
        return self.readout(self.lstm(x)[0][:, -1])


class VisionTransformer(nn.Module):
    """A class token, learned positions, encoder layers."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 6, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.readout = nn.Linear(8, 3)

    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.readout(self.encoder(tokens)[:, 0])


class SequenceFirst(nn.Module):
    """An encoder layer whose batch is the second axis."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16)
        self.readout = nn.Linear(8, 3)

    def forward(self, x):
        return self.readout(self.layer(x.transpose(0, 1))[-1])


class Lookup(nn.Module):
    """A table read by indexing, a gain, a scalar, a division, an outer use of a vector."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 4))
        self.gain = nn.Parameter(torch.randn(4))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, tokens):
        hidden = self.table[tokens].sum(1) * self.gain / 3 - self.gain
        return torch.sin(hidden * self.scale) * self.scale


class _Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        hidden = F.relu(self.first_norm(self.first(x)), inplace=True)
        return F.relu(self.second_norm(self.second(hidden)) + self.shortcut(x), inplace=True)


def resnet(widths=(4, 8), n_outputs=3):
    """Residual blocks with batch norm and ReLU in place."""
    blocks = [
        _Block(a, b, 1 if a == b else 2)
        for a, b in zip((widths[0], *widths[:-1]), widths, strict=True)
    ]
    return nn.Sequential(
        nn.Conv2d(3, widths[0], 3, 1, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], n_outputs),
    )


def _convolutions_1d():
    return nn.Sequential(
        nn.Conv1d(4, 6, 3, 2, 2, dilation=2, groups=2),
        nn.Tanh(),
        nn.ConvTranspose1d(6, 3, 4, 3, 1, output_padding=1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    )


def _convolutions_3d():
    return nn.Sequential(
        nn.Conv3d(2, 4, 2, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.ConvTranspose3d(4, 4, 3, 2, groups=2, dilation=2),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
    )


def _depthwise():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same", padding_mode="circular", groups=3),
        nn.SiLU(),
        nn.Conv2d(6, 4, (1, 3), stride=(2, 1), bias=False),
        nn.InstanceNorm2d(4, affine=True),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


def _parametrized():
    normalised = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 2))
    return nn.Sequential(normalised, nn.PReLU(), nn.LayerNorm(5), spectral, nn.RMSNorm(2))


class Attention(nn.Module):
    """Multi-head attention with itself, with a mask, and a read-out of the mean."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.readout = nn.Linear(6, 2)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device, x.dtype)
        return self.readout(self.attention(x, x, x, attn_mask=mask, need_weights=False)[0].mean(1))


class SharedParts(nn.Module):
    """A list of layers in which one stands twice, and a lone one that reads a buffer."""

    def __init__(self):
        super().__init__()
        shared = nn.Linear(6, 6)
        self.layers = nn.ModuleList([shared, nn.Linear(6, 6, bias=False), shared])
        self.register_buffer("shift", torch.linspace(-1, 1, 6))
        self.readout = nn.Linear(6, 2)

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.tanh(layer(x * self.shift))
        return self.readout(x)


class ZeroReadout(nn.Module):
    """The layers below a read-out of zeros have a gradient of zero at every token."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(7, 6)
        self.layer = nn.Linear(6, 6)
        self.readout = nn.Linear(6, 2)
        nn.init.zeros_(self.readout.weight)

    def forward(self, tokens):
        return self.readout(torch.tanh(self.layer(self.tokens(tokens)))).sum(1)


def _old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 2))


def _orthogonal():
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(6, 4))
    with torch.no_grad():  # its first matrix lies where signs of the parametrization jump
        layer.parametrizations.weight.original += 0.2 * torch.randn(4, 6)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(4, 2))


def _random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def zoo():
    """By name, a maker of a float64 module in evaluation mode and its rows."""
    return {
        "mlp": lambda: (
            nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True), nn.Linear(9, 3)),
            _random(5, 6),
        ),
        "tied": lambda: (TiedLanguageModel(), torch.randint(11, (6, 5))),
        "siamese": lambda: (Siamese(), (_random(5, 6), _random(5, 6))),
        "lstm": lambda: (Recurrent(), _random(4, 7, 5)),
        "gru cell": lambda: (nn.GRUCell(5, 3), _random(4, 5)),
        "vision transformer": lambda: (VisionTransformer(), _random(4, 5, 8)),
        "sequence first": lambda: (SequenceFirst(), _random(5, 5, 8)),
        "lookup": lambda: (Lookup(), torch.randint(7, (5, 3))),
        "resnet": lambda: (resnet(), _random(4, 3, 8, 8)),
        "convolutions 1d": lambda: (_convolutions_1d(), _random(4, 4, 11)),
        "convolutions 3d": lambda: (_convolutions_3d(), _random(3, 2, 4, 4, 5)),
        "depthwise": lambda: (_depthwise(), _random(4, 3, 4, 6)),
        "parametrized": lambda: (_parametrized(), _random(4, 6)),
        "bilinear": lambda: (_Bilinear(), _random(4, 6)),
        "attention": lambda: (Attention(), _random(4, 5, 6)),
        "shared parts": lambda: (SharedParts(), _random(4, 6)),
        "zero read-out": lambda: (ZeroReadout(), torch.randint(7, (4, 5))),
        "old weight norm": lambda: (_old_weight_norm(), _random(4, 6)),
        "orthogonal": lambda: (_orthogonal(), _random(4, 6)),
        "one row": lambda: (nn.Sequential(nn.Linear(6, 5), nn.GELU()), _random(1, 6)),
    }


class _Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Bilinear(6, 6, 3)

    def forward(self, x):
        return self.layer(x, x)


def made(name):
    """A module of the zoo and its rows, with a seed of its own."""
    torch.manual_seed(len(name))
    model, x = zoo()[name]()
    return model.double().eval(), x


def _last(out):
    return out.logits[:, -1, :3]


def _logits(out):
    return out.logits


def _adapted(is_zero):
    """A GPT-2 whose attention has adapters of rank two; B is zero as `peft` starts it."""
    import peft

    adapters = peft.LoraConfig(
        r=2, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, init_lora_weights=is_zero
    )
    return peft.get_peft_model(_gpt2(), adapters)


def _gpt2():
    import transformers

    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_embd=8, n_head=2, **_tokens(n_positions=6))
    )


def _tokens(**shape):
    return {"vocab_size": 11, "bos_token_id": None, "eos_token_id": None, **shape}


THREE_LABELS: Any = {"num_labels": 3}  # a setting that configs take and do not declare


def _bert():
    import transformers

    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"intermediate_size": 16, "vocab_size": 11, "max_position_embeddings": 6}
    config = transformers.BertConfig(**shape, **THREE_LABELS)
    return transformers.BertForSequenceClassification(config)


def _llama():
    import transformers

    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 1, "intermediate_size": 12, "max_position_embeddings": 8}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_tokens(**shape)))


def _vit():
    import transformers

    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"intermediate_size": 16, "image_size": 8, "patch_size": 4}
    config = transformers.ViTConfig(**shape, **THREE_LABELS)
    return transformers.ViTForImageClassification(config)


def _resnet18():
    """The eighteen layers of ResNet-18, made narrow."""
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 6, 8, 10],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        **THREE_LABELS,
    )
    return transformers.ResNetForImageClassification(config)


def published():
    """By name, a maker of a model of `transformers`, its rows, and its outputs."""
    tokens = {"input_ids": torch.randint(11, (3, 5))}
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    return {
        "gpt2": lambda: (_gpt2(), tokens, _last),
        "bert": lambda: (_bert(), {**tokens, "attention_mask": mask}, _logits),
        "llama": lambda: (_llama(), tokens, _last),
        "vit": lambda: (_vit(), _random(3, 3, 8, 8), _logits),
        "resnet18": lambda: (_resnet18(), _random(3, 3, 32, 32), _logits),
        "lora": lambda: (_adapted(False), tokens, _last),
        "lora at its start": lambda: (_adapted(True), tokens, _last),
    }


def made_published(name):
    """A model of `transformers` in float64 and evaluation mode, its rows, its outputs."""
    torch.manual_seed(len(name))
    model, x, output = published()[name]()
    return model.double().eval(), x, output


def backward_by(change):
    """The identity, with another backward pass."""

    class Changed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, h):
            return h.clone()

        @staticmethod
        def backward(ctx, *grad_outputs):
            return change(*grad_outputs)

    return Changed.apply
