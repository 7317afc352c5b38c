"""Oracle: explicit float64 Jacobians of random modules, one backward pass for each output."""

import pytest

torch = pytest.importorskip("torch")

from oracles import torch_random, torch_zoo  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
NUMBERS_OF_ROWS = (5, 9, 3, 12)


def kernels(model, x):
    """By name, what is asked for and what it should be."""
    n = len(x)
    wanted = torch_zoo.kernel(model, x).detach()
    traced = torch.einsum("ijaa->ij", wanted)
    signs = torch.randint(
        0, 2, (5, n, wanted.shape[-1]), generator=torch.Generator().manual_seed(1)
    )
    signs = signs.double() * 2 - 1
    products = torch.einsum("uia,ijab,vjb->uv", signs, wanted, signs)
    sketch = lzt.sketch(model, x, 5, seed=1, center=False)
    yield "full", lzt.ntk(model, x).reshape(wanted.shape), wanted
    yield "traced", lzt.ntk(model, x, trace_outputs=True), traced
    yield "in blocks", lzt.ntk(model, x, trace_outputs=True, memory=60_000), traced
    yield "two sets", lzt.ntk(model, x[:4], x[1:], trace_outputs=True), traced[:4, 1:]
    yield "sketch", torch.as_tensor(sketch.products) / n, products / n


def check(seed):
    model = torch_random.RandomModule(seed)
    n = NUMBERS_OF_ROWS[seed % len(NUMBERS_OF_ROWS)]
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, torch_random.WIDTH, dtype=torch.float64, generator=generator)
    if seed % 3 == 0:
        x[1] = x[0]
    if not model(x).requires_grad:
        return
    for name, found, wanted in kernels(model, x):
        gap = float((found - wanted).abs().max())
        assert gap <= 1e-10 * float(wanted.abs().max()), (name, seed, model.steps)


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_random_modules(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 600, 50))
def test_many_random_modules(start):
    for seed in range(start, start + 50):
        check(seed)


KINDS = (*torch_random.LAYERS, *torch_random.USES)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 16))]
)
def test_each_kind_by_itself(part):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, torch_random.WIDTH, dtype=torch.float64, generator=generator)
    for name in KINDS[part::16]:
        model = torch_random.RandomModule(0, [name])
        wanted = torch_zoo.kernel(model, x).detach()
        found = lzt.ntk(model, x).reshape(wanted.shape)
        assert float((found - wanted).abs().max()) <= 1e-11 * float(wanted.abs().max()), name
