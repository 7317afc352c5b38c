"""Oracle: central differences of the module in float64; law, its kernel never changes."""

import copy
import functools
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import lazyrich as lz  # noqa: E402
import lazyrich.torch as lzt  # noqa: E402

NAMES = ["mlp", "tied", "siamese", "lstm", "vision transformer", "resnet", "parametrized"]


def run(model, x):
    return model(*x) if isinstance(x, tuple) else model(x)


def moved(model, change, step):
    """A copy with parameters θ₀ + step · change."""
    copied = copy.deepcopy(model)
    with torch.no_grad():
        trained = [p for p in copied.parameters() if p.requires_grad]
        for parameter, amount in zip(trained, change, strict=True):
            parameter += step * amount
    return copied


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative_along_the_change(name):
    model, x = torch_zoo.made(name)
    linearized = lzt.linearize(model)
    start = run(model, x)
    torch.testing.assert_close(run(linearized, x), start, rtol=1e-12, atol=1e-12)
    change = [0.3 * torch.randn_like(p) for p in linearized.parameters_now]
    with torch.no_grad():
        for parameter, amount in zip(linearized.parameters_now, change, strict=True):
            parameter += amount
    step = 1e-5
    slope = (run(moved(model, change, step), x) - run(moved(model, change, -step), x)) / (2 * step)
    torch.testing.assert_close(run(linearized, x) - start, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["mlp", "vision transformer"])
def test_trained_and_still_lazy(name):
    model, x = torch_zoo.made(name)
    linearized = lzt.linearize(model)
    rate = 0.2 / float(lzt.ntk(model, x, trace_outputs=True).trace())
    optimizer = torch.optim.SGD(linearized.parameters(), rate)
    kernel = lzt.ntk(model, x)
    n, _, c, _ = kernel.shape
    y = torch.zeros(n, c, dtype=torch.float64)
    losses, f = [], run(model, x).detach()
    for _ in range(3):
        # Gradient descent on half the squared error moves the outputs by the kernel.
        loss = 0.5 * ((run(linearized, x) - y) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        f = f - rate * torch.einsum("ijab,jb->ia", kernel, f - y)
        torch.testing.assert_close(run(linearized, x).detach(), f, rtol=1e-9, atol=1e-11)
    assert losses[2] < losses[0]


def test_scaled_output():
    model, x = torch_zoo.made("mlp")
    other = copy.deepcopy(model)
    scaled = lzt.scale_output(model, 3.0)
    assert not scaled(x).any()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(scaled(x), 3 * (model(x) - other(x)))
    torch.testing.assert_close(lzt.scale_output(model, 3.0, center=False)(x), 3 * model(x))
    # The kernel is α² times that of the model.
    torch.testing.assert_close(lzt.ntk(scaled, x), 9 * lzt.ntk(model, x))


def test_scaled_output_trains_only_the_model():
    scaled = lzt.scale_output(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 2.0).train()
    assert not scaled.initial.training
    assert len([p for p in scaled.parameters() if p.requires_grad]) == 4


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_has_to_be_a_positive_number(alpha):
    with pytest.raises(lzt.InputError, match="alpha"):
        lzt.scale_output(nn.Linear(2, 1), alpha)


class Halved(nn.Module):
    """Its inner layer is computed without gradients."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            inner = torch.tanh(self.layer(x))
        return self.layer(inner)


class Table(nn.Module):
    """A table whose row 0 stands for padding and gets no gradient, and a readout tied to it."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4, padding_idx=0)

    def forward(self, x):
        return torch.tanh(self.table(x)).sum(1) @ self.table.weight.T


def cut():
    return Halved().double(), torch.randn(3, 4, dtype=torch.float64)


def padded():
    return Table().double(), torch.tensor([[1, 2, 0], [3, 0, 0], [4, 4, 1]])


@pytest.mark.parametrize("made", [cut, padded])
def test_kernel_is_that_of_a_model_whose_gradients_are_cut(made):
    torch.manual_seed(0)
    model, x = made()
    linearized = lzt.linearize(model)
    values = linearized(x)
    torch.testing.assert_close(values, model(x), rtol=1e-12, atol=1e-12)
    rows = [
        torch.autograd.grad(value, linearized.parameters_now, retain_graph=True)
        for value in values.flatten()
    ]
    jacobian = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    kernel = lzt.ntk(model, x)
    n, _, c, _ = kernel.shape
    found = (jacobian @ jacobian.T).reshape(n, c, n, c).permute(0, 2, 1, 3)
    torch.testing.assert_close(found, kernel, rtol=1e-9, atol=1e-12)
    assert linearized.way == "double backward"


def test_gradients_that_a_hook_changes_on_the_way():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[1].register_full_backward_hook(lambda module, given, got: (-given[0],))
    x = torch.randn(3, 4, dtype=torch.float64)
    linearized = lzt.linearize(model)
    (found,) = torch.autograd.grad(linearized(x)[0, 0], linearized.parameters_now[0])
    (wanted,) = torch.autograd.grad(model(x)[0, 0], model[0].weight)
    torch.testing.assert_close(found, wanted)


def test_without_any_second_derivative_refused_in_a_sentence():
    linearized = lzt.linearize(nn.EmbeddingBag(5, 4, mode="sum"))
    with pytest.raises(lz.InputError, match="no second derivative"):
        linearized(torch.tensor([[1, 2], [0, 3]]))


@pytest.mark.parametrize("way", ["jvp", "double backward"])
def test_a_layer_that_is_used_twice_stays_whole(way):
    layer = nn.Linear(3, 3).double()
    model = nn.Sequential(layer, nn.Tanh(), layer)
    linearized = lzt.linearize(model)
    linearized.way = way
    x = torch.randn(4, 3, dtype=torch.float64)
    with torch.no_grad():
        linearized.parameters_now[0].mul_(1.1)
    value = linearized(x)
    kept = dict(linearized.initial.named_parameters())
    assert all(type(p) is nn.Parameter and p.is_leaf for p in kept.values())
    torch.testing.assert_close(copy.deepcopy(linearized)(x), value)
    (gradient,) = torch.autograd.grad(value.sum(), [linearized.parameters_now[0]])
    (wanted,) = torch.autograd.grad(model(x).sum(), [layer.weight])
    torch.testing.assert_close(gradient, wanted)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return checkpoint(lambda x: torch.tanh(self.layer(x)), x, use_reentrant=False)


def test_checkpointed_activations_refused_in_a_sentence():
    with pytest.raises(lzt.InputError, match="turn that off"):
        lzt.linearize(Checkpointed())(torch.randn(4, 3))


class Running(nn.Module):
    """A layer, and something else that is done in each call."""

    def __init__(self, run):
        super().__init__()
        self.layer, self.run, self.n_calls = nn.Linear(3, 2), run, 0
        self.last = self.shift = None

    def forward(self, x):
        self.n_calls += 1
        return self.run(self, x)


def shifted_by_the_first_batch(model, x):
    if model.shift is None:
        model.shift = x.mean(0).detach()
    return model.layer(x - model.shift)


CHANGING = {
    "dropout": lambda m, x: torch.nn.functional.dropout(m.layer(x), 0.5, training=True),
    "noise": lambda m, x: m.layer(x) + torch.randn(len(x), 2),
    "a new layer each time": lambda m, x: m.layer(x) + nn.Linear(3, 2)(x),
    "a switch": lambda m, x: m.layer(x) * (1 + (m.n_calls > 3)),
    "the first batch": shifted_by_the_first_batch,
}


@pytest.mark.parametrize("how", CHANGING)
def test_a_module_that_is_no_function_is_refused(how):
    linearized, x = lzt.linearize(Running(CHANGING[how])), torch.randn(5, 3)
    random_numbers = torch.random.get_rng_state()
    for _ in range(2):
        with pytest.raises(lzt.InputError, match="change from call to call"):
            linearized(x)
    assert torch.equal(torch.random.get_rng_state(), random_numbers)


def test_a_hook_of_the_backward_pass_that_writes_is_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def write(module, given, got):
        module.weight.data.mul_(0.9)

    model[2].register_full_backward_hook(write)
    with pytest.raises(lzt.InputError, match=r"writes to its parameter '2\.weight'"):
        lzt.linearize(model)(torch.randn(5, 3))


def test_what_a_module_keeps_of_a_call_is_not_that_of_the_differentiation():
    def keeping(model, x):
        model.last = model.layer(x)
        return model.last.tanh()

    model, x = Running(keeping), torch.randn(5, 3)
    linearized = lzt.linearize(model)
    for _ in range(2):
        torch.testing.assert_close(linearized(x), model(x))
    assert linearized.initial.last is None
    torch.testing.assert_close(copy.deepcopy(linearized)(x), model(x))


@pytest.mark.parametrize("is_first", [True, False])
def test_arguments_that_the_module_cannot_take_are_refused_in_a_sentence(is_first):
    def asking(model, x, **named):
        if len(x) == 7:
            raise KeyError("boom")
        return model.layer(x)

    linearized = lzt.linearize(Running(asking))
    if not is_first:
        linearized(torch.randn(5, 3))
    for wrong in (torch.randn(5, 4), torch.randn(5, 3).bfloat16(), torch.randn(7, 3)):
        with pytest.raises(lzt.InputError, match="cannot take these arguments"):
            linearized(wrong)
    with pytest.raises(lzt.InputError, match="cannot take these arguments"):
        linearized()
    x = torch.randn(5, 3)
    torch.testing.assert_close(linearized(x), linearized.initial(x))
    assert linearized.way == "jvp"


def test_in_autocast_the_types_that_the_module_takes():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3)
    linearized = lzt.linearize(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(linearized(x.bfloat16()), model(x.bfloat16()))


def test_a_first_call_inside_vmap_is_refused_in_a_sentence():
    model, x = nn.Linear(3, 2), torch.randn(5, 3)
    linearized = lzt.linearize(model)

    def of_row(row):
        return linearized(row[None])[0]

    with pytest.raises(lzt.InputError, match=r"outside of torch\.func"):
        torch.func.vmap(of_row)(x)
    linearized(x)
    torch.testing.assert_close(torch.func.vmap(of_row)(x), model(x))


class Hidden(nn.Module):
    """Dropout before a read-out of zeros, which shows in gradients alone."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 6), nn.Linear(6, 2)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        return self.out(torch.nn.functional.dropout(self.layer(x), 0.5, training=True))


def test_random_numbers_that_zeros_hide_are_found():
    with pytest.raises(lzt.InputError, match="change from call to call"):
        lzt.linearize(Hidden())(torch.randn(5, 4))
    plain = nn.Sequential(nn.Linear(4, 2, bias=False))
    plain.register_forward_pre_hook(lambda module, x: (torch.rand_like(x[0]) * x[0],))
    with pytest.raises(lzt.InputError, match="change from call to call"):
        lzt.linearize(plain)(torch.zeros(5, 4))


def mlp():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def patched():
    model = mlp()
    former = model.forward
    model.forward = lambda x: 2 * former(x)
    return model


def patched_inside():
    model = mlp()
    former = model[0].forward
    model[0].forward = lambda x: 2 * former(x)
    return model


def hooked():
    model = mlp()
    other = model[2]
    model[0].register_forward_hook(lambda module, given, made: made + other.bias.sum())
    return model


@pytest.mark.parametrize("make", [patched, patched_inside, hooked])
def test_a_copy_that_computes_with_the_original_is_refused(make):
    """What a closure holds is not copied with the module."""
    model, x = make(), torch.randn(5, 4)
    start = {name: 0.9 * p.detach() for name, p in model.named_parameters()}
    asked = [
        lambda: lzt.linearize(model)(x),
        lambda: lzt.scale_output(model, 2.0)(x),
        lambda: lzt.diagnose(model, before=start, x=x),
    ]
    for ask in asked:
        with pytest.raises(lzt.InputError, match="not the copy's"):
            ask()
    assert all(p.grad is None for p in model.parameters())


def test_a_parameter_that_is_read_from_a_list_is_refused():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.weights = [self.layer.weight]

        def forward(self, x):
            return nn.functional.linear(x, self.weights[0], self.layer.bias)

    with pytest.raises(lzt.InputError, match="held elsewhere"):
        lzt.linearize(Listed())(torch.randn(5, 4))


class Rewriting(nn.Module):
    """What it computes is written to a buffer and to a list, and read from there."""

    scale: torch.Tensor

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 6), nn.Linear(6, 2)
        self.register_buffer("scale", torch.zeros(6))
        self.caches = [torch.zeros(9, 6)]

    def forward(self, x):
        self.scale.copy_(torch.arange(6.0))
        self.caches[0][: len(x)] = x.sum(1, keepdim=True)
        h = self.layer(x) * self.scale + self.layer(x) * self.caches[0][: len(x)]
        return self.out(torch.tanh(h))


def test_a_model_that_writes_to_its_buffers_is_differentiated():
    """As the cache of keys and values of a language model."""
    torch.manual_seed(0)
    model, x = Rewriting().double(), torch.randn(5, 4, dtype=torch.float64)
    linearized = lzt.linearize(model)
    parameters = list(linearized.parameters_now)
    for _ in range(2):
        values = linearized(x)
        torch.testing.assert_close(values, model(x))
        found = torch.autograd.grad(values.square().sum(), parameters)
        wanted = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
        torch.testing.assert_close(found, wanted)
    before = [model.scale.clone(), model.caches[0].clone()]
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(v, parameters, retain_graph=True)])
        for v in linearized(x).flatten()
    ]
    wanted = (torch.stack(rows) @ torch.stack(rows).T).reshape(5, 2, 5, 2).permute(0, 2, 1, 3)
    kernel = lzt.ntk(model, x)
    torch.testing.assert_close(kernel, wanted)
    torch.testing.assert_close(lzt.ntk(linearized, x), kernel)
    for now, then in zip([model.scale, model.caches[0]], before, strict=True):
        assert torch.equal(now, then)


def test_no_rows_and_outputs_that_are_no_numbers():
    assert lzt.linearize(nn.Linear(4, 2))(torch.zeros(0, 4)).shape == (0, 2)
    whole = lzt.linearize(nn.Linear(4, 2), output=functools.partial(torch.argmax, dim=1))
    with pytest.raises(lzt.InputError, match="real outputs"):
        whole(torch.randn(5, 4))


def test_a_first_call_inside_other_transformations():
    linearized, x = lzt.linearize(mlp()), torch.randn(5, 4)
    parameters = dict(linearized.named_parameters())

    def of(values):
        return torch.func.functional_call(linearized, values, (x,))

    with pytest.raises(lzt.InputError, match=r"outside of torch\.func"):
        torch.func.jacrev(of)(parameters)
    model = mlp()
    for ask in (lzt.ntk, lzt.explain_ntk, lambda model, x: lzt.sketch(model, x, 3)):
        with pytest.raises(lzt.InputError, match="outside of them"):
            torch.func.vmap(lambda row, ask=ask: ask(model, row[None]))(x)


@pytest.mark.slow
def test_a_first_call_of_what_is_compiled():
    """By itself, since what checks types in these tests cannot be compiled."""
    program = """
        import torch, lazyrich.torch as lzt
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
        linearized, x = lzt.linearize(model), torch.randn(5, 4)
        torch.testing.assert_close(torch.compile(linearized, backend="eager")(x), model(x))
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True)


def test_made_in_inference_mode():
    model, x = mlp(), torch.randn(5, 4)
    with torch.inference_mode():
        linearized, made_there = lzt.linearize(model), mlp()
    linearized(x).sum().backward()
    assert all(p.grad is not None for p in linearized.parameters_now)
    for ask in (lzt.linearize, lambda one: lzt.ntk(one, x)):
        with pytest.raises(lzt.InputError, match=r"made inside torch\.inference_mode"):
            ask(made_there)
    assert lzt.ntk(copy.deepcopy(made_there), x).shape == (5, 5, 2, 2)


def test_threads_that_share_a_linearized_network():
    model, x = mlp(), torch.randn(5, 4)
    linearized, found, raised = lzt.linearize(model), [], []
    with torch.no_grad():
        linearized.parameters_now[0].add_(1.0)

    def call():
        try:
            for _ in range(20):
                found.append(linearized(x))
                found[-1].sum().backward()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not raised
    assert linearized.way == "jvp"
    for one in found:
        torch.testing.assert_close(one, found[0])


class Viewing(nn.Module):
    """It writes to a buffer and reads a part of it that it holds as another one."""

    def __init__(self, kind):
        super().__init__()
        self.layer = nn.Linear(3, 2).double()
        if kind == "buffers":
            self.register_buffer("whole", torch.zeros(6, dtype=torch.float64))
            self.register_buffer("part", self.get_buffer("whole")[1:4])
        elif kind == "array":
            array = np.zeros(6)
            self.held = {"whole": torch.from_numpy(array), "parts": [torch.from_numpy(array[1:4])]}
            self.array = array
        else:
            whole = torch.zeros(6, dtype=torch.float64)
            self.held = {"whole": whole, "parts": [whole[1:4]]}

    def forward(self, x):
        if hasattr(self, "held"):
            whole, part = self.held["whole"], self.held["parts"][0]
        else:
            whole, part = self.get_buffer("whole"), self.get_buffer("part")
        whole.copy_(torch.arange(6.0))
        return self.layer(x * part)


@pytest.mark.parametrize("kind", ["buffers", "held", "array"])
def test_views_of_what_is_rewritten_stay_views(kind):
    torch.manual_seed(0)
    model, x = Viewing(kind), torch.randn(5, 3, dtype=torch.float64)
    other = nn.Sequential(copy.deepcopy(model.layer))
    scaled = x * torch.arange(1.0, 4.0)
    torch.testing.assert_close(lzt.ntk(model, x), lzt.ntk(other, scaled))
    found, wanted = lzt.sketch(model, x, 3), lzt.sketch(other, scaled, 3)
    torch.testing.assert_close(found.products, wanted.products)
    linearized = lzt.linearize(model)
    if kind == "array":
        with pytest.raises(lzt.InputError, match="memory of its own"):
            linearized(x)
        return
    for _ in range(2):
        torch.testing.assert_close(linearized(x), other(scaled))


@pytest.mark.parametrize("is_listed", [False, True])
def test_what_was_computed_from_a_parameter_and_kept_is_refused(is_listed):
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.kept = [self.layer.weight.T] if is_listed else self.layer.weight.T

        def forward(self, x):
            kept = self.kept[0] if isinstance(self.kept, list) else self.kept
            return torch.tanh(x @ kept) + self.layer.bias

    with pytest.raises(lzt.InputError, match="computed before from its parameters"):
        lzt.linearize(Keeping())(torch.randn(5, 3))


def test_a_first_call_in_inference_mode_and_a_container_that_holds_itself():
    model, x = mlp(), torch.randn(5, 4)
    endless = {}
    endless["itself"] = endless
    setattr(model, "endless", endless)  # noqa: B010
    linearized = lzt.linearize(model)
    with torch.inference_mode():
        torch.testing.assert_close(linearized(x.clone()), model(x))
    linearized(x).sum().backward()
    counting = lzt.linearize(Rewriting())
    with torch.inference_mode():
        for _ in range(2):
            torch.testing.assert_close(counting(x.clone()), counting.initial(x))


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_cache_that_would_stay_empty_is_refused(is_inside):
    class Filling(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x, beside=None):
            made = self.layer(x)
            if beside is not None:
                (beside.kept if is_inside else beside).append((made, 1))
            return made

    model, x, cache = Filling(), torch.randn(5, 4), [torch.ones(1)]
    given = SimpleNamespace(kept=cache) if is_inside else cache
    with pytest.raises(lzt.InputError, match="puts a tensor into a list that it is given"):
        lzt.linearize(model)(x, given)
    torch.testing.assert_close(lzt.linearize(model)(x), model(x))
    lzt.scale_output(model, 2.0)(x, given)
    assert len(cache) == 2  # by the model alone


@pytest.mark.parametrize("is_called", [False, True])
def test_a_parameter_that_a_call_assigns(is_called):
    class Assigning(nn.Linear):
        def forward(self, input):
            self.cache = self.weight  # at the first call, a second name of a parameter
            return input @ self.cache.T

    model, x = Assigning(4, 3), torch.randn(5, 4)
    if is_called:
        model(x)
        with pytest.raises(lzt.InputError, match="assigns a parameter to an attribute"):
            lzt.linearize(model)(x)
    else:
        torch.testing.assert_close(lzt.linearize(model)(x), nn.functional.linear(x, model.weight))
