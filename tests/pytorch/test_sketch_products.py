"""Oracle: products of explicit gradients of the same module in float64, for the same directions.

Matrices whose products are not formed from their gradients: what is large and cancels, what is
large and is met by no cotangent, and numbers whose squares the type does not hold.
"""

import copy
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

SEED = 3


def exact(model, x, m, *, dtype=torch.float64, seed=SEED):
    """The products of gradients, one backward pass for each direction."""
    model, x = copy.deepcopy(model).to(dtype), x.to(dtype)
    parameters = [p for p in model.parameters() if p.requires_grad]
    made = model(x)
    u = torch.randint(0, 2, (m, *made.shape), generator=seeded(seed)).double() * 2 - 1
    found = []
    for direction in (u - u.mean(1, keepdim=True)).to(made.dtype):
        gradients = torch.autograd.grad(made, parameters, direction, retain_graph=True)
        found.append(torch.cat([g.flatten().double() for g in gradients]))
    return (torch.stack(found) @ torch.stack(found).T).numpy()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def assert_products(model, x, m=6):
    """As close to those in double precision as gradients that are formed in the model's type."""
    wanted = exact(model, x, m)
    lengths = np.sqrt(np.diagonal(wanted))

    def error(found):
        return (np.abs(found - wanted) / np.outer(lengths, lengths)).max()

    plain = error(exact(model, x, m, dtype=next(model.parameters()).dtype))
    assert error(lzt.sketch(model, x, m, seed=SEED).products) <= 3 * plain + 2e-6


class Saturated(nn.Module):
    """A row with large inputs has no gradient."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(400, 20, bias=False)

    def forward(self, x):
        return torch.tanh(self.layer(x))[:, :2]


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("n", [6, 30])
def test_what_all_rows_have_in_common(n, offset):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 40), nn.Tanh(), nn.Linear(40, 2))
    with torch.no_grad():
        model.get_parameter("0.weight").div_(1 + offset)
    x = offset * torch.randn(300) + torch.randn(n, 300)
    assert_products(model, x)


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_a_feature_that_is_constant(size):
    torch.manual_seed(0)
    x = torch.randn(16, 400)
    x[:, 5] = size
    assert_products(nn.Linear(400, 3, bias=False), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1e3, 1e5, 1e7])
def test_a_large_row_without_a_gradient(size, dtype):
    model, x = Saturated().to(dtype), 0.3 * torch.randn(16, 400)
    x[3] *= size
    x = x.to(dtype)
    assert_products(model, x)


def test_labels_at_a_few_rows_beside_a_large_one():
    torch.manual_seed(0)
    model, x = nn.Linear(400, 1), torch.randn(16, 400)
    x[3] *= 1e7
    y = torch.zeros(16)
    y[3], y[5] = 1, -1
    found = lzt.sketch(model, x, 3, y=y).labels
    wanted = lzt.sketch(copy.deepcopy(model).double(), x.double(), 3, y=y).labels
    np.testing.assert_allclose(found.null, wanted.null, rtol=1e-5)
    kernel = (x.double() @ x.double().T + 1).numpy()
    assert found.value == pytest.approx(y.double().numpy() @ kernel @ y.double().numpy(), rel=1e-5)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e18])
def test_energies_of_labels_of_any_size(scale):
    torch.manual_seed(0)
    model, x, y = nn.Linear(400, 1), torch.randn(16, 400), torch.randn(16)
    found = lzt.sketch(model, x, 3, y=y.double() * scale).labels
    wanted = lzt.sketch(model, x, 3, y=y).labels
    assert found.value == pytest.approx(wanted.value * scale**2, rel=1e-4)
    assert found.z_score == pytest.approx(wanted.z_score, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_gradients_of_any_size(scale):
    """Their squares are beyond single precision; a kernel in that type is refused."""
    torch.manual_seed(0)
    model, x = nn.Linear(7, 2, bias=False), torch.randn(5, 7)
    found, wanted = (lzt.sketch(model, by * x, 3).products for by in (scale, 1.0))
    np.testing.assert_allclose(found, wanted * scale**2, rtol=1e-4)


def test_a_first_direction_that_is_zero_hides_nothing():
    """Of two rows all signs are alike in half of the draws, and nothing is left when centred."""
    torch.manual_seed(0)
    x = torch.randn(2, 400)
    zeros = [
        seed
        for seed in range(20)
        if float(torch.randint(0, 2, (3, 2, 1), generator=seeded(seed))[0].sum()) != 1
    ]
    assert zeros
    for change, factor in ((lambda g: 2 * g, 4), (lambda g: 0 * g, 0)):
        model = nn.Linear(400, 1, bias=False)
        plain = lzt.sketch(model, x, 3, seed=zeros[0]).products
        model.weight.register_hook(change)
        np.testing.assert_allclose(
            lzt.sketch(model, x, 3, seed=zeros[0]).products, factor * plain, rtol=1e-5, atol=1e-12
        )


class Mixed(nn.Module):
    """A layer in double precision below one in single precision, or above it."""

    def __init__(self, *, is_double_first):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(300, 200), nn.Linear(200, 100)
        (self.first if is_double_first else self.second).double()

    def forward(self, x):
        hidden = torch.tanh(self.first(x.to(self.first.weight.dtype)))
        return self.second(hidden.to(self.second.weight.dtype))[:, :2]


@pytest.mark.parametrize("is_double_first", [True, False])
@pytest.mark.parametrize("memory", ["20KB", None])
def test_layers_of_two_types(memory, is_double_first):
    model, x = Mixed(is_double_first=is_double_first), torch.randn(6, 300)
    found = lzt.sketch(model, x, 8, seed=SEED, memory=memory).products
    wanted = exact(model, x, 8)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.int32, torch.bool])
def test_classes_of_any_whole_type(kind):
    torch.manual_seed(0)
    model, x = nn.Linear(5, 2), torch.randn(6, 5)
    y = torch.tensor([0, 1, 1, 0, 1, 0])
    wanted = lzt.sketch(model, x, 3, y=y).labels
    assert lzt.sketch(model, x, 3, y=y.to(kind)).labels == wanted


def test_labels_that_are_not_dense():
    model, x = nn.Linear(5, 1), torch.randn(6, 5)
    with pytest.raises(lzt.InputError, match="give a dense one"):
        lzt.sketch(model, x, 3, y=torch.eye(6).to_sparse())


def test_sketches_of_nothing_are_refused(unchecked):
    model, x = nn.Linear(5, 2), torch.randn(6, 5)
    nothing = lzt.sketch(model, x[:1], 4)
    assert nothing.trace().value == 0
    for ask in (
        nothing.effective_rank,
        *(partial(of, nothing) for of in (nothing.cosine, nothing.growth, nothing.distance)),
    ):
        with pytest.raises(lzt.InputError, match="The sketched kernel is zero"):
            ask()
    assert lzt.sketch(model, x[:1], 4, center=False).trace().value > 0
    with pytest.raises(lzt.InputError, match=r"optimizer is .*; give the Adam"):
        lzt.sketch(model, x, 4, optimizer=3)
    with pytest.raises(lzt.InputError, match="give one that `sketch` made"):
        lzt.sketch(model, x, 4).cosine(3)
