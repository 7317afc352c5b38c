"""Oracle: law, each call of a model has the arguments as the caller gave them.

Two calls of copies of the model, each with arguments of its own, give what is wanted.
"""

import copy
import functools
import threading
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


class Slots:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Itself(SimpleNamespace):
    def __deepcopy__(self, memo):
        return self


def a_class(x):
    return type("Holder", (), {"x": x})


# What holds something, and how it is read.
COPIED = {
    "itself": (lambda x: x, lambda a: a),
    "a list": (lambda x: [x], lambda a: a[0]),
    "an object with slots": (Slots, lambda a: a.x),
    "a partial": (lambda x: functools.partial(lambda y: y, x), lambda a: a()),
    "a mapping": (lambda x: MappingProxyType({"x": x}), lambda a: a["x"]),
    "a mapping inside": (lambda x: Slots(MappingProxyType({"x": x})), lambda a: a.x["x"]),
    "an iterator": (lambda x: iter([x]), next),
}
SHARED = {
    "a closure": (lambda x: lambda: x, lambda a: a()),
    "a closure in a dict": (lambda x: {"f": lambda: x}, lambda a: a["f"]()),
    "its own copy": (lambda x: Itself(x=x), lambda a: a.x),
    "a lock beside": (lambda x: SimpleNamespace(x=x, lock=threading.Lock()), lambda a: a.x),
    "a class": (a_class, lambda a: a.x),
}


class Writing(nn.Module):
    """A layer of what it adds to its argument."""

    def __init__(self, read, *, writes=True):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.read, self.writes = nn.Linear(4, 2).double(), read, writes

    def forward(self, given):
        x = self.read(given)
        if self.writes:
            x += 1
        return self.layer(torch.as_tensor(x).clone())


def values(kind):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x if kind is torch.Tensor else x.numpy()


def made(of, model):
    """A network at other parameters than the first ones, and what it is of a holder."""
    other, changed = copy.deepcopy(model), copy.deepcopy(model)
    network = of(model)
    with torch.no_grad():
        for one in (changed, network):
            for p in one.parameters():
                p += 0.1 if p.requires_grad else 0
    if of is lzt.linearize:
        return network, changed
    return network, lambda one, same: 3 * (changed(one) - other(same))


def scaled(model):
    return lzt.scale_output(model, 3.0)


@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray])
@pytest.mark.parametrize("of", [scaled, lzt.linearize])
@pytest.mark.parametrize("name", COPIED)
def test_what_is_written_to_is_copied_first(name, of, kind):
    wrap, read = COPIED[name]
    network, wanted = made(of, Writing(read))
    several = [wrap(values(kind)) for _ in range(2 if of is scaled else 1)]
    right = wanted(*several)
    for _ in range(2):
        x = values(kind)
        torch.testing.assert_close(network(wrap(x)), right)
        # The scaled model is called with what is given, and a copy of it with copies.
        n_written = torch.as_tensor(x - values(kind))
        assert torch.allclose(n_written, torch.full_like(n_written, of is scaled))


@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray])
@pytest.mark.parametrize("of", [scaled, lzt.linearize])
@pytest.mark.parametrize("name", SHARED)
def test_what_is_written_to_and_cannot_be_copied_is_refused(name, of, kind):
    wrap, read = SHARED[name]
    network, _ = made(of, Writing(read))
    for _ in range(2):
        x = values(kind)
        with pytest.raises(lzt.InputError, match="holds which cannot be copied"):
            network(wrap(x))
        np.testing.assert_array_equal(x, values(kind))
    # Also after a first call, that had another argument.
    model = Writing(lambda given: read(given) if type(given) is not kind else given)
    network, _ = made(scaled, model)
    network(values(kind))
    with pytest.raises(lzt.InputError, match="holds which cannot be copied"):
        network(wrap(values(kind)))


@pytest.mark.parametrize("of", [scaled, lzt.linearize])
@pytest.mark.parametrize("name", SHARED)
def test_what_is_only_read_need_not_be_copied(name, of):
    wrap, read = SHARED[name]
    network, wanted = made(of, Writing(read, writes=False))
    held = wrap(values(torch.Tensor))
    right = wanted(held, held) if of is scaled else wanted(held)
    torch.testing.assert_close(network(held), right)


@pytest.mark.parametrize("of", [scaled, lzt.linearize])
def test_what_can_be_read_once_is_refused(of):
    network = of(Writing(next))
    with pytest.raises(lzt.InputError, match="generator, which can be read only once"):
        network(x for x in [values(torch.Tensor)])


class Two(nn.Module):
    def __init__(self, read=lambda b: b):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.read = nn.Linear(4, 2).double(), read

    def forward(self, a, b):
        a.add_(1)
        return self.layer(self.read(b).clone())


@pytest.mark.parametrize("of", [scaled, lzt.linearize])
def test_a_tensor_that_is_given_twice_is_one_tensor(of):
    network, _ = made(of, Two())
    x = values(torch.Tensor)
    plain, _ = made(of, Writing(lambda a: a, writes=False))
    torch.testing.assert_close(network(x, x), plain(values(torch.Tensor) + 1))
    network, _ = made(of, Two(lambda b: b()))
    x = values(torch.Tensor)
    with pytest.raises(lzt.InputError, match="holds which cannot be copied"):
        network(x, lambda: x)


def test_the_models_own_parameter_may_be_given_inside_of_an_object():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.scale = nn.Linear(4, 2), nn.Parameter(torch.ones(4))
            self.double()

        def forward(self, given):
            return self.layer(given.x * given.scale)

    model, x = Both(), values(torch.Tensor)
    network, start = lzt.scale_output(model, 3.0), copy.deepcopy(model)
    with torch.no_grad():
        model.layer.weight += 0.1
    found = network(SimpleNamespace(x=x, scale=model.scale))
    plain = SimpleNamespace(x=x, scale=model.scale)
    wanted = 3 * (model(plain) - start(plain))
    torch.testing.assert_close(found, wanted)
    parameters = list(model.parameters())
    for mine, its in zip(
        torch.autograd.grad(found.sum(), parameters),
        torch.autograd.grad(wanted.sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, its)
    linearized = lzt.linearize(model)
    torch.testing.assert_close(linearized(plain), model(plain))


LAYOUTS = {
    "transposed": lambda n: torch.randn(4, n).T,
    "every second": lambda n: torch.randn(n, 8)[:, ::2],
    "one number": lambda n: torch.randn(n, 1).expand(n, 4),
    "one row": lambda n: torch.randn(1, 4).expand(n, 4),
}
READS = {
    "contiguous": lambda x: 2.0 if x.is_contiguous() else 1.0,
    "first": lambda x: 1 + 0.1 * x.stride()[0],
    "last": lambda x: 1 + 0.1 * x.stride()[-1],
}


@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_that_reads_the_layout_of_rows_is_right_or_refused(layout, read, is_zero):
    """A kernel is that of copies of the rows, as `clone` lays them out."""
    torch.manual_seed(0)

    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.last = nn.Linear(4, 5), nn.Linear(5, 2)
            if is_zero:
                nn.init.zeros_(self.last.weight)
            self.double()

        def forward(self, x):
            return self.last(torch.tanh(self.layer(x)) * READS[read](x))

    model = Reading()
    for n, memory in ((1, None), (5, None), (6, 12_000)):  # the last in blocks
        x = LAYOUTS[layout](n).double()
        wanted = torch_zoo.kernel(model, x.clone())
        try:
            found = lzt.ntk(model, x, memory=memory)
        except lzt.InputError as error:
            assert "depends on the other rows" in str(error)  # noqa: PT017
        else:
            torch.testing.assert_close(found, wanted)


VIEWS = {
    "a view": lambda x: (x, x[:]),
    "a detached one": lambda x: (x, x.detach()),
    "an array": lambda x: (x, x.numpy()),
    "a row of all": lambda x: (x, x[-1:]),
    "an array that is written to": lambda x: (x.numpy(), x),
    "in a list": lambda x: ([x], SimpleNamespace(x=x.T)),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("of", ["scaled", "linearized"])
def test_arguments_that_share_memory(of, writes, name):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 2)

        def forward(self, first, second):
            first = first[0] if isinstance(first, list) else first
            second = second.x.T if isinstance(second, SimpleNamespace) else second
            if writes:
                first += 1
            return self.layer(torch.as_tensor(first) * torch.as_tensor(second))

    model, x = Two(), torch.randn(3, 4)
    network = lzt.linearize(model) if of == "linearized" else lzt.scale_output(model, 2.0)
    if writes:
        with pytest.raises(lzt.InputError, match="shares memory with another one"):
            network(*VIEWS[name](x))
        return
    found = network(*VIEWS[name](x))
    wanted = model(*VIEWS[name](x)) if of == "linearized" else torch.zeros(3, 2)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("of", [scaled, lzt.linearize])
def test_two_halves_of_a_batch_share_nothing(of):
    network, _ = made(of, Two())
    rows = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    first, second = rows.chunk(2)
    plain, _ = made(of, Writing(lambda a: a, writes=False))
    right = plain(second.clone())
    torch.testing.assert_close(network(first, second), right)
