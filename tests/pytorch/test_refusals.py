"""Oracle: law, what has no kernel of a row is refused in one sentence that says what to do."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from lazyrich.torch._model import unwrap  # noqa: E402


class Centred(nn.Module):
    """Subtracts the mean over rows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x - x.mean(0))


class Pairs(Centred):
    """Every second row sees the one before."""

    def forward(self, x):
        return self.layer(x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1) + x)


class Named(Centred):
    """Returns its outputs by name."""

    def forward(self, x):
        return {"logits": self.layer(x)}


class FullyShardedDataParallel(nn.Module):
    """Only the name counts."""


class Noisy(Centred):
    """Draws random numbers at each call."""

    def forward(self, x):
        return self.layer(x) + torch.randn(2)


X = torch.randn(4, 3)
LINEAR = nn.Linear(3, 2)
REFUSED = {
    "batch norm in training": (nn.Sequential(LINEAR, nn.BatchNorm1d(2)), X, {}, "model.eval()"),
    "batch norm without statistics": (
        nn.Sequential(LINEAR, nn.BatchNorm1d(2, track_running_stats=False)).eval(),
        X,
        {},
        "running statistics",
    ),
    "dropout": (nn.Sequential(LINEAR, nn.Dropout(0.5)), X, {}, "model.eval()"),
    "mixed rows": (Centred(), X, {}, "depends on the other rows"),
    "mixed pairs": (Pairs(), X, {}, "depends on the other rows"),
    "three axes": (LINEAR, torch.randn(4, 5, 3), {}, "output=lambda out: out[:, -1]"),
    "scalar": (LINEAR, X, {"output": lambda out: out.sum()}, "wanted (4,) or (4, c)"),
    "classes": (LINEAR, X, {"output": lambda out: out.argmax(1)}, "real outputs"),
    "tuple": (LINEAR, X, {"output": lambda out: (out, 1)}, "output= returned a tuple"),
    "dict": (Named(), X, {}, "out['logits']"),
    "no tensor": (nn.LSTM(3, 2, batch_first=True), torch.randn(2, 4, 3), {}, "output=lambda"),
    "nothing trainable": (nn.Linear(3, 2).requires_grad_(False), X, {}, "requires_grad=True"),
    "no parameters": (nn.ReLU(), X, {}, "no trainable parameter"),
    "unknown name": (LINEAR, X, {"params": ["wieght"]}, "'wieght'"),
    "complex": (nn.Linear(3, 2, dtype=torch.complex64), X, {}, "complex"),
    "sharded": (FullyShardedDataParallel(), X, {}, "splits parameters among processes"),
    "detached": (LINEAR, X, {"output": lambda out: out.detach()}, "carry no gradient"),
    "no rows": (LINEAR, X[:0], {}, "no rows"),
    "no tensor in x": (LINEAR, [1.0, 2.0], {}, "without a tensor"),
    "unequal rows": (nn.Bilinear(3, 3, 2), (X, X[:3]), {}, "one row for each"),
    "NaN in x": (LINEAR, X * torch.nan, {}, "NaN or infinite"),
    "memory": (LINEAR, X, {"memory": "2 apples"}, "'2GiB'"),
    "too large": (LINEAR, X, {"memory": 100}, "sketch"),
    "output is text": (Named(), X, {"output": "logits"}, "output is a str"),
    "output fails": (Named(), X, {"output": lambda out: out.logits}, "a dict (AttributeError"),
    "other width": (LINEAR, torch.randn(4, 5), {}, "cannot take these rows"),
    "other type": (LINEAR, X.double(), {}, "they hold torch.float64, and the parameters"),
    "labels among the rows": (LINEAR, (X, torch.zeros(4)), {}, "cannot take these rows"),
    "other names": (LINEAR, {"rows": X}, {}, "cannot take these rows"),
    "other width of x2": (LINEAR, X, {"x2": X[:, :2]}, "cannot take these rows"),
    "sparse": (LINEAR, X.to_sparse(), {}, "give a dense one"),
    "noise": (Noisy(), X, {}, "change from call to call"),
    "encoder in training": (
        nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten()),
        torch.randn(4, 2, 4),
        {},
        "model.eval()",
    ),
    "no shape yet": (nn.LazyLinear(2), X, {}, "run the model on a batch first"),
    "no values": (nn.Linear(3, 2, device="meta"), X.to("meta"), {}, "has no values"),
    "names as text": (LINEAR, X, {"params": "weight"}, "list of names"),
    "parameters for names": (LINEAR, X, {"params": list(LINEAR.parameters())}, "list of names"),
    "one number for names": (LINEAR, X, {"params": 1}, "list of names"),
    "root at zero": (LINEAR, X, {"output": lambda out: (0 * out).sqrt()}, "NaN or infinite"),
    "large gradients": (LINEAR, 1e25 * X, {}, "NaN or infinite"),
    "beginning of a name": (LINEAR, X, {"params": ["wei"]}, "not the name of a parameter"),
    "another device": (nn.Linear(3, 2, device="meta"), X, {}, "x is on cpu and the model on meta"),
}

# What shows in products of gradients alone.
SEEN_IN_THE_KERNEL = {"root at zero", "large gradients"}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name, unchecked):
    model, x, kwargs, words = REFUSED[name]
    with pytest.raises(lzt.InputError) as caught:
        lzt.ntk(model, x, **kwargs)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_sketches_and_explanations_are_refused_alike(name, unchecked):
    model, x, kwargs, words = REFUSED[name]
    if "x2" not in kwargs and name not in ("too large", "memory", "large gradients"):
        with pytest.raises(lzt.InputError) as caught:
            lzt.sketch(model, x, 3, **kwargs)
        assert words in str(caught.value)
    if kwargs.keys().isdisjoint({"x2", "memory"}) and name not in SEEN_IN_THE_KERNEL:
        with pytest.raises(lzt.InputError) as caught:
            lzt.explain_ntk(model, x, **kwargs)
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["output is text", "output fails", "tuple", "dict"])
@pytest.mark.parametrize("wrap", [lzt.linearize, partial(lzt.scale_output, alpha=2.0)])
def test_wrapped_modules_refuse_outputs_alike(name, wrap, unchecked):
    model, x, kwargs, words = REFUSED[name]
    with pytest.raises(lzt.InputError) as caught:
        wrap(model, **kwargs)(x)
    assert words in str(caught.value)


@pytest.mark.parametrize("model", [nn.Linear, {"weight": X}, None])
def test_only_modules(model):
    with pytest.raises(lzt.InputError, match=r"torch\.nn\.Module"):
        unwrap(model)


def test_diverged_model():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    with pytest.raises(lzt.InputError, match="diverged"):
        lzt.ntk(model, X)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"m": 2}, "three directions"),
        ({"m": True}, "three directions"),
        ({"y": torch.zeros(3, 2)}, "shape"),
        ({"y": torch.zeros(4, 3)}, "shape"),
        ({"y": torch.zeros(0, dtype=torch.long)}, "one label for each"),
        ({"y": torch.full((4, 2), torch.nan)}, "finite real numbers"),
        ({"y": torch.zeros(4, 2, dtype=torch.complex64)}, "finite real numbers"),
        ({"y": "labels"}, "not an array of numbers"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": -1}, "whole number"),
        ({"seed": 2**70}, "whole number"),
        ({"groups": "weight"}, "groups is a str"),
        ({"groups": lambda name: None}, "name of its group"),
        ({"output": lambda out: (0 * out).sqrt()}, "gradient of the outputs"),
        ({"y": torch.tensor([0, 1, 2, 0])}, "from 0 to 1"),
        ({"optimizer": torch.optim.SGD(LINEAR.parameters(), 0.1)}, "Adam"),
    ],
)
def test_sketch_refuses(kwargs, words, unchecked):
    with pytest.raises(lzt.InputError, match=words):
        lzt.sketch(LINEAR, X, **kwargs)


@pytest.mark.parametrize("function", ["ntk", "explain_ntk", "sketch"])
def test_params_that_cannot_be_used_are_named(function, unchecked):
    model, x = nn.Linear(3, 2), torch.randn(4, 3)
    asked = {
        "fails on the name 'weight'": lambda name: 1 / 0,
        "a list with a Parameter": [model.weight],
        "an int was given": 3,
    }
    for said, params in asked.items():
        with pytest.raises(lzt.InputError, match=said):
            getattr(lzt, function)(model, x, params=params)


def test_a_linearized_network_of_no_values_or_of_nothing_trained():
    with pytest.raises(lzt.InputError, match="has no values"):
        lzt.linearize(nn.Linear(3, 2, device="meta"))
    with pytest.raises(lzt.InputError, match=r"that count\.$"):
        lzt.linearize(nn.Linear(3, 2).requires_grad_(False))


def test_a_lazy_buffer_and_checkpoints_without_values():
    lazy = nn.Sequential(nn.Linear(3, 2), nn.LazyBatchNorm1d(affine=False)).eval()
    for ask in (lzt.ntk, lzt.explain_ntk, lambda model, x: lzt.linearize(model)):
        with pytest.raises(lzt.InputError, match="no shape yet"):
            ask(lazy, X)
    model = nn.Linear(3, 2)
    state = model.state_dict()
    sparse = {**state, "weight": state["weight"].to_sparse()}
    for before in (sparse, {**state, "bias": state["bias"].to("meta")}):
        with pytest.raises(lzt.InputError, match="with its values, dense"):
            lzt.diagnose(model, before=before, x=X)


def test_an_iterator_that_ends_inside_is_said():
    model = nn.Linear(3, 2)
    model.register_forward_pre_hook(lambda *given: next(iter(())))
    with pytest.raises(lzt.InputError, match="cannot take these rows"):
        lzt.ntk(model, X)
