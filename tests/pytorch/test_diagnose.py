"""Oracle: the same network measured in JAX; the contract about bad checkpoints."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import jax.numpy as jnp  # noqa: E402
from oracles import small_nets as nets  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich as lz  # noqa: E402
import lazyrich.torch as lzt  # noqa: E402
from lazyrich._base import InputError  # noqa: E402
from lazyrich.diagnosis import Settings  # noqa: E402


def module(params):
    """The oracle's tanh network as a module."""
    first, last = params["first"], params["last"]
    d, width = first["w"].shape
    hidden, readout = nn.Linear(d, width), nn.Linear(width, last["w"].shape[1])
    with torch.no_grad():
        hidden.weight.copy_(torch.as_tensor(first["w"].T))
        hidden.bias.copy_(torch.as_tensor(first["b"]))
        readout.weight.copy_(torch.as_tensor(last["w"].T))
        readout.bias.zero_()
    readout.bias.requires_grad_(False)
    return nn.Sequential(hidden, nn.Tanh(), readout).double()


def predict(params, x):
    return jnp.tanh(x @ params["first"]["w"] + params["first"]["b"]) @ params["last"]["w"]


@pytest.fixture(scope="module")
def case():
    params0 = nets.initial(10, n_outputs=2)
    x, y = nets.rows(n=16)
    y = np.stack([y, x[:, 2]], 1)
    return params0, nets.trained(params0, x, y, rate=2.0), x, y


def test_both_frameworks_measure_the_same(case):
    params0, params, x, y = case
    x_test, y_test = nets.rows(n=6, seed=5)
    y_test = np.stack([y_test, x_test[:, 2]], 1)
    ours = lz.diagnose(predict, params0, params, x, y, x_test=x_test, y_test=y_test)
    theirs = lzt.diagnose(
        module(params), before=module(params0), x=x, y=y, x_test=x_test, y_test=y_test
    )
    assert theirs.regime == ours.regime
    shared = set(ours.readings) & set(theirs.readings)
    assert len(shared) >= 12
    for name in shared:
        one, two = ours.readings[name], theirs.readings[name]
        rel = 1e-3 if name in ("linearization_gap", "lazy_limit") else 1e-6
        # The bias without a gradient counts in none of the norms.
        assert two.value == pytest.approx(one.value, rel=rel, abs=1e-9), name
    assert {"feature_alignment", "refit_error"} <= set(theirs.readings)


def test_the_sketch_agrees_with_the_exact_kernel(case):
    params0, params, x, y = case
    given = {"before": module(params0), "x": torch.as_tensor(x), "y": torch.as_tensor(y)}
    exact = lzt.diagnose(module(params), **given).readings["kernel_cosine"]
    settings = Settings(n_directions=48, kernel="sketch")
    found = lzt.diagnose(module(params), **given, settings=settings).readings["kernel_cosine"]
    assert found.low <= exact.value <= found.high


def test_checkpoints_may_be_files_dicts_or_modules(case, tmp_path):
    params0, params, x, _ = case
    model, start = module(params), module(params0)
    torch.save(start.state_dict(), tmp_path / "a.pt")
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in start.state_dict().items()}}, tmp_path / "b.pt"
    )
    befores = [
        start,
        start.state_dict(),
        str(tmp_path / "a.pt"),
        tmp_path / "b.pt",
        nn.DataParallel(start),
    ]
    settings = Settings(3, "sketch")
    found = [lzt.diagnose(model, before=one, x=x, settings=settings).to_json() for one in befores]
    assert len(set(found)) == 1
    torch.save(model.state_dict(), tmp_path / "after.pt")
    other = lzt.diagnose(
        start, before=tmp_path / "a.pt", after=tmp_path / "after.pt", x=x, settings=settings
    )
    assert other.to_json() == found[0]


def test_one_checkpoint_tells_what_it_can(case):
    _, params, x, y = case
    found = lzt.diagnose(module(params), x=x, y=y)
    assert found.regime == "undecided"
    assert "one checkpoint" in found.reason
    assert {"train_error", "low_rank_measure", "label_fit_now"} <= set(found.readings)
    assert str(found)


@pytest.mark.parametrize("kind", ["plain", "batch norm and dropout", "tied", "integers"])
def test_the_model_is_left_as_it_was(kind):
    torch.manual_seed(0)
    x = torch.randn(6, 4)
    if kind == "plain":
        model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    elif kind == "batch norm and dropout":
        model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    elif kind == "tied":
        layer = nn.Linear(4, 4)
        model = nn.Sequential(layer, nn.Tanh(), layer)
    else:
        model, x = (
            nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)),
            (torch.randint(5, (6, 2))),
        )
    start = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    model.train()
    before, rng = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    found = lzt.diagnose(model, before=start, x=x, settings=Settings(4))
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert np.isfinite(found.readings["linearization_gap"].value)


def test_gaps_are_exact_where_they_are_known():
    # A linearized network moved far away, and a product of two layers, f = abx.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    linear = lzt.linearize(model)
    start = copy.deepcopy(linear.state_dict())
    with torch.no_grad():
        for p in linear.parameters():
            p += torch.randn_like(p)
    found = lzt.diagnose(linear, before=start, x=torch.randn(12, 3))
    assert found.regime == "lazy"
    product = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        for p in product.parameters():
            p.fill_(1.0)
        start = copy.deepcopy(product.state_dict())
        for p in product.parameters():
            p.fill_(1.5)
    gap = lzt.diagnose(product, before=start, x=torch.randn(12, 1)).readings["linearization_gap"]
    assert gap.value == pytest.approx(0.25 / 1.25, rel=1e-6)


def saved(tmp_path, value):
    torch.save(value, tmp_path / "file.pt")
    return tmp_path / "file.pt"


BAD = {
    "another width": (lambda p: nn.Linear(3, 7), "'weight' has shape"),
    "another model": (lambda p: nn.Conv1d(1, 1, 1).state_dict() | {"bias": None}, "no parameter"),
    "a folder": (lambda p: p, "before cannot be read"),
    "no file": (lambda p: p / "none.pt", "before cannot be read"),
    "text": (lambda p: (p / "a.pt").write_text("hello") and p / "a.pt", "not a checkpoint"),
    "an empty file": (lambda p: (p / "b.pt").write_bytes(b"") or p / "b.pt", "not a checkpoint"),
    "numbers": (lambda p: saved(p, {"a": 1}), "without parameters"),
    "a list": (lambda p: [1, 2], "without parameters"),
    "code": (lambda p: saved(p, nn.Linear(3, 2)), "running code"),
    "whole numbers": (
        lambda p: {"weight": torch.ones(2, 3).int(), "bias": torch.zeros(2)},
        "torch.int32 numbers",
    ),
    "complex numbers": (
        lambda p: {"weight": torch.ones(2, 3) + 0j, "bias": torch.zeros(2)},
        "torch.complex64 numbers",
    ),
    "diverged": (
        lambda p: {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)},
        "NaN or infinite entries: the run had diverged",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_checkpoints_are_one_sentence(case, tmp_path, unchecked):
    make, message = BAD[case]
    with pytest.raises(lzt.InputError, match=message) as caught:
        lzt.diagnose(nn.Linear(3, 2), before=make(tmp_path), x=torch.randn(6, 3))
    assert "\n" not in str(caught.value)


def test_a_diverged_model_and_one_row_are_refused():
    broken = nn.Linear(3, 2)
    start = copy.deepcopy(broken.state_dict())
    with torch.no_grad():
        broken.weight.fill_(torch.nan)
    with pytest.raises(lzt.InputError, match="diverged"):
        lzt.diagnose(broken, before=start, x=torch.randn(6, 3))
    with pytest.raises(lzt.InputError, match="1 row;"):
        lzt.diagnose(nn.Linear(3, 2), before=start, x=torch.randn(1, 3))
    model = nn.Linear(3, 2)
    found = lzt.diagnose(model, before=model, x=torch.randn(6, 3))
    assert "identical" in found.reason


def test_compare_gives_every_pair():
    torch.manual_seed(0)
    models = {name: nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 1)) for name in "abc"}
    x = torch.randn(12, 3)
    found = lzt.compare(models["a"], models, x)
    assert set(found.cosine) == {("a", "b"), ("a", "c"), ("b", "c")}
    wanted = lzt.sketch(models["b"], x).cosine(lzt.sketch(models["c"], x))
    assert found.cosine["b", "c"].value == pytest.approx(wanted.value, rel=1e-6)
    assert len(str(found).splitlines()) == 3
    with pytest.raises(lzt.InputError, match="two or more"):
        lzt.compare(models["a"], {"a": models["a"]}, x)


def torch_given(**changes):
    torch.manual_seed(0)
    start, model = nn.Linear(3, 2), nn.Linear(3, 2)
    x = torch.randn(8, 3)
    given = {"model": model, "before": start, "x": x, "y": model(x).detach()} | changes
    return lzt.diagnose(given.pop("model"), **given)


REFUSED = {
    "classes and the squared error": (
        {"y": torch.tensor([0, 1] * 4), "loss": "mse"},
        "holds classes and loss is 'mse'",
    ),
    "values and cross-entropy": ({"loss": "cross_entropy"}, "not one-hot"),
    "classes that there are none of": ({"y": torch.arange(8)}, "classes from 0 to 7"),
    "labels of other rows": ({"y": torch.zeros(5, 2)}, "y has 5 rows"),
    "labels that are NaN": ({"y": torch.full((8, 2), torch.nan)}, "y holds NaN"),
    "a loss of no kind": ({"loss": "hinge"}, "'hinge'"),
    "no rows": ({"x": torch.zeros(0, 3), "y": None}, "no rows"),
    "one row, repeated": ({"x": torch.ones(8, 3)}, "8 rows, of which 1 differ"),
    "no test rows": ({"x_test": torch.zeros(0, 3), "y_test": None}, "x_test has no rows"),
    "outputs without a derivative": ({"output": lambda out: out.detach()}, "carry no gradient"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_do_not_fit_are_one_sentence(case, unchecked):
    changes, said = REFUSED[case]
    with pytest.raises(lzt.InputError) as caught:
        torch_given(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_identical_checkpoints_no_labels_and_a_loss_that_grew_get_no_verdict():
    same = nn.Linear(3, 2)
    found = torch_given(model=same, before=same.state_dict())
    assert (found.regime, "identical" in found.reason) == ("undecided", True)
    unlabelled = torch_given(y=None)
    assert unlabelled.advice == ()
    assert any("No labels" in note for note in unlabelled.notes)
    blown = nn.Linear(3, 2)
    nn.init.constant_(blown.weight, 1e6)
    found = torch_given(model=blown, y=torch.zeros(8, 2))
    assert (found.regime, "diverged" in found.reason) == ("undecided", True)


def test_the_gap_is_that_of_the_tangent_also_far_away_and_with_complex_buffers():
    class Rotating(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            angles = torch.polar(torch.ones(2), torch.tensor([0.7, 2.0]))
            if kind == "buffer":
                self.register_buffer("angles", angles)
            else:
                self.angles = angles

        def forward(self, x):
            h = torch.view_as_complex(self.layer(x).tanh().unflatten(1, (2, 2)))
            return torch.view_as_real(h * self.angles).flatten(1)

    def gap_of(found):
        return found.readings["linearization_gap"].value

    torch.manual_seed(0)
    x, found = torch.randn(16, 4), []
    start, far = Rotating("buffer"), Rotating("buffer")
    with torch.no_grad():
        for p in far.parameters():
            p.add_(100 * torch.randn_like(p))
    for kind in ("buffer", "attribute"):
        model = Rotating(kind)
        model.load_state_dict(far.state_dict(), strict=False)
        found.append(gap_of(lzt.diagnose(model, before=start.state_dict(), x=x)))
    linearized = lzt.linearize(start)
    with torch.no_grad():
        for now, p in zip(linearized.parameters_now, far.parameters(), strict=True):
            now.copy_(p)
        values, tangent, first = far(x).double(), linearized(x).double(), start(x).double()
    wanted = float((values - tangent).norm() / (values - first).norm())
    assert found == pytest.approx([wanted] * 2, rel=1e-3)


@pytest.mark.parametrize(("start", "now", "beside"), [(0, 30, 0), (0, 3000, 0), (0.5, 300, 1e4)])
def test_the_gap_of_a_wave_is_exact_however_far_it_moves(start, now, beside):
    class Wave(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(float(w), dtype=torch.float64))
            self.beside = nn.Parameter(torch.tensor(float(beside), dtype=torch.float64))

        def forward(self, x):
            return torch.sin(self.w * x) + self.beside

    x = torch.linspace(-1, 1, 13, dtype=torch.float64)
    found = lzt.diagnose(Wave(now), before=Wave(start).state_dict(), x=x[:, None])
    change = torch.sin(now * x) - torch.sin(start * x)
    tangent = x * torch.cos(start * x) * (now - start)
    wanted = float((change - tangent).norm() / change.norm())
    assert found.readings["linearization_gap"].value == pytest.approx(wanted, rel=1e-5)


def test_an_optimizer_of_another_model_is_refused():
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    model, later, other = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(3, 1)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for checkpoints in ({"before": start}, {"before": start, "after": later}, {"before": later}):
        stranger = torch.optim.SGD(other.parameters(), lr=0.1)
        with pytest.raises(InputError, match=r"^optimizer trains no parameter of the model; "):
            lzt.diagnose(model, x=x, optimizer=stranger, **checkpoints)
        for owner in (model, *(one for one in checkpoints.values() if one is later)):
            lzt.diagnose(
                model, x=x, optimizer=torch.optim.SGD(owner.parameters(), lr=0.1), **checkpoints
            )
