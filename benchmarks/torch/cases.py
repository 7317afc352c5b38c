"""The networks and rows of the benchmark, in float32, the same in every process."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Case:
    """What is computed.

    Attributes:
        make: a module in evaluation mode and its rows.
        traced: whether equal outputs are summed.
        wanted: by peer ("torch.func", "others", "loop"), how many times faster we want to be.
        chunks: sizes of vmap's chunks for ``torch.func``.
    """

    make: Any
    traced: bool
    wanted: dict[str, float]
    chunks: tuple[int | None, ...] = (None, 8)


def mlp():
    layers = [nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)]
    return nn.Sequential(*layers), torch.randn(200, 784)


def cnn():
    layers = [nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10)]
    return nn.Sequential(*layers), torch.randn(64, 1, 28, 28)


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm, and the shortcut around them."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = nn.Identity()
        if stride > 1 or n_in != n_out:
            convolution = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(n_out))

    def forward(self, x):
        """Images to images."""
        hidden = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.downsample(x))


def resnet():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers), torch.randn(32, 3, 32, 32)


def resnet18():
    """That of torchvision, which does not load beside PyTorch built for the CPU alone."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2, 1)]
    for n_in, n_out in ((64, 64), (64, 128), (128, 256), (256, 512)):
        layers += [Block(n_in, n_out, 1 if n_in == n_out else 2), Block(n_out, n_out, 1)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*layers), torch.randn(64, 3, 64, 64)


class TargetLogit(nn.Module):
    """The logit of each row's target after its last token."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, target):
        """One output a row."""
        return self.model(input_ids=input_ids).logits[:, -1].gather(1, target[:, None])


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_layer": 2, "n_embd": 128, "n_head": 4, "vocab_size": 1000, "n_positions": 64}
    model = TargetLogit(GPT2LMHeadModel(GPT2Config(**shape)))
    rows = {"input_ids": torch.randint(1000, (64, 32)), "target": torch.randint(1000, (64,))}
    return model, rows


CASES = {
    "mlp": Case(mlp, False, {"torch.func": 100, "others": 1.5}, (32,)),
    "cnn": Case(cnn, False, {"torch.func": 2, "others": 2}),
    "cnn_traced": Case(cnn, True, {"torch.func": 2}),
    "resnet": Case(resnet, False, {"torch.func": 1.5, "others": 1.5}),
    "resnet_traced": Case(resnet, True, {"torch.func": 1.5}),
    "resnet18": Case(resnet18, True, {"torch.func": 2}, (4, 1)),
    "gpt2": Case(gpt2, True, {"loop": 3}),
}


def made(name):
    """The module and the rows of a case."""
    torch.manual_seed(0)
    model, x = CASES[name].make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval(), x
