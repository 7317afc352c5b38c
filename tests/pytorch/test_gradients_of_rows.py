"""Oracle: explicit float64 Jacobians; laws: what has no gradient of a row is one sentence.

Mixing that zero parameters hide, gradients that depend on the batch, models that differentiate
inside, keep values of their last call, or cannot be differentiated or copied.
"""

import threading
import warnings

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class With(nn.Module):
    """A layer, something more, and a function of both and the rows."""

    def __init__(self, function, more=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function, self.more = nn.Linear(4, 2), function, more
        self.double()

    def forward(self, x):
        return self.function(self, x)


def zeros(*shape):
    return nn.Parameter(torch.zeros(*shape, dtype=torch.float64))


HIDDEN = {
    "gate": lambda: With(lambda m, x: m.layer(x) + m.more * x.mean(0)[:2], zeros(())),
    "matrix": lambda: With(lambda m, x: m.layer(x) + x.flip(0) @ m.more, zeros(4, 2)),
    "places": lambda: With(lambda m, x: m.layer(x) + m.more[: len(x)], zeros(9, 2)),
    "identity": lambda: With(
        lambda m, x: m.more[: len(x), : len(x)] @ m.layer(x), nn.Parameter(torch.eye(9))
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_mixing_that_a_zero_hides_is_refused(name):
    model = HIDDEN[name]().eval()
    data = [p.data_ptr() for p in model.parameters()]
    before = [p.detach().clone() for p in model.parameters()]
    for ask in (lzt.ntk, lzt.sketch):
        with pytest.raises(lzt.InputError, match="the place of the row"):
            ask(model, X)
    assert data == [p.data_ptr() for p in model.parameters()]
    assert all(torch.equal(a, p) for a, p in zip(before, model.parameters(), strict=True))


def test_zeros_that_hide_nothing_change_nothing():
    model = With(lambda m, x: m.layer(x) + m.more * torch.tanh(x[:, :2]), zeros(2)).eval()
    nn.init.zeros_(model.layer.bias)
    wanted = torch_zoo.kernel(model, X).detach()
    assert torch.allclose(lzt.ntk(model, X), wanted, rtol=1e-12)
    assert not model.more.any()


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_gradients_divided_by_counts_are_refused(layer):
    table = layer(5, 4, scale_grad_by_freq=True)
    model = nn.Sequential(table, nn.Flatten(), nn.LazyLinear(2)).eval()
    x = torch.tensor([[0, 1], [0, 0], [1, 2], [3, 1]])
    model(x)
    for ask in (lzt.ntk, lzt.sketch, lzt.explain_ntk):
        with pytest.raises(lzt.InputError, match="how often the others read it"):
            ask(model, x)


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return 2 * x

    @staticmethod
    def backward(context, g):
        raise ValueError("not written yet")


UNDIFFERENTIABLE = {
    "own function": (lambda m, x: Broken.apply(m.layer(x)), "ValueError: not written yet"),
    "in place": (lambda m, x: torch.sigmoid(m.layer(x)).mul_(2), "inplace operation"),
}


@pytest.mark.parametrize("name", UNDIFFERENTIABLE)
def test_what_cannot_be_differentiated_is_one_sentence(name):
    function, words = UNDIFFERENTIABLE[name]
    for ask in (lzt.ntk, lzt.sketch, lzt.explain_ntk):
        with pytest.raises(lzt.InputError, match="cannot differentiate") as caught:
            ask(With(function).eval(), X)
        assert words in str(caught.value)


# --- models that differentiate inside, or keep what they computed last --------------------


def slopes(model, x):
    """Derivatives of an energy with respect to the rows, such as forces."""
    if not x.requires_grad:
        x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(torch.tanh(model.layer(x)).sum(), x, create_graph=True)
    return slope


def keeping(model, x):
    model.last = torch.tanh(model.layer(x))
    model.history = [model.last]
    return model.last * 2


def normed(model, x):
    return torch.tanh(model.layer(x))


def made(name):
    model = With({"slopes": slopes, "kept": keeping, "normed": normed}[name])
    if name == "normed":
        model.layer = nn.utils.weight_norm(model.layer)
    model(X)  # leaves values with a graph behind
    return model.eval()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", ["slopes", "kept", "normed"])
def test_models_that_differentiate_inside_or_keep_values(name):
    model = made(name)
    wanted = torch_zoo.kernel(model, X).detach()
    assert torch.allclose(lzt.ntk(model, X), wanted, rtol=1e-9)
    linearized = lzt.linearize(model)
    assert torch.allclose(lzt.ntk(linearized, X), wanted, rtol=1e-9)
    assert not lzt.scale_output(model, 2.0)(X).any()
    before = {key: value.detach() + 0.01 for key, value in model.state_dict().items()}
    found = lzt.diagnose(model, before=before, x=X, y=X[:, : wanted.shape[2]])
    assert str(found)


def test_models_that_cannot_be_copied_or_take_other_parameters():
    held = With(normed, more=None)
    setattr(held, "numbers", (i for i in range(3)))  # noqa: B010
    for ask in (lzt.linearize, lambda model: lzt.scale_output(model, 2.0)):
        with pytest.raises(lzt.InputError, match=r"cannot be copied .*generator"):
            ask(held)
    locked = With(normed, more=None).eval()
    setattr(locked, "lock", threading.Lock())  # noqa: B010
    assert not lzt.scale_output(locked, 2.0)(X).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of later versions
        scripted = torch.jit.trace(nn.Linear(4, 2).double(), X)
    assert lzt.ntk(scripted, X, trace_outputs=True).shape == (6, 6)
    with pytest.raises(lzt.InputError, match=r"torch\.jit"):
        lzt.linearize(scripted)
    with pytest.raises(lzt.InputError, match="no shape yet"):
        lzt.scale_output(nn.LazyLinear(2), 2.0)


def test_parameters_that_are_computed_are_refused():
    # No backward pass ends at them, so that their kernel would be zero.
    model = nn.Linear(4, 2).double()
    model._parameters["weight"] = 2 * model.weight  # ty: ignore[invalid-assignment]
    for ask in (lzt.ntk, lzt.sketch, lzt.explain_ntk):
        with pytest.raises(lzt.InputError, match="computed from other tensors"):
            ask(model, X)


def test_another_default_device_is_no_matter():
    model = With(normed).eval()
    wanted = lzt.ntk(model, X)
    before = {key: value.detach() + 0.01 for key, value in model.state_dict().items()}
    with torch.device("meta"):
        assert torch.equal(lzt.ntk(model, X), wanted)
        assert lzt.sketch(model, X, 4, y=X[:, :2]).products.shape == (4, 4)
        assert str(lzt.diagnose(model, before=before, x=X, y=X[:, :2]))


def test_hooks_of_parameters_go_with_the_linearized_module():
    model = With(normed).eval()
    model.layer.weight.register_hook(lambda g: g * torch.tensor([[1.0], [0.0]]))
    model.layer.bias.register_hook(lambda g: 3 * g)
    wanted = torch_zoo.kernel(model, X).detach()
    assert not wanted[:, :, 1, 1].allclose(wanted[:, :, 0, 0])
    assert torch.allclose(lzt.ntk(model, X), wanted, rtol=1e-12)
    assert torch.allclose(lzt.ntk(lzt.linearize(model), X), wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_that_depend_on_the_number_of_rows_are_refused(dtype):
    model = With(lambda m, x: m.layer(x) * (1 + m.more * len(x)), zeros(())).eval().to(dtype)
    for options in ({}, {"trace_outputs": True}, {"x2": X[:3].to(dtype)}, {"memory": 4000}):
        with pytest.raises(lzt.InputError, match="the place of the row"):
            lzt.ntk(model, X.to(dtype), **options)


def images():
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)]
    return nn.Sequential(*layers).eval(), torch.randn(6, 2, 4, 4)


def tokens():
    return torch_zoo.made_published("gpt2")[0], torch.randint(11, (6, 5))


@pytest.mark.parametrize("made", [images, tokens])
def test_a_kernel_is_compared_in_three_calls(made):
    # Two rows, all of them, and one: gradients at zeros are compared without another call.
    model, x = made()
    lengths = []
    model.register_forward_pre_hook(lambda _, given: lengths.append(len(given[0])))

    def output(out):
        return out if isinstance(out, torch.Tensor) else out.logits[:, -1, :2]

    lzt.ntk(model, x, output=output)
    assert lengths == [2, 6, 1]


@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 3, 4], [0, 5, 1, 2, 3, 4, 1]])
def test_mixing_of_two_rows_that_a_zero_hides_is_refused(groups):
    def function(model, x):
        same = (x[:, None, 0].round() == x[None, :, 0].round()).to(x)
        return model.layer(x) + model.more * (same @ model.layer(x))

    x = torch.cat(
        [torch.tensor(groups, dtype=torch.float64)[:, None], torch.randn(len(groups), 3).double()],
        1,
    )
    for ask in (lzt.ntk, lzt.sketch, lzt.explain_ntk):
        with pytest.raises(lzt.InputError, match="the place of the row"):
            ask(With(function, zeros(2)).eval(), x)


@pytest.mark.parametrize("more_than", [2, 3, 5])
def test_a_gradient_that_begins_with_a_number_of_rows_is_refused(more_than):
    model = With(lambda m, x: m.layer(x) + m.more * (len(x) > more_than), zeros(2)).eval()
    for ask in (lzt.ntk, lambda model, x: lzt.ntk(model, x, trace_outputs=True)):
        with pytest.raises(lzt.InputError, match="no tangent kernel of a row"):
            ask(model, X)
