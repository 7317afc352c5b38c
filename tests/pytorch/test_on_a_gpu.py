"""Oracle: the same functions of the same modules on the CPU, in float64; needs a GPU."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

from oracles import torch_state, torch_zoo  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402
from pytorch.measuring import FUNCTIONS  # noqa: E402

# Float32 sums in another order, over the largest entry; products rounded to TF32 would be 1e-3.
ROUNDING = 3e-5
# There PyTorch takes the roots of a weight norm in float32, whatever the type of the weights.
TOLERANCES = {"parametrized": 3e-6, "old weight norm": 3e-6}


def there(x):
    """The same rows on the GPU."""
    return torch.utils._pytree.tree_map(lambda leaf: leaf.cuda(), x)


def gap(found, wanted):
    found = found.cpu().double()
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", torch_zoo.zoo())
def test_kernel_is_that_of_the_cpu(name):
    model, x = torch_zoo.made(name)
    wanted = lzt.ntk(model, x)
    found = lzt.ntk(model.cuda(), there(x))
    assert found.is_cuda
    assert gap(found, wanted) < TOLERANCES.get(name, 1e-10)


@pytest.mark.parametrize("name", ["mlp", "resnet", "vision transformer", "lstm"])
def test_float32_kernel_is_not_rounded_further(name):
    model, x = torch_zoo.made(name)
    wanted = lzt.ntk(model, x)
    is_allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        found = lzt.ntk(copy.deepcopy(model).float().cuda(), there(x.float()))
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = is_allowed
    assert gap(found, wanted) < ROUNDING


@pytest.mark.parametrize("function", FUNCTIONS)
def test_model_and_random_numbers_stay(function):
    model, x = torch_zoo.made("resnet")
    model, x = model.cuda(), there(x)
    before, drawn = torch_state.state(model), torch.cuda.get_rng_state()
    FUNCTIONS[function](model, x)
    after = torch_state.state(model)
    assert before.keys() == after.keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before["version"].get(name, value))
    assert before["identity"] == after["identity"]
    assert before["modes"] == after["modes"]
    assert torch.equal(drawn, torch.cuda.get_rng_state())


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_sketch_has_the_directions_of_the_cpu(name):
    model, x = torch_zoo.made(name)
    wanted = lzt.sketch(model, x, 8)
    found = lzt.sketch(copy.deepcopy(model).cuda(), there(x), 8)
    np.testing.assert_allclose(found.products, wanted.products, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "resnet", "vision transformer", "lstm"])
def test_linearized_and_scaled_networks_are_those_of_the_cpu(name):
    model, x = torch_zoo.made(name)
    on_gpu = copy.deepcopy(model).cuda()
    for make in (lzt.linearize, lambda one: lzt.scale_output(one, 3.0)):
        here, away = make(model), make(on_gpu)
        here(x), away(there(x))  # the first call, before anything is moved
        trained = [p for p in here.parameters() if p.requires_grad]
        others = [p for p in away.parameters() if p.requires_grad]
        with torch.no_grad():
            for p, other in zip(trained, others, strict=True):
                step = 0.1 * torch.randn(p.shape, dtype=p.dtype)
                p.add_(step)
                other.add_(step.cuda())
        assert gap(away(there(x)).detach(), here(x).detach()) < 1e-9


def test_diagnosis_is_that_of_the_cpu():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)]
    model = torch.nn.Sequential(*layers).double()
    x, start = torch.randn(12, 6, dtype=torch.float64), copy.deepcopy(model.state_dict())
    y = x[:, 0] * x[:, 1]
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        ((model(x)[:, 0] - y) ** 2).mean().backward()
        optimizer.step()
    wanted = lzt.diagnose(model, before=start, x=x, y=y)
    found = lzt.diagnose(copy.deepcopy(model).cuda(), before=start, x=x.cuda(), y=y.cuda())
    assert found.regime == wanted.regime
    assert found.readings.keys() == wanted.readings.keys()
    for name, one in wanted.readings.items():
        assert found.readings[name].value == pytest.approx(one.value, rel=1e-6, abs=1e-9), name


def test_rows_on_the_cpu_are_refused():
    model, x = torch_zoo.made("mlp")
    with pytest.raises(lzt.InputError, match="x is on cpu and the model on cuda"):
        lzt.ntk(model.cuda(), x)
