"""Oracle: explicit float64 Jacobians, and the same call in plain form, of what people often write.

Outputs that lose the axis of a single row, what a tokenizer returns, and several threads.
"""

import copy
import threading
from collections import UserDict
from types import MappingProxyType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Read(nn.Module):
    """A hidden layer, and something of c numbers a row."""

    def __init__(self, c, of):
        super().__init__()
        torch.manual_seed(c)
        self.hidden, self.last, self.of = nn.Linear(4, 5), nn.Linear(5, c), of
        self.double()

    def forward(self, x):
        return self.of(self.last(torch.tanh(self.hidden(x))))


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("c", [1, 3])
def test_outputs_may_be_squeezed(c, n):
    squeezed, plain = Read(c, torch.squeeze), Read(c, lambda out: out)
    wanted = torch_zoo.kernel(plain, X[:n])
    found = lzt.ntk(squeezed, X[:n])
    found = found if found.ndim == 4 else found[:, :, None, None]
    assert torch.allclose(found, wanted, rtol=1e-12)
    if n > 2:
        sketched = lzt.sketch(squeezed, X[:n], 4).products
        assert (sketched == lzt.sketch(plain, X[:n], 4).products).all()
        ways = [way.kind for way in lzt.explain_ntk(squeezed, X[:n]).ways]
        assert ways == [way.kind for way in lzt.explain_ntk(plain, X[:n]).ways]


def test_rows_may_be_what_a_tokenizer_returns():
    # transformers.BatchEncoding is a UserDict, which ``model(**rows)`` takes as it takes a dict.
    model, _, output = torch_zoo.made_published("gpt2")
    x = {"input_ids": torch.randint(11, (5, 5))}
    rows = UserDict(x | {"attention_mask": torch.ones_like(x["input_ids"])})
    plain, start = dict(rows), {k: v + 0.01 for k, v in model.state_dict().items()}
    assert torch.equal(lzt.ntk(model, rows, output=output), lzt.ntk(model, plain, output=output))
    x2 = UserDict({name: one[:2] for name, one in rows.items()})
    assert lzt.ntk(model, rows, x2, output=output).shape == (5, 2, 3, 3)
    found = lzt.sketch(model, rows, 4, output=output).products
    assert (found == lzt.sketch(model, plain, 4, output=output).products).all()
    found = lzt.diagnose(model, before=start, x=rows, output=output)
    assert str(found) == str(lzt.diagnose(model, before=start, x=plain, output=output))


class Beside(nn.Module):
    """A function of rows and of something beside them."""

    def __init__(self, plain, of):
        super().__init__()
        self.plain, self.of = plain, of

    def forward(self, x, beside):
        return self.of(x, beside)


@pytest.mark.parametrize("kind", [UserDict, MappingProxyType, type("Own", (dict,), {})])
def test_rows_may_be_mappings_in_a_tuple(kind):
    plain, mask = Read(2, lambda out: out), (X[:, :1] > 0).double()
    model = Beside(plain, lambda x, beside: plain(x * beside["mask"][0]))
    found = lzt.ntk(model, (X, kind({"mask": [mask]})))
    assert torch.equal(found, lzt.ntk(model, (X, {"mask": [mask]})))
    wanted = torch_zoo.kernel(plain, X * mask)
    assert torch.allclose(found, wanted, rtol=1e-12)


def test_a_tensor_without_axes_is_no_row_and_a_number_is_the_same_for_all():
    plain, wanted = Read(2, lambda out: out), torch_zoo.kernel(Read(2, lambda out: 2 * out), X)
    model = Beside(plain, lambda x, scale: scale * plain(x))
    assert torch.allclose(lzt.ntk(model, {"x": X, "beside": 2.0}), wanted, rtol=1e-12)
    scale = torch.tensor(2.0, dtype=torch.float64)
    with pytest.raises(lzt.InputError, match="as a number, not as a tensor"):
        lzt.ntk(model, {"x": X, "beside": scale})


@pytest.mark.parametrize(
    "of", [torch.Tensor.to_sparse, lambda out: torch.nested.nested_tensor(list(out))]
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_outputs_that_are_not_dense_are_refused(of):
    for ask in (lzt.ntk, lzt.sketch, lzt.explain_ntk):
        with pytest.raises(lzt.InputError, match="sparse or nested"):
            ask(Read(3, of), X)


def test_another_function_without_gradients_is_said_to_be_one():
    model = Read(3, lambda out: out * (1 if torch.is_grad_enabled() else 2))
    with pytest.raises(lzt.InputError, match="where no gradient is recorded"):
        lzt.ntk(model, X)


@pytest.mark.parametrize("make", [lzt.linearize, lambda model: lzt.scale_output(model, 2.0)])
def test_first_calls_of_several_threads(make):
    encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double().eval()
    for model, x in ((Read(3, lambda out: out), X), (encoder, X[:, None])):
        made, found = make(model), []
        threads = [threading.Thread(target=lambda: found.append(made(x))) for _ in range(6)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6
        assert all(torch.equal(one, found[0]) for one in found)
        assert torch.backends.mha.get_fastpath_enabled()


class Backbone(nn.Linear):
    """A part that copies share, to save memory."""

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_copy_that_shares_a_part_is_refused_and_nothing_is_changed(is_frozen):
    backbone = Backbone(4, 5).double().requires_grad_(not is_frozen)
    model = nn.Sequential(backbone, nn.Dropout(0.5), nn.Linear(5, 2).double()).train()
    before = [(m.training, [p.requires_grad for p in m.parameters()]) for m in model.modules()]
    reference = {k: v + 0.01 for k, v in model.state_dict().items()}
    for ask in (
        lzt.linearize,
        lambda model: lzt.scale_output(model, 2.0),
        lambda model: lzt.diagnose(model, before=reference, x=X),
    ):
        with pytest.raises(lzt.InputError, match="shares '0' with it"):
            ask(model)
    after = [(m.training, [p.requires_grad for p in m.parameters()]) for m in model.modules()]
    assert before == after


@pytest.mark.parametrize("center", [True, False])
def test_a_scaled_head_behind_an_encoder_has_its_whole_gradient(center):
    # The closed form: α (J(θ) − J(θ₀)) of the head, times the Jacobian of the encoder.
    torch.manual_seed(0)
    encoder, head = nn.Linear(4, 5).double(), Read(3, lambda out: out)
    head.hidden = nn.Linear(5, 5).double()
    start = {name: p.detach().clone() for name, p in head.named_parameters()}
    scaled = lzt.scale_output(head, 10.0, center=center)
    net = nn.Sequential(encoder, scaled)

    def wanted(x):
        hidden = encoder(x)
        first = torch.func.functional_call(head, start, (hidden,))
        return 10.0 * (head(hidden) - (first if center else 0))

    for _ in range(2):
        x = X.clone().requires_grad_()
        inner = [x, *encoder.parameters()]
        found = torch.autograd.grad(net(x).sin().sum(), inner)
        for one, other in zip(
            found, torch.autograd.grad(wanted(x).sin().sum(), inner), strict=True
        ):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
        tangent = torch.ones_like(X)
        slopes = [torch.func.jvp(one, (X,), (tangent,))[1] for one in (net, wanted)]
        assert torch.allclose(*slopes, rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            head.last.weight.mul_(1.3)


class OfObject(Read):
    """A model of rows that are inside of an object."""

    def forward(self, x):
        return super().forward(x["x"] if isinstance(x, UserDict) else x.x)


@pytest.mark.parametrize("wrap", [lambda x: UserDict(x=x), lambda x: SimpleNamespace(x=x)])
def test_rows_inside_of_objects_keep_their_gradient(wrap):
    model = OfObject(3, lambda out: out)
    scaled, first = lzt.scale_output(model, 3.0), copy.deepcopy(model)
    scaled(wrap(X))
    with torch.no_grad():
        model.last.weight.mul_(1.3)
    x = X.clone().requires_grad_()
    found = [
        torch.autograd.grad(one(wrap(x)).sin().sum(), x)[0]
        for one in (scaled, lambda rows: 3.0 * (model(rows) - first(rows)))
    ]
    assert torch.allclose(*found, rtol=1e-10, atol=1e-12)


def test_rows_may_be_computed_from_the_models_own_parameters():
    model = nn.Linear(4, 4).double()
    scaled, first = lzt.scale_output(model, 2.0), copy.deepcopy(model)
    assert not scaled(X).any()
    with torch.no_grad():
        model.weight.mul_(1.3)
    for rows in (model(X), X @ model.weight, model.weight, scaled(scaled(X))):
        wanted = 2.0 * (model(rows) - first(rows))
        assert torch.allclose(scaled(rows), wanted, rtol=1e-10)
        both = [
            torch.autograd.grad(one.sum(), model.weight, retain_graph=True)
            for one in (scaled(rows), wanted)
        ]
        assert torch.allclose(both[0][0], both[1][0], rtol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_that_an_invariance_makes_zero_are_rounding_and_no_reason_to_refuse(seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 3), nn.GroupNorm(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)]
    model, x = nn.Sequential(*layers).eval(), torch.randn(6, 1, 8, 8)
    kernel = lzt.ntk(model, x, params=["0.bias"])
    assert float(kernel.abs().max()) < 1e-8 * float(lzt.ntk(model, x).abs().max())


def test_only_what_is_trained_is_unfrozen_and_comes_first():
    model = Read(3, lambda out: out)
    for made in (lzt.linearize(model), lzt.scale_output(model, 2.0)):
        n = len(list(model.parameters()))
        made.requires_grad_(False).requires_grad_(True)
        trained = [p.requires_grad for p in made.parameters()]
        assert trained == [True] * n + [False] * n
        assert made(X).shape == (6, 3)


@pytest.mark.parametrize("alpha", [torch.tensor(2.0), nn.Parameter(torch.tensor([2.0]))])
def test_the_scale_may_be_a_tensor_of_one_number(alpha):
    assert lzt.scale_output(Read(3, lambda out: out), alpha).alpha == 2.0
    with pytest.raises(lzt.InputError, match="give one number"):
        lzt.scale_output(Read(3, lambda out: out), torch.ones(2))


def test_outputs_chosen_by_numbers_of_all_rows_are_refused_and_it_is_said_why():
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    for output in (
        lambda out: out.gather(1, classes[:, None]),
        lambda out: out * torch.arange(6.0)[:, None],
    ):
        with pytest.raises(lzt.InputError, match="keep labels of all rows out of output="):
            lzt.ntk(Read(3, lambda out: out), X, output=output)
