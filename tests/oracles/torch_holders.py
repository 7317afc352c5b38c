"""Networks that keep a tensor that is held in several ways, and the ones that keep nothing."""

import functools

import numpy as np
import torch
from torch import nn


def kept(x):
    """What the models below write for each row, and read from there."""
    return x.sum(1, keepdim=True).detach().expand(-1, 3) + 1


def first(tensor, n):
    return tensor[:n]


class Explicit(nn.Module):
    """A network that scales its units by a function of the inputs, which it keeps nowhere."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 3, dtype=dtype), nn.Linear(3, 2, dtype=dtype)

    def scale(self, x):
        return kept(x)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(x)) * self.scale(x))


class Keeping(Explicit):
    """The same, which writes it to a buffer and reads it from there."""

    kept: torch.Tensor

    def __init__(self, dtype=torch.float64):
        super().__init__(dtype)
        self.register_buffer("kept", torch.zeros(24, 3, dtype=dtype))

    def write(self, x):
        self.kept[: len(x)] = kept(x)

    def read(self, n):
        return self.kept[:n]

    def scale(self, x):
        self.write(x)
        return self.read(len(x))


def closure(dtype=torch.float64):
    model = Keeping(dtype)
    buffer = model.kept
    model.read = lambda n: buffer[:n]
    return model


def hook_that_writes():
    model = Keeping()
    model.write = lambda x: None
    model.register_forward_pre_hook(lambda module, given: Keeping.write(model, given[0]))
    return model


def hook_that_reads():
    model = Keeping()
    buffer, model.read = model.kept, lambda n: 1.0
    model.layer.register_forward_pre_hook(lambda module, given: Keeping.write(model, given[0]))
    model.out.register_forward_pre_hook(lambda module, given: (given[0] * buffer[: len(given[0])],))
    return model


def partial():
    model = Keeping()
    model.read = functools.partial(first, model.kept)
    return model


def class_attribute():
    class Holding(Keeping):
        table = None

        def read(self, n):
            return self.table[:n]

    model = Holding()
    Holding.table = model.kept
    return model


class Slots:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held

    def __call__(self, n):
        return self.held[:n]


def slots():
    model = Keeping()
    model.read = Slots(model.kept)
    return model


def of_the_module():
    model = Keeping()
    model.read = functools.partial(Keeping.read, model)
    return model


class OfArray(Keeping):
    def __init__(self):
        super().__init__()
        self.array = np.zeros((24, 3))
        self.kept = torch.from_numpy(self.array)


class WritingToArray(OfArray):
    def write(self, x):
        self.array[: len(x)] = kept(x).numpy()


class ReadingArray(OfArray):
    def read(self, n):
        return torch.tensor(self.array[:n])


class PartsOfArray(OfArray):
    def __init__(self):
        super().__init__()
        self.parts = [torch.from_numpy(self.array[5:]), self.array[:5]]

    def read(self, n):
        return torch.cat([torch.tensor(self.parts[1]), self.parts[0]])[:n]


class Conjugated(Keeping):
    def __init__(self):
        super().__init__()
        self.kept = torch.zeros(24, 3, dtype=torch.complex128)
        self.held = self.kept.conj()

    def write(self, x):
        self.kept[: len(x)] = kept(x) * (0.5 - 0.5j)

    def read(self, n):
        return self.held[:n].real + self.held.imag[:n]


class View(Keeping):
    """A parameter that is no longer trained, and a view of it."""

    def __init__(self):
        super().__init__()
        self.fixed = nn.Parameter(torch.zeros(24, 3, dtype=torch.float64), requires_grad=False)
        self.view = self.fixed.detach()

    def write(self, x):
        self.fixed.data[: len(x)] = kept(x)

    def read(self, n):
        return self.view[:n]


class OtherView(View):
    def write(self, x):
        self.view[: len(x)] = kept(x)

    def read(self, n):
        return self.fixed[:n]


HOLDERS = {
    "the module": Keeping,
    "a closure": closure,
    "a hook that writes": hook_that_writes,
    "a hook that reads": hook_that_reads,
    "a partial": partial,
    "a class": class_attribute,
    "slots": slots,
    "a partial of the module": of_the_module,
    "an array that is written": WritingToArray,
    "an array that is read": ReadingArray,
    "parts of an array": PartsOfArray,
    "a conjugated view": Conjugated,
    "a view that is read": View,
    "a view that is written": OtherView,
}


class Bias(Explicit):
    """It reads its first bias once more, without a gradient."""

    def scale(self, x):
        return self.layer.bias.detach() + 1


class ViewOfBias(Bias):
    def __init__(self, dtype):
        super().__init__(dtype)
        self.view = self.layer.bias.detach()

    def scale(self, x):
        return self.view + 1


class ArrayOfBias(ViewOfBias):
    def __init__(self, dtype):
        super().__init__(dtype)
        self.view = self.layer.bias.detach().numpy()

    def scale(self, x):
        return torch.tensor(self.view) + 1


class SlotsOfBias(Bias):
    def __init__(self, dtype):
        super().__init__(dtype)
        self.view = Slots(self.layer.bias.detach())

    def scale(self, x):
        return self.view(3) + 1


class ResultOfBias(ViewOfBias):
    def __init__(self, dtype):
        super().__init__(dtype)
        self.view = self.layer.bias[:]

    def scale(self, x):
        return self.view.detach() + 1


class ClosureOfBias(Bias):
    def __init__(self, dtype):
        super().__init__(dtype)
        view = self.layer.bias.detach()
        self.scale = lambda x: view + 1


def masked():
    """A hook holds a buffer that no call changes."""
    model = Explicit()
    mask = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    model.register_buffer("mask", mask)
    model.layer.register_forward_hook(lambda module, given, made: made * mask)
    return model
