"""Oracle: explicit float64 Jacobians, one backward pass for each row and output."""

import copy
import importlib

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


def gap(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", torch_zoo.zoo())
def test_kernel_is_that_of_explicit_jacobians(name):
    model, x = torch_zoo.made(name)
    wanted = torch_zoo.kernel(model, x).detach()
    assert gap(lzt.ntk(model, x), wanted) < 1e-12
    traced = torch.einsum("ijaa->ij", wanted)
    assert gap(lzt.ntk(model, x, trace_outputs=True), traced) < 1e-12


@pytest.mark.parametrize(
    "name",
    [
        *("mlp", "tied", "resnet"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vision transformer", "lstm")),
    ],
)
def test_blocks_of_rows_change_nothing(name):
    model, x = torch_zoo.made(name)
    whole = lzt.ntk(model, x)
    assert gap(lzt.ntk(model, x, memory=200_000), whole) < 1e-12
    traced = lzt.ntk(model, x, trace_outputs=True)
    assert gap(lzt.ntk(model, x, trace_outputs=True, memory=200_000), traced) < 1e-12


@pytest.mark.parametrize("name", ["mlp", "tied", "resnet"])
def test_other_rows_are_a_part_of_the_whole_kernel(name):
    model, x = torch_zoo.made(name)
    whole = lzt.ntk(model, x)
    part = lzt.ntk(model, x[:3], x[1:])
    assert gap(part, whole[:3, 1:]) < 1e-12


def test_permuted_rows_permute_the_kernel():
    model, x = torch_zoo.made("vision transformer")
    order = torch.tensor([2, 0, 3, 1])
    assert gap(lzt.ntk(model, x[order]), lzt.ntk(model, x)[order][:, order]) < 1e-12


def test_chosen_and_frozen_parameters():
    model, x = torch_zoo.made("mlp")
    total = lzt.ntk(model, x)
    first, second = lzt.ntk(model, x, params=["0"]), lzt.ntk(model, x, params=["2"])
    assert gap(first + second, total) < 1e-12
    by_test = lzt.ntk(model, x, params=lambda name: name.startswith("2"))
    assert torch.equal(by_test, second)
    model[0].requires_grad_(False)
    assert gap(lzt.ntk(model, x), second) < 1e-12


def test_vector_outputs_give_a_matrix_and_one_output_keeps_its_axes():
    model, x = nn.Linear(3, 1), torch.randn(4, 3)
    assert lzt.ntk(model, x).shape == (4, 4, 1, 1)
    assert lzt.ntk(model, x, output=lambda out: out[:, 0]).shape == (4, 4)
    wanted = x @ x.T + 1
    torch.testing.assert_close(lzt.ntk(model, x, trace_outputs=True), wanted)


def test_dicts_and_objects():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, values, mask):
            return {"logits": self.layer(values * mask), "hidden": values}

    x = {"values": torch.randn(4, 3), "mask": torch.ones(4, 3)}
    found = lzt.ntk(Model(), x, output=lambda out: out["logits"], trace_outputs=True)
    torch.testing.assert_close(found, 2 * (x["values"] @ x["values"].T + 1))


def test_half_types_have_float32_products():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(300, 20), nn.ReLU(), nn.Linear(20, 2)), torch.randn(6, 300)
    half = nn.Sequential(*[nn.Linear(300, 20), nn.ReLU(), nn.Linear(20, 2)])
    half.load_state_dict(model.state_dict())
    half = half.bfloat16()
    found = lzt.ntk(half, x.bfloat16())
    assert found.dtype == torch.float32
    assert gap(found, lzt.ntk(model, x)) < 0.03


def test_autocast_outside_changes_nothing():
    model, x = nn.Linear(30, 2), torch.randn(6, 30)
    wanted = lzt.ntk(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert torch.equal(lzt.ntk(model, x), wanted)
        assert torch.is_autocast_enabled("cpu")


# What torch.compile loads at its first call is deprecated in newer versions.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrappers_are_taken_off():
    model, x = torch_zoo.made("mlp")
    wanted = lzt.ntk(model, x)
    assert torch.equal(lzt.ntk(nn.DataParallel(model), x), wanted)
    assert torch.equal(lzt.ntk(torch.compile(model), x), wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_that_is_compiled():
    x = torch.randn(5, 4)
    plain = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    part = nn.Sequential(plain[0], torch.compile(plain[1:], backend="aot_eager"))
    torch._dynamo.utils.counters.clear()
    torch.testing.assert_close(lzt.ntk(part, x), lzt.ntk(plain, x))
    mixed = torch.compile(lambda h: h - h.mean(0), backend="aot_eager")
    with pytest.raises(lzt.InputError, match="depends on the other rows"):
        lzt.ntk(nn.Linear(4, 2), x, output=mixed)
    assert not torch._dynamo.utils.counters["frames"]  # nothing was compiled


def test_explanation_names_what_is_not_understood():
    model, x = torch_zoo.made("parametrized")
    ways = lzt.explain_ntk(model, x)
    assert ways["1.weight"].kind == "jacobian"
    assert ways["2.weight"].kind == "gradients"
    lookup, tokens = torch_zoo.made("lookup")
    ways = lzt.explain_ntk(lookup, tokens)
    assert ways["unused"].kind == "unused"
    assert len(str(ways).splitlines()) == 5


def test_outputs_that_share_a_pattern_over_positions():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Tanh()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(6), nn.Linear(6, 5)]
    model = nn.Sequential(*layers).double().eval()
    x = torch.randn(7, 2, 9, 9, dtype=torch.float64)
    ways = lzt.explain_ntk(model, x)
    assert (ways["0.weight"].kind, ways["3.weight"].kind) == ("gradients", "shared")
    wanted = torch_zoo.kernel(model, x)
    assert gap(lzt.ntk(model, x), wanted) < 1e-12
    assert gap(lzt.ntk(model, x, trace_outputs=True), torch.einsum("ijaa->ij", wanted)) < 1e-12
    assert gap(lzt.ntk(model, x[:3], x[1:]), wanted[:3, 1:]) < 1e-12
    assert gap(lzt.ntk(model, x, memory=60_000), wanted) < 1e-12


class Bag(nn.Module):
    """A table, read twice, whose rows are seldom the same for two positions."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(500, 3)
        self.readout = nn.Linear(3, 2)

    def forward(self, tokens):
        hidden = torch.tanh(self.table(tokens))
        return self.readout(hidden.mean(1)) * self.table(tokens[:, :1])[:, 0, :2]


def test_tables_whose_rows_are_seldom_looked_up():
    torch.manual_seed(0)
    model, tokens = Bag().double(), torch.randint(500, (6, 40))
    tokens[1, :3] = tokens[0, 0]
    wanted = torch_zoo.kernel(model, tokens)
    assert gap(lzt.ntk(model, tokens), wanted) < 1e-12
    assert gap(lzt.ntk(model, tokens, trace_outputs=True), torch.einsum("ijaa->ij", wanted)) < 1e-12
    assert gap(lzt.ntk(model, tokens[:2], tokens[1:]), wanted[:2, 1:]) < 1e-12


@pytest.mark.parametrize("is_training", [True, False])
def test_an_encoder_without_dropout_has_its_kernel_in_both_modes(is_training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 2)).double().train(is_training)
    x = torch.randn(4, 3, 4, dtype=torch.float64)
    assert gap(lzt.ntk(model, x), torch_zoo.kernel(model, x)) < 1e-12


def published_vision_models():
    """Makers of torchvision's models; none where it is missing or does not load."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError, OSError):  # built for another PyTorch
        return {}
    return {
        "resnet18": lambda: (models.resnet18(num_classes=2), torch.randn(2, 3, 32, 32)),
        "vit": lambda: (
            models.VisionTransformer(16, 8, 2, 2, 8, 16, num_classes=2),
            torch.randn(3, 3, 16, 16),
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit"])
def test_models_of_torchvision(name):
    found = published_vision_models()
    if not found:
        pytest.skip("torchvision is not here, or does not load beside this PyTorch")
    torch.manual_seed(0)
    model, x = found[name]()
    model, x = model.double().eval(), x.double()
    if name == "vit":
        nn.init.normal_(model.heads[0].weight)  # zero by default, which hides the rest
    assert gap(lzt.ntk(model, x), torch_zoo.kernel(model, x)) < 1e-12
    assert not [way for way in lzt.explain_ntk(model, x).ways if way.kind == "jacobian"]


def test_an_encoder_whose_padded_places_count():
    """PyTorch's fast path without gradients has other outputs there than the path with them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double()

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoder(layer, 1)

        def forward(self, x, is_padding):
            return self.encoder(x, src_key_padding_mask=is_padding).mean(1)

    model, x = Pooled().eval(), torch.randn(4, 3, 4, dtype=torch.float64)
    rows = (x, torch.arange(3) > torch.tensor([[0], [1], [2], [2]]))
    assert gap(lzt.ntk(model, rows), torch_zoo.kernel(model, rows).detach()) < 1e-12
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_tied_parameter_may_be_chosen_by_any_of_its_names():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    x = torch.randn(4, 3)
    torch.testing.assert_close(
        lzt.ntk(model, x, params=["2.weight"]), lzt.ntk(model, x, params=["0.weight"])
    )


@pytest.mark.parametrize(
    "columns, first, second",
    [(1, [2, 1, 1, 1], [2, 1, 1, 1]), (16, [3, 2], [5]), (1 << 20, [5], [5])],
)
@pytest.mark.parametrize("is_averaged", [False, True])
def test_gradients_that_are_formed_as_cotangents_arrive(
    monkeypatch, is_averaged, columns, first, second
):
    gathered = importlib.import_module("lazyrich.torch._gathered")
    monkeypatch.setattr(gathered, "_LARGE", 1)
    monkeypatch.setattr(gathered, "_COLUMNS", columns)
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 1)]
    layers += [nn.Tanh(), nn.AdaptiveAvgPool2d(1) if is_averaged else nn.MaxPool2d(3)]
    n_features = 6 if is_averaged else 54
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(n_features, 5)).double().eval()
    x = torch.randn(5, 2, 9, 9, dtype=torch.float64)
    n_formed = []
    formed = gathered.matrix_gradient
    monkeypatch.setattr(
        gathered, "matrix_gradient", lambda f: n_formed.append(f[0].cotangent.shape[1]) or formed(f)
    )
    wanted = torch_zoo.kernel(model, x)
    assert gap(lzt.ntk(model, x), wanted) < 1e-12
    # Of outputs that share a pattern it is the pattern's that is formed.
    assert sorted(n_formed) == sorted(first if is_averaged else first + second)
    assert gap(lzt.ntk(model, x, trace_outputs=True), torch.einsum("ijaa->ij", wanted)) < 1e-12
    assert gap(lzt.ntk(model, x[:3], x[1:]), wanted[:3, 1:]) < 1e-12
    assert gap(lzt.ntk(model, x, memory=60_000), wanted) < 1e-12


class Strided(nn.Module):
    """What a model may do with the layout of its images."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

    def forward(self, x):
        if self.kind == "asks" and not x.is_contiguous():
            x = 2 * x
        if self.kind == "as it lies":
            x = x.as_strided(x.shape, (192, 64, 8, 1))
        hidden = self.first(x).tanh()
        hidden = hidden.view(len(x), -1) if self.kind == "view" else hidden.flatten(1)
        return self.last(hidden)


@pytest.mark.parametrize("kind", ["plain", "view", "asks", "as it lies"])
def test_layout_of_images_changes_nothing(kind):
    torch.manual_seed(0)
    model, x = Strided(kind), torch.randn(6, 3, 8, 8)
    plain = Strided("plain")
    plain.load_state_dict(model.state_dict())
    wanted = torch_zoo.kernel(plain.double(), x.double())
    assert gap(lzt.ntk(model, x).double(), wanted) < 1e-5
    assert x.is_contiguous()


@pytest.mark.parametrize("kind", ["asks", "as it lies"])
@pytest.mark.parametrize("hidden_by", ["a blank image", "a last layer of zeros"])
def test_layout_of_images_that_no_output_shows(kind, hidden_by):
    torch.manual_seed(0)
    model, x = Strided(kind), torch.randn(6, 3, 8, 8)
    if hidden_by == "a blank image":
        nn.init.zeros_(model.first.bias)  # the first row is as it was also if it is doubled
        x[0] = 0
    else:
        nn.init.zeros_(model.last.weight)
    plain = Strided("plain")
    plain.load_state_dict(model.state_dict())
    wanted = torch_zoo.kernel(plain.double(), x.double())
    assert gap(lzt.ntk(model, x).double(), wanted) < 1e-5


# The identity, whose backward pass is that of contiguous gradients alone.
by_layout = torch_zoo.backward_by(lambda g: g if g.is_contiguous() else 2 * g)


def test_layout_of_images_that_only_a_backward_pass_reads():
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 6)),
        torch.randn(5, 3, 8, 8),
    )

    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model[2](by_layout(self.model[:2](x))).flatten(1)

    wanted = torch_zoo.kernel(
        copy.deepcopy(nn.Sequential(model, nn.Flatten())).double(), x.double()
    )
    assert gap(lzt.ntk(Read(), x).double(), wanted) < 1e-5


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_of_a_row_counts_its_patches(groups, is_transposed, dtype, monkeypatch):
    """Those of 7 × 7 pixels are 49 times as large as the image that they are cut from."""
    found = []
    module = importlib.import_module("lazyrich.torch._ntk")
    monkeypatch.setattr(module, "bytes_per_row", noted(module.bytes_per_row, found))
    kind = nn.ConvTranspose2d if is_transposed else nn.Conv2d
    layer = kind(4, 4, 7, padding=3, groups=groups)
    model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(dtype)
    lzt.ntk(model, torch.randn(3, 4, 9, 9, dtype=dtype))
    of_row, of_output = found[0]
    assert of_row + of_output >= 49 * 4 * 81 * dtype.itemsize


def noted(function, found):
    """The same function, whose results are put into a list."""

    def note(*args):
        found.append(function(*args))
        return found[-1]

    return note
