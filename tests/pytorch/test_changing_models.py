"""Oracle: law, what a model does to itself when called is undone, and refused if it counts."""

import collections
import contextlib
import copy
import random
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles.torch_state import assert_unchanged, state  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch._random_numbers import kept_random_numbers  # noqa: E402
from pytorch.measuring import FUNCTIONS, MEASURING  # noqa: E402

KERNELS = ["ntk", "traced ntk", "explain_ntk", "sketch"]

WRITES = {
    "in place": lambda layer: layer.weight.detach().mul_(1.5),
    "behind the graph": lambda layer: layer.weight.data.add_(0.1),
    "once": lambda layer: layer.bias.data.fill_(1.0),
    "other memory": lambda layer: setattr(layer.weight, "data", 2 * layer.weight.data),
    "another shape": lambda layer: setattr(layer.bias, "data", layer.bias.data[:1].clone()),
    "frozen": lambda layer: layer.bias.requires_grad_(False),
    "a gradient": lambda layer: setattr(layer.bias, "grad", torch.ones_like(layer.bias)),
    "its gradient": lambda layer: layer.weight.grad.add_(1.0),
    "backward": lambda layer: layer.weight.square().sum().backward(),
}


class Writing(nn.Module):
    """A layer that does something to its own parameters when it is called."""

    def __init__(self, write):
        super().__init__()
        self.layer, self.write = nn.Linear(3, 2), write
        self.layer.weight.grad = torch.ones(2, 3)

    def forward(self, x):
        self.write(self.layer)
        return self.layer(x)


@pytest.mark.parametrize("function", MEASURING)
@pytest.mark.parametrize("how", WRITES)
def test_what_a_model_does_to_its_parameters_is_undone(how, function):
    model, x = Writing(WRITES[how]).eval(), torch.randn(5, 3)
    before = state(model)
    with contextlib.suppress(lzt.InputError):
        FUNCTIONS[function](model, x)
    assert_unchanged(before, model)


DEEDS = {
    "another parameter": lambda m: setattr(m.layer, "weight", nn.Parameter(0.9 * m.layer.weight)),
    "equal parameter": lambda m: setattr(m.layer, "weight", nn.Parameter(m.layer.weight.detach())),
    "another layer": lambda m: setattr(m, "layer", copy.deepcopy(m.layer)),
    "a number": lambda m: setattr(m, "scale", 0.5 * m.scale),
    "a tensor": lambda m: setattr(m, "mean", m.mean + 1),
    "a list": lambda m: m.seen.append(1),
    "a buffer": lambda m: m.register_buffer("extra", torch.zeros(2)),
    "a parameter": lambda m: m.register_parameter("more", nn.Parameter(torch.zeros(2))),
    "a hook": lambda m: m.layer.register_forward_hook(lambda *given: None),
    "a hook of a tensor": lambda m: m.layer.weight.register_hook(lambda g: g),
    "a buffer elsewhere": lambda m: setattr(m.shift, "data", m.shift.data + 1),
    "an equal buffer elsewhere": lambda m: setattr(m.shift, "data", m.shift.data.clone()),
    "another order": lambda m: m.layer._parameters.update(weight=m.layer._parameters.pop("weight")),
}


class Doing(nn.Module):
    """A layer that changes what it consists of when it is called."""

    def __init__(self, deed):
        super().__init__()
        self.layer, self.deed = nn.Linear(3, 2), deed
        self.scale, self.mean, self.seen = 1.0, torch.zeros(2), []
        self.register_buffer("shift", torch.zeros(2))

    def forward(self, x):
        self.deed(self)
        return self.layer(x)


def consists_of(model):
    """Names in their order, and what they stand for."""
    named = [*model.named_modules(), *model.named_parameters(), *model.named_buffers()]
    return {
        "objects": [(name, id(one)) for name, one in named],
        "memory": [one.data_ptr() for one in [*model.parameters(), *model.buffers()]],
        "attributes": (model.scale, id(model.mean), model.mean.tolist(), list(model.seen)),
        "state dict": list(model.state_dict()),
    }


@pytest.mark.parametrize("function", MEASURING)
@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_model_consists_of_stays(deed, function):
    model, x = Doing(DEEDS[deed]).eval(), torch.randn(5, 3)
    before, parts = state(model), consists_of(model)
    with contextlib.suppress(lzt.InputError):
        FUNCTIONS[function](model, x)
    assert consists_of(model) == parts
    assert_unchanged(before, model)


class Holder:
    """A plain object, with attributes of its own."""

    def __init__(self):
        self.entries, self.keys = {"a": [[0]]}, torch.zeros(2)


STATES = {
    "a nested list": (lambda: {"a": [[0]]}, lambda held: held["a"][0].append(1)),
    "tensors in a list": (lambda: [torch.zeros(2)], lambda held: held[0].add_(1)),
    "an array": (lambda: np.zeros(3), lambda held: held.__iadd__(1)),
    "a deque": (lambda: collections.deque([1, 2]), lambda held: held.append(3)),
    "a counter": (lambda: collections.Counter("ab"), lambda held: held.update("a")),
    "a table of lists": (
        lambda: collections.defaultdict(list),
        lambda held: held["a"].append(1),
    ),
    "a user's mapping": (
        lambda: collections.UserDict(a=1),
        lambda held: held.update(a=held["a"] + 1),
    ),
    "a plain object": (Holder, lambda held: held.entries["a"].append(1)),
    "what a plain object replaces": (Holder, lambda held: setattr(held, "keys", held.keys + 1)),
    "what a plain object writes to": (Holder, lambda held: held.keys.add_(1)),
    "a namespace": (
        lambda: types.SimpleNamespace(n=0),
        lambda held: setattr(held, "n", held.n + 1),
    ),
    "a layer in a list": (
        lambda: [nn.Linear(2, 2)],
        lambda held: held[0].weight.data.add_(1),
    ),
    "memory that is given back": (
        lambda: torch.ones(3),
        lambda held: held.untyped_storage().resize_(0),
    ),
    "another number of axes": (lambda: torch.ones(3), lambda held: held.unsqueeze_(0)),
    "another size": (lambda: torch.ones(3), lambda held: held.resize_(5).fill_(2)),
    "a gradient": (lambda: torch.ones(3), lambda held: held.requires_grad_(True)),
    "an expanded tensor": (
        lambda: [torch.zeros(2, 1).expand(2, 3)],
        lambda held: held[0][:, 0].add_(1),
    ),
    "a list beside a vocabulary": (
        lambda: [{str(i): i for i in range(50_000)}, [0]],
        lambda held: held[1].append(1),
    ),
    "a generator in a list": (lambda: [random.Random(0)], lambda held: held[0].random()),
    "a generator in a mapping": (
        lambda: {"g": torch.Generator().manual_seed(0)},
        lambda held: torch.rand(1, generator=held["g"]),
    ),
    "bits": (lambda: np.random.PCG64(0), lambda held: held.random_raw()),
    "a generator without a state": (random.SystemRandom, lambda held: held.random()),
}


def described(held):
    """What a state holds, as text that is equal where it is."""
    if isinstance(held, torch.Tensor):
        return str((held.shape, held.requires_grad, held.tolist()))
    if isinstance(held, torch.Generator):
        return str(held.get_state().tolist())
    if isinstance(held, nn.Module):
        return described(list(held.parameters()))
    if isinstance(held, Holder | types.SimpleNamespace):
        return described(vars(held))
    if isinstance(held, dict | collections.UserDict):
        return str({key: described(value) for key, value in held.items()})
    if isinstance(held, list | tuple):
        return str([described(one) for one in held])
    if isinstance(held, random.SystemRandom):
        return "none"
    if isinstance(held, random.Random):
        return str(held.getstate())
    return str(held.state if isinstance(held, np.random.PCG64) else held)


class Stateful(nn.Module):
    """A layer, and something that each call changes and that has no influence."""

    def __init__(self, name):
        super().__init__()
        make, self.change = STATES[name]
        self.layer, self.state = nn.Linear(3, 2), make()

    def forward(self, x):
        self.change(self.state)
        return self.layer(x)


@pytest.mark.parametrize("function", MEASURING)
@pytest.mark.parametrize("name", STATES)
def test_what_a_model_holds_through_containers_and_objects_stays(name, function):
    model, x = Stateful(name).eval(), torch.randn(5, 3)
    before, held = described(model.state), model.state
    FUNCTIONS[function](model, x)
    assert model.state is held
    assert described(held) == before


def test_a_search_of_what_is_held_ends():
    model = nn.Linear(3, 2)
    endless = [model, {}]
    endless.append(endless)
    endless[1]["itself"] = endless[1]
    held = [endless, list(range(10**6)), tuple([endless] * 3)]
    setattr(model, "held", held)  # noqa: B010
    lzt.ntk(model, torch.randn(5, 3))
    assert len(held[1]) == 10**6


class Drawing(nn.Module):
    """Random numbers of all kinds, which have no influence."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.of_torch = torch.Generator().manual_seed(1)
        self.of_numpy, self.legacy = np.random.default_rng(1), np.random.RandomState(1)
        self.of_python = random.Random(1)

    def forward(self, x):
        self.drawn()
        return self.layer(x)

    def drawn(self):
        return (
            float(torch.rand((), generator=self.of_torch)),
            *(of.random() for of in (self.of_numpy, self.of_python)),
            *(self.legacy.rand(), float(torch.rand(())), np.random.rand()),  # noqa: NPY002
        )


@pytest.mark.parametrize("function", MEASURING)
def test_random_numbers_of_all_kinds_are_those_without_it(function):
    drawn = []
    for is_measured in (True, False):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        model = Drawing().eval()
        if is_measured:
            FUNCTIONS[function](model, torch.randn(5, 3, generator=torch.Generator()))
        drawn.append(model.drawn())
    assert drawn[0] == drawn[1]


def test_random_numbers_of_python_are_those_without_it():
    """By itself, since what checks types in these tests draws such numbers too."""
    before = random.getstate()
    with kept_random_numbers(nn.Linear(3, 2), ()):
        random.random()
    assert random.getstate() == before


@pytest.mark.parametrize("function", [*KERNELS, "linearize"])
@pytest.mark.parametrize(
    ("deed", "said"),
    {
        "another parameter": "replaces its parameter 'layer.weight'",
        "equal parameter": "replaces its parameter 'layer.weight'",
        "another layer": "replaces its parameter 'layer.weight'",
        "a parameter": "makes its parameter 'more'",
        "frozen": "freezes its parameter 'layer.bias'",
        "unfrozen": "unfreezes its parameter 'fixed'",
        "written": "writes to its parameter 'layer.weight'",
        "written behind": "writes to its parameter 'layer.weight'",
    }.items(),
)
def test_what_a_call_does_to_parameters_is_said(deed, said, function):
    class Half(Doing):
        def __init__(self, deed):
            super().__init__(deed)
            self.fixed = nn.Parameter(torch.zeros(2), requires_grad=False)

    deeds = DEEDS | {
        "frozen": lambda m: m.layer.bias.requires_grad_(False),
        "unfrozen": lambda m: m.fixed.requires_grad_(),
        "written": lambda m: m.layer.weight.detach().mul_(0.9),
        "written behind": lambda m: m.layer.weight.data.mul_(0.9),
    }
    if function == "linearize" and deed == "frozen":
        return  # as the parameters of its copy are
    model, x = Half(deeds[deed]).eval(), torch.randn(5, 3)
    before = state(model)
    with pytest.raises(lzt.InputError, match=said):
        FUNCTIONS[function](model, x)
    assert_unchanged(before, model)


class Part(nn.Module):
    """A module that has no parameters, or no parts, before its first call."""

    def __init__(self, make):
        super().__init__()
        self.make, self.is_made = make, False

    def forward(self, x):
        if not self.is_made:
            self.is_made = True
            self.make(self)
        return x * self.get_parameter("scale" if "scale" in self._parameters else "part.scale")


def make_part(module):
    part = nn.Module()
    part.register_parameter("scale", nn.Parameter(torch.ones(3)))
    module.part = part


def make_dict(module):
    module._parameters = {"scale": nn.Parameter(torch.ones(3))}


@pytest.mark.parametrize("function", ["ntk", "sketch", "explain_ntk"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda m: m.register_parameter("scale", nn.Parameter(torch.ones(3))), "1.scale"),
        (make_part, "1.part.scale"),
        (make_dict, "1.scale"),
    ],
)
def test_the_first_parameter_of_a_module_made_in_a_call(make, name, function):
    model = nn.Sequential(nn.Linear(3, 3), Part(make)).eval()
    with pytest.raises(lzt.InputError, match=f"makes its parameter '{name}'"):
        FUNCTIONS[function](model, torch.randn(5, 3))


KEEPERS = {
    "centred by the batch": lambda m, x: m.layer(x - x.mean(0)),
    "its outputs centred": lambda m, x: m.layer(x) - m.layer(x).mean(0).detach(),
    "written for one row": lambda m, x: m.layer(m.written(x, len(x) == 1)),
    "written for all rows": lambda m, x: m.layer(m.written(x, len(x) == 9)),
    "written where no gradient is": lambda m, x: m.layer(m.written(x, not torch.is_grad_enabled())),
    "a switch after two calls": lambda m, x: m.layer(x) * (1 + (m.counted() > 2)),
    "a switch after three calls": lambda m, x: m.layer(x) * (1 + (m.counted() > 3)),
}


class Keeping(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.layer, self.run, self.n_calls = nn.Linear(3, 2), run, 0

    def forward(self, x):
        return self.run(self, x)

    def written(self, x, is_time):
        if is_time:
            self.layer.weight.data.mul_(0.9)
        return x

    def counted(self):
        self.n_calls += 1
        return self.n_calls


@pytest.mark.parametrize("function", KERNELS)
@pytest.mark.parametrize("how", KEEPERS)
def test_all_functions_refuse_what_has_no_kernel(how, function):
    model = Keeping(KEEPERS[how]).eval()
    with pytest.raises(lzt.InputError):
        FUNCTIONS[function](model, torch.randn(9, 3))


@pytest.mark.parametrize("function", KERNELS)
def test_a_checkpoint_that_hides_parameters_is_refused(function):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

        def forward(self, x):
            x = x.clone().requires_grad_()
            return checkpoint(self.layers, x, use_reentrant=True)

    with pytest.raises(lzt.InputError, match="use_reentrant=False"):
        FUNCTIONS[function](Checkpointed().eval(), torch.randn(4, 3))


def test_a_sparse_gradient_that_a_model_adds_to_is_put_back():
    class Adding(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 4, sparse=True)

        def forward(self, x):
            if self.table.weight.grad is not None:
                self.table.weight.grad.mul_(2)
            return self.table(x).sum(1)

    model, x = Adding(), torch.tensor([[0, 1], [2, 3], [1, 1]])
    model(x).sum().backward()
    gradient = model.table.weight.grad
    before = gradient.to_dense().clone()
    lzt.ntk(model, x)
    assert model.table.weight.grad is gradient
    assert torch.equal(gradient.to_dense(), before)


@pytest.mark.parametrize("function", KERNELS)
@pytest.mark.parametrize("how", ["in place", "behind the graph", "other memory", "another shape"])
def test_a_model_that_writes_to_its_parameters_is_refused(how, function):
    """The kernel would be that at other values than the present ones."""
    with pytest.raises(lzt.InputError, match="writes to its parameter 'layer"):
        FUNCTIONS[function](Writing(WRITES[how]).eval(), torch.randn(5, 3))


@pytest.mark.parametrize("function", KERNELS)
def test_a_tensor_that_a_function_holds_too_is_refused(function):
    """The call would write to a copy, and the function read the original."""

    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, held = nn.Linear(3, 2), torch.zeros(9, 2)
            self.held, self.read = held, lambda n: held[:n]

        def forward(self, x):
            h = self.layer(x)
            self.held[: len(x)] = h.detach()
            return h * self.read(len(x))

    with pytest.raises(lzt.InputError):
        FUNCTIONS[function](Closed().eval(), torch.randn(5, 3))
