"""Oracle: the kernel of the module inside; law, what is split among processes is refused."""

import sys

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from oracles import torch_zoo  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

pytestmark = pytest.mark.skipif(
    not dist.is_available() or sys.platform == "win32", reason="needs torch.distributed with gloo"
)


@pytest.fixture
def group(tmp_path):
    """A group of one process."""
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def every_function(model, x):
    """What each public function makes of a module, by name."""
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    return {
        "ntk": lambda: lzt.ntk(model, x),
        "explain_ntk": lambda: str(lzt.explain_ntk(model, x)),
        "sketch": lambda: torch.as_tensor(lzt.sketch(model, x, 3).products),
        "linearize": lambda: lzt.linearize(model)(x).detach(),
        "scale_output": lambda: lzt.scale_output(model, 2.0, center=False)(x).detach(),
        "diagnose": lambda: lzt.diagnose(model, before=start, x=x).to_json(),
        "compare": lambda: str(lzt.compare(model, {"a": start, "b": start}, x)),
        "watch": lambda: (
            lzt.watch(model, torch.optim.SGD(model.parameters(), 0.1), (x, None), say=None)
            .__enter__()
            ._start.products["0"]
            .tolist()
        ),
    }


def test_ddp_is_taken_off_and_its_reducer_never_waits(group):
    model, x = torch_zoo.made("mlp")
    wrapped = nn.parallel.DistributedDataParallel(model)
    inside, outside = every_function(model, x), every_function(wrapped, x)
    for name, call in outside.items():
        found, wanted = call(), inside[name]()
        assert torch.equal(found, wanted) if torch.is_tensor(found) else found == wanted, name
    # A training step afterwards is not disturbed.
    wrapped(x).sum().backward()
    expected = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_what_is_split_among_processes_is_refused_by_every_function(group):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, x = torch_zoo.made("mlp")
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    for call in every_function(model, x).values():
        with pytest.raises(lzt.InputError, match="splits parameters among processes"):
            call()
