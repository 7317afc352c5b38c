"""Oracle: the exact kernel, centred over rows, of the same module in float64."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402


def model_and_rows(n=30):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 30), nn.Tanh(), nn.Linear(30, 2)).double()
    return model, torch.randn(n, 6, dtype=torch.float64)


def exact(model, x, **kwargs):
    """The centred kernel as an nc × nc matrix."""
    n = len(x)
    kernel = lzt.ntk(model, x, **kwargs).numpy()
    center = np.eye(n) - 1 / n
    size = n * kernel.shape[-1]
    return np.einsum("ij,jkab,kl->ialb", center, kernel, center).reshape(size, size)


def perturbed(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.3 * parameter.std() * torch.randn_like(parameter)
    return other


@pytest.mark.parametrize(
    "m, n_seeds, least, most",
    [
        # At a true coverage of 95 % fewer than 32 of 40 occur once in 3000 times.
        (16, 40, 32, 40),
        pytest.param(16, 200, 180, 198, marks=pytest.mark.slow),
        pytest.param(32, 200, 180, 198, marks=pytest.mark.slow),
    ],
)
def test_intervals_cover_the_exact_values(m, n_seeds, least, most):
    model, x = model_and_rows()
    other = perturbed(model)
    k, k2 = exact(model, x), exact(other, x)
    norm = np.linalg.norm
    wanted = {
        "trace": np.trace(k),
        "norm": norm(k),
        "cosine": (k * k2).sum() / norm(k) / norm(k2),
        "growth": np.trace(k2) / np.trace(k),
        "distance": norm(k2 - k) / norm(k),
        "effective_rank": np.trace(k) ** 2 / norm(k) ** 2,
    }
    covered = dict.fromkeys(wanted, 0)
    for seed in range(n_seeds):
        one, two = (lzt.sketch(net, x, m, seed=seed) for net in (model, other))
        for name, value in wanted.items():
            is_of_one = name in ("trace", "norm", "effective_rank")
            estimate = getattr(one, name)(*(() if is_of_one else (two,)))
            covered[name] += estimate.low <= value <= estimate.high
    assert least <= min(covered.values()), covered
    assert max(covered.values()) <= most, covered


class Wide(nn.Module):
    """Layers of each kind that are contracted, and some that are not."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(6, 8, 3, 2)
        self.back = nn.ConvTranspose2d(8, 12, 3)
        self.square, self.twice = nn.Linear(12, 40), nn.Linear(40, 40, bias=False)
        self.matrix = nn.Parameter(torch.randn(40, 30) / 6)
        self.scale = nn.Parameter(torch.ones(2, 30))
        self.readout = nn.Linear(30, 2)

    def forward(self, x):
        hidden = torch.tanh(self.back(torch.tanh(self.first(x)))).mean((2, 3))
        hidden = torch.tanh(self.twice(torch.tanh(self.square(hidden))))
        hidden = torch.tanh(self.twice(hidden)) @ self.matrix
        return self.readout(hidden * self.scale.sum(0))


@pytest.mark.parametrize("n", [3, 40])
def test_products_are_those_of_the_exact_kernel_for_its_directions(n):
    torch.manual_seed(1)
    model, x = Wide().double(), torch.randn(n, 6, 5, 5, dtype=torch.float64)
    m, seed = 7, 3
    signs = torch.randint(0, 2, (m, n, 2), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    u = signs.reshape(m, -1).double().numpy()  # the exact kernel is centred itself
    found = lzt.sketch(model, x, m, seed=seed, groups=lambda name: name)
    size = 1e-12 * np.abs(found.products).max()
    for name, products in found.groups.items():
        wanted = u @ exact(model, x, params=[name]) @ u.T
        np.testing.assert_allclose(products, wanted, rtol=1e-11, atol=size, err_msg=name)


def test_what_all_rows_have_in_common_is_not_squared_in_single_precision():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 40), nn.Tanh(), nn.Linear(40, 2))
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(0.003)
    x = 30 + torch.randn(20, 300)
    found = lzt.sketch(model, x, 6, params=["0.weight"]).products
    wanted = lzt.sketch(model.double(), x.double(), 6, params=["0.weight"]).products
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_groups_add_up_and_each_is_its_own_kernel():
    model, x = model_and_rows()
    found = lzt.sketch(model, x, 200)
    assert set(found.groups) == {"0", "2"}
    for name in ("0", "2"):
        trace = found.of_group(name).trace()
        assert trace.low <= np.trace(exact(model, x, params=[name])) <= trace.high


def test_label_energy_is_exact_and_its_null_is_a_null():
    model, x = model_and_rows()
    y = torch.stack([x[:, 0], x[:, 1] * x[:, 2]], 1)
    energy = lzt.sketch(model, x, 3, y=y).labels
    flat = (y - y.mean(0)).reshape(-1).numpy()
    assert energy.value == pytest.approx(flat @ exact(model, x) @ flat, rel=1e-10)
    assert energy.p_value == 1 / 17
    assert energy.z_score > 2
    # Random labels are as good as their permutations: p is uniform on multiples of 1/17.
    values = [
        lzt.sketch(
            model, x, 3, y=torch.randn(30, 2, generator=torch.Generator().manual_seed(s)), seed=s
        ).labels.p_value
        for s in range(60)
    ]
    assert sum(p <= 1 / 17 for p in values) <= 10
    assert 0.35 < np.mean(values) < 0.7


def test_classes_count_as_one_hot_rows():
    model, x = model_and_rows()
    classes = torch.arange(30) % 2
    one = lzt.sketch(model, x, 3, y=classes).labels.value
    two = lzt.sketch(model, x, 3, y=nn.functional.one_hot(classes, 2).double()).labels.value
    assert one == pytest.approx(two)


def test_preconditioned_by_adam():
    model, x = model_and_rows()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    found = lzt.sketch(model, x, 400, optimizer=optimizer).trace()
    # tr(J D⁻¹ Jᵀ) from Jacobians, entry by entry.
    total, values = 0.0, model(x)
    jacobian = []
    for value in values.reshape(-1):
        jacobian.append(torch.autograd.grad(value, list(model.parameters()), retain_graph=True))
    for k, parameter in enumerate(model.parameters()):
        state = optimizer.state[parameter]
        d = (state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt() + 1e-8
        rows = torch.stack([g[k] / d.sqrt() for g in jacobian]).reshape(30, 2, -1)
        total += float(((rows - rows.mean(0)) ** 2).sum())
    assert found.low <= total <= found.high


def test_less_memory_changes_nothing():
    model, x = model_and_rows()
    np.testing.assert_allclose(
        lzt.sketch(model, x, 8).products, lzt.sketch(model, x, 8, memory=20_000).products
    )


def test_sketches_of_other_directions_are_not_compared():
    model, x = model_and_rows()
    with pytest.raises(lzt.InputError, match="same rows"):
        lzt.sketch(model, x, 8).cosine(lzt.sketch(model, x, 8, seed=1))


def test_sparse_gradients_of_a_table():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Flatten(), nn.Linear(12, 2)).double()
    x = torch.randint(0, 5, (6, 3))
    found = lzt.sketch(model, x, 8)
    model[0].sparse = False  # ty: ignore[invalid-assignment]
    wanted = lzt.sketch(model, x, 8)
    for name, products in wanted.groups.items():
        np.testing.assert_allclose(found.groups[name], products)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_units():
    model = nn.Sequential(nn.Linear(6, 0), nn.Linear(0, 2)).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    same = torch.eye(2, dtype=torch.float64).expand(5, 5, 2, 2)  # the bias alone
    torch.testing.assert_close(lzt.ntk(model, x), same)
    torch.testing.assert_close(lzt.ntk(model, x, trace_outputs=True), same.sum((2, 3)))
    assert lzt.sketch(model, x, 4, center=False).groups
