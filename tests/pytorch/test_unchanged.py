"""Oracle: law, a model measured is the model as it was, to the last bit."""

import threading

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from oracles.torch_state import assert_unchanged, state  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from pytorch.measuring import FUNCTIONS  # noqa: E402

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
