"""Oracle: law, a model measured is the model as it was, to the last bit."""

import contextlib
import copy
import threading

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


def state(model):
    """All that has to stay: of the model, of its parameters, and of PyTorch."""
    modules = dict(model.named_modules())
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {
            name: (len(module._forward_hooks), len(module._forward_pre_hooks))
            for name, module in modules.items()
        },
        "identity": {name: id(value) for name, value in tensors.items()},
        "version": {name: value.detach().clone() for name, value in tensors.items()},
        "trained": {name: value.requires_grad for name, value in tensors.items()},
        "grad": {name: None if v.grad is None else v.grad.clone() for name, v in tensors.items()},
        "hooks of tensors": {name: len(v._backward_hooks or {}) for name, v in tensors.items()},
        "random": torch.random.get_rng_state(),
        "gradients on": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
    }


def is_same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def assert_unchanged(before, model):
    after = state(model)
    assert [key for key in before if not is_same(before[key], after[key])] == []


def refused(model, x):
    with pytest.raises(lzt.InputError):
        lzt.ntk(model, x, output=lambda out: out[:0])


def linearized(model, x):
    lzt.linearize(model)(*(x if isinstance(x, tuple) else (x,)))


def scaled(model, x):
    lzt.scale_output(model, 2.0)(*(x if isinstance(x, tuple) else (x,)))


FUNCTIONS = {
    "ntk": lzt.ntk,
    "traced ntk": lambda model, x: lzt.ntk(model, x, trace_outputs=True),
    "explain_ntk": lzt.explain_ntk,
    "sketch": lambda model, x: lzt.sketch(model, x, 3),
    "linearize": linearized,
    "scale_output": scaled,
    "a refused call": refused,
}
# They call the model as it would be called without them.
UNWATCHED = {"linearize", "scale_output"}
# What is computed from a parameter anew at each forward pass has no derivative in forward mode.
ONLY_MEASURED = {"old weight norm", "orthogonal"}


@pytest.mark.parametrize("name", torch_zoo.zoo())
def test_nothing_of_a_module_changes(name):
    model, x = torch_zoo.made(name)
    # Gradients are there, the last parameter is frozen, a tensor and a module have hooks.
    outputs = model(*x) if isinstance(x, tuple) else model(x)
    outputs.sum().backward()
    parameters = list(model.parameters())
    parameters[0].register_hook(lambda g: g)
    model.register_forward_hook(lambda *_: None)
    if len(parameters) > 1:
        parameters[-1].requires_grad_(False)
    before = state(model)
    for function, call in FUNCTIONS.items():
        if name in ONLY_MEASURED and function in ("linearize", "scale_output"):
            continue
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            inside = state(model)
            call(model, x)
            assert_unchanged(inside, model)
        assert_unchanged(before, model)


def watched(model, x):
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with lzt.watch(model, optimizer, (x, None), share=1.0, say=None) as monitor:
        optimizer.step()
    assert len(monitor.records) == 1


def diagnosed(model, x):
    start = {name: 0.9 * p.detach() for name, p in model.named_parameters()}
    lzt.diagnose(model, before=start, x=x)


def compared(model, x):
    weights = dict(model.state_dict())
    lzt.compare(model, {"a": weights, "b": weights}, x)


@pytest.mark.parametrize("name", ["resnet", "tied", "shared parts"])
@pytest.mark.parametrize("call", [watched, diagnosed, compared])
def test_nothing_changes_when_a_module_is_diagnosed(name, call):
    model, x = torch_zoo.made(name)
    model.train()
    model(x).sum().backward()
    next(iter(model.parameters())).register_hook(lambda g: g)
    model.register_forward_hook(lambda *_: None)
    list(model.parameters())[-1].requires_grad_(False)
    torch.use_deterministic_algorithms(True)
    torch.set_default_dtype(torch.float64)
    try:
        before = state(model)
        call(model, x)
        assert_unchanged(before, model)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_default_dtype(torch.float32)


def test_modes_of_submodules_and_buffers_that_change():
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    model = nn.Sequential(layer, nn.Tanh(), nn.Sequential(nn.Linear(3, 2)).eval()).double()
    layer.train()
    model[1].eval()
    for _ in range(300):  # until the power iteration of each call changes nothing any more
        layer(torch.ones(1, 4, dtype=torch.float64))
    x, before = torch.randn(3, 4, dtype=torch.float64), state(model)
    for call in (lzt.ntk, lzt.explain_ntk, lambda *given: lzt.sketch(*given, 3)):
        call(model, x)
        assert_unchanged(before, model)


class Failing(nn.Module):
    """Counts its calls in a buffer, changes its mode, draws numbers, and fails at one call."""

    def __init__(self, at):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.at, self.n_calls = at, 0

    def forward(self, x):
        self.n_calls += 1
        self.calls += 1
        self.layer.train(not self.layer.training)
        torch.rand(3)
        if self.n_calls == self.at:
            raise ArithmeticError("in the middle")
        return self.layer(x.flip(0).flip(0))  # rows are tried, since they are moved


@pytest.mark.parametrize("function", ["ntk", "explain_ntk", "sketch"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_nothing_changes_when_the_model_fails_in_the_middle(function, at):
    model, x = Failing(at), torch.randn(9, 4)
    before = state(model)
    if function == "explain_ntk" and at > 2:
        FUNCTIONS[function](model, x)  # it runs the model twice
    else:
        with pytest.raises(ArithmeticError, match="in the middle"):
            FUNCTIONS[function](model, x)
    assert_unchanged(before, model)


def test_inference_mode_outside():
    model, x = nn.Linear(3, 2), torch.randn(4, 3)
    wanted = lzt.ntk(model, x)
    with torch.inference_mode():
        assert torch.equal(lzt.ntk(model, x), wanted)
        assert torch.is_inference_mode_enabled()


def test_training_with_measurements_is_training_without():
    def trained(is_measured):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        x = torch.randn(6, 4)
        for _ in range(4):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if is_measured:
                model.eval()
                lzt.sketch(model, x, 3)
                lzt.ntk(model, x)
                model.train()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(True), trained(False))


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("function", ["ntk", "explain_ntk", "sketch"])
def test_a_table_that_shortens_its_rows_when_read(kind, function):
    model = nn.Sequential(kind(5, 4, max_norm=0.5), nn.Flatten())
    before = state(model)
    getattr(lzt, function)(model, torch.tensor([[0, 1], [2, 3], [1, 1], [4, 0]]))
    assert_unchanged(before, model)


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


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in UNWATCHED])
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
    "another order": lambda m: m.layer._parameters.update(weight=m.layer._parameters.pop("weight")),
}


class Doing(nn.Module):
    """A layer that changes what it consists of when it is called."""

    def __init__(self, deed):
        super().__init__()
        self.layer, self.deed = nn.Linear(3, 2), deed
        self.scale, self.mean, self.seen = 1.0, torch.zeros(2), []

    def forward(self, x):
        self.deed(self)
        return self.layer(x)


def consists_of(model):
    """Names in their order, and what they stand for."""
    named = [*model.named_modules(), *model.named_parameters(), *model.named_buffers()]
    return {
        "objects": [(name, id(one)) for name, one in named],
        "attributes": (model.scale, id(model.mean), model.mean.tolist(), list(model.seen)),
        "state dict": list(model.state_dict()),
    }


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in UNWATCHED])
@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_model_consists_of_stays(deed, function):
    model, x = Doing(DEEDS[deed]).eval(), torch.randn(5, 3)
    before, parts = state(model), consists_of(model)
    with contextlib.suppress(lzt.InputError):
        FUNCTIONS[function](model, x)
    assert consists_of(model) == parts
    assert_unchanged(before, model)


@pytest.mark.parametrize("function", ["ntk", "traced ntk", "explain_ntk", "sketch"])
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


@pytest.mark.parametrize("function", ["ntk", "traced ntk", "explain_ntk", "sketch"])
@pytest.mark.parametrize("how", ["in place", "behind the graph", "other memory", "another shape"])
def test_a_model_that_writes_to_its_parameters_is_refused(how, function):
    """The kernel would be that at other values than the present ones."""
    with pytest.raises(lzt.InputError, match="writes to its parameter 'layer"):
        FUNCTIONS[function](Writing(WRITES[how]).eval(), torch.randn(5, 3))


@pytest.mark.filterwarnings("ignore:Sparse CS")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_sparse_buffers(layout):
    """The adjacency matrix of a graph: the kernel is that with the dense one."""
    dense = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])

    class Graph(nn.Module):
        def __init__(self, adjacency):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 2)
            self.register_buffer("adjacency", adjacency)

        def forward(self, x):
            return torch.stack([(self.adjacency @ torch.tanh(self.layer(row))).sum(0) for row in x])

    model, x = Graph(getattr(dense, layout)()), torch.randn(5, 3, 4)
    buffer = model.adjacency
    kernel = lzt.ntk(model, x)
    torch.testing.assert_close(kernel, lzt.ntk(Graph(dense), x))
    assert model.adjacency is buffer
    assert torch.equal(torch.Tensor.to_dense(buffer), dense)
    lzt.sketch(model, x, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lzt.diagnose(model, before=before, x=x)


@pytest.mark.filterwarnings("ignore:Sparse CS")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.parametrize("is_added", [False, True])
def test_sparse_activations(layout, is_added):
    """The kernel is that with dense ones."""

    class Sparse(nn.Module):
        def __init__(self, lay_out):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.lay_out = nn.Linear(4, 2), lay_out

        def forward(self, x):
            h, weight, bias = self.lay_out(x.relu()), self.layer.weight.T, self.layer.bias
            return torch.addmm(bias.expand(len(x), 2), h, weight) if is_added else h @ weight

    x = torch.randn(5, 4)
    wanted = lzt.ntk(Sparse(lambda h: h), x)
    torch.testing.assert_close(lzt.ntk(Sparse(lambda h: getattr(h, layout)()), x), wanted)


IN_PLACE = {
    "scaled": lambda x: x.div_(2),
    "clamped": lambda x: x.clamp_(max=0.5),
    "a column zeroed": lambda x: x.index_fill_(1, torch.tensor([0]), 0),
    "normalized": lambda x: x.sub_(x.mean(1, keepdim=True)),
    "through a view": lambda x: (x[:, :2].mul_(3), x)[1],
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_model_that_changes_its_inputs_in_place(name):
    """The law: it is the model that changes a copy of them, and the rows given stay."""

    class Changes(nn.Module):
        def __init__(self, of):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.of = nn.Linear(4, 2).double(), of

        def forward(self, x):
            return torch.tanh(self.layer(IN_PLACE[name](self.of(x))))

    changing, other = Changes(lambda x: x), Changes(torch.clone)
    x = torch.randn(12, 4, dtype=torch.float64)
    given, y = x.clone(), torch.zeros(12, 2, dtype=torch.float64)
    torch.testing.assert_close(lzt.ntk(changing, given), lzt.ntk(other, x))
    found, wanted = (lzt.sketch(m, given, 3, y=y + given[:, :2]) for m in (changing, other))
    torch.testing.assert_close(found.products, wanted.products)
    before = {key: 1.1 * value for key, value in changing.state_dict().items()}
    found, wanted = (lzt.diagnose(m, before=before, x=given, y=y) for m in (changing, other))
    assert str(found) == str(wanted)
    assert torch.equal(given, x)
    linearized, scaled = lzt.linearize(changing), lzt.scale_output(changing, 10.0)
    for _ in range(2):
        torch.testing.assert_close(linearized(x.clone()), other(x))
        assert not scaled(x.clone()).any()


@pytest.mark.parametrize("measured", [lzt.ntk, lzt.sketch])
def test_rows_that_the_model_made_are_constants(measured):
    """Their graph is the caller's, and no part of the kernel."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    x = model(torch.randn(5, 3))
    found, wanted = measured(model, x), measured(model, x.detach())
    if measured is lzt.sketch:
        found, wanted = (torch.from_numpy(one.products) for one in (found, wanted))
    torch.testing.assert_close(found, wanted)
    x.sum().backward()  # through a graph that nobody has freed
    assert model[0].weight.grad is not None


def test_several_threads_measure_one_model():
    """While one moves the parameters that are zero, no other one reads them."""
    model, x = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 3)), torch.randn(6, 4)
    for name, p in model.named_parameters():
        if "bias" in name:
            nn.init.zeros_(p)
    before, wanted, found = state(model), lzt.ntk(model, x), []

    def measure():
        found.extend(lzt.ntk(model, x) for _ in range(10))

    threads = [threading.Thread(target=measure) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 30
    for one in found:
        torch.testing.assert_close(one, wanted)
    assert_unchanged(before, model)
