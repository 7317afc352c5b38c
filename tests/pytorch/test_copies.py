"""Oracle: law, a copy of a model is the module that computes in place what the model keeps."""

import copy
import functools
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from oracles import torch_holders  # noqa: E402
from oracles.torch_state import assert_unchanged, state  # noqa: E402
from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

# Those that no copy is right of.
APART = ["a closure", "a hook that writes", "a hook that reads", "a class"]


def batches(*sizes):
    return [torch.randn(n, 4, dtype=torch.float64) for n in sizes]


def made(name, *, is_called):
    torch.manual_seed(0)
    model = torch_holders.HOLDERS[name]().eval()
    explicit, x = torch_holders.Explicit(), batches(6)[0]
    explicit.load_state_dict({k: v for k, v in model.state_dict().items() if "." in k})
    if is_called:  # so that what is kept is right for these rows
        model(x)
    return model, explicit, x


def jacobian(value, parameters):
    rows = [
        torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True)
        for one in value.flatten()
    ]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def assert_same_diagnosis(model, explicit, **given):
    found, wanted = (lzt.diagnose(m, **given).to_dict()["readings"] for m in (model, explicit))
    assert found.keys() == wanted.keys()
    for key, one in wanted.items():
        values = [np.array(r["value"], dtype=float) for r in (one, found[key])]
        np.testing.assert_allclose(*values, rtol=2e-3, err_msg=key)


def held(model):
    """State, also of what is no buffer."""
    tensors = [v for v in vars(model).values() if isinstance(v, torch.Tensor | np.ndarray)]
    return [torch.as_tensor(one).clone() for one in tensors]


def right_or_refused(check):
    """Whether it is right; a refusal is no error."""
    try:
        check()
    except lzt.InputError as error:
        assert str(error).count(".") < 4  # noqa: PT017 (a sentence or two)
        return False
    return True


@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize("name", torch_holders.HOLDERS)
def test_a_linearized_network_is_right_or_refused(name, is_called):
    model, explicit, x = made(name, is_called=is_called)
    several = (x, *batches(6, 9), x)
    before, tensors = state(model), held(model)

    def check():
        linearized = lzt.linearize(model)
        for one in several:
            value = linearized(one)
            torch.testing.assert_close(value, explicit(one))
            found = jacobian(value, list(linearized.parameters_now))
            wanted = jacobian(explicit(one), list(explicit.parameters()))
            torch.testing.assert_close(found, wanted)
            assert_unchanged(before, model)

    is_right = right_or_refused(check)
    assert_unchanged(before, model)
    torch.testing.assert_close(held(model), tensors, rtol=0, atol=0)
    assert is_right or name not in ("the module", "a partial of the module", "a conjugated view")
    assert not is_right or name not in APART


@pytest.mark.parametrize("is_trained_before", [False, True])
@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize("name", torch_holders.HOLDERS)
def test_a_scaled_network_is_right_or_refused(name, is_called, is_trained_before):
    model, explicit, x = made(name, is_called=is_called)
    start = copy.deepcopy(explicit)

    def train():
        with torch.no_grad():
            for one in (model.layer, model.out, explicit.layer, explicit.out):
                one.weight.mul_(1.2)

    def check():
        scaled = lzt.scale_output(model, 2.0)
        if is_trained_before:
            train()
        else:
            torch.testing.assert_close(scaled(x), torch.zeros(6, 2, dtype=torch.float64))
            train()
        for one in (x, *batches(6, 9), x):
            torch.testing.assert_close(scaled(one), 2 * (explicit(one) - start(one)))

    is_right = right_or_refused(check)
    assert is_right == (name not in APART)


@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize("name", torch_holders.HOLDERS)
def test_a_diagnosis_is_right_or_refused(name, is_called):
    model, explicit, x = made(name, is_called=is_called)
    start = {key: 0.7 * p.detach() for key, p in explicit.named_parameters()}
    before, tensors = state(model), held(model)

    def check():
        assert_same_diagnosis(model, explicit, before=start, x=x)

    right_or_refused(check)
    assert_unchanged(before, model)
    torch.testing.assert_close(held(model), tensors, rtol=0, atol=0)


READERS = ["ViewOfBias", "ArrayOfBias", "SlotsOfBias", "ResultOfBias", "ClosureOfBias"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", READERS)
def test_a_diagnosis_of_what_reads_a_parameter_elsewhere(kind, dtype):
    torch.manual_seed(0)
    model, x = getattr(torch_holders, kind)(dtype), torch.randn(6, 4, dtype=dtype)
    explicit = torch_holders.Bias(dtype)
    explicit.load_state_dict(model.state_dict())
    start = {key: 0.7 * p.detach() for key, p in explicit.named_parameters()}
    before = state(model)

    def check():
        assert_same_diagnosis(model, explicit, before=start, x=x)

    is_right = right_or_refused(check)
    assert is_right == (kind not in ("ResultOfBias", "ClosureOfBias"))
    assert_unchanged(before, model)


@pytest.mark.parametrize(
    "make", [lzt.linearize, functools.partial(lzt.scale_output, alpha=1.0)], ids=["lin", "scale"]
)
def test_what_no_call_changes_may_be_held_until_it_is_changed(make):
    model, x = torch_holders.masked(), batches(5)[0]
    network = make(model)
    wanted = network.initial(x) if isinstance(network, lzt.LinearizedModule) else torch.zeros(5, 2)
    for _ in range(2):
        torch.testing.assert_close(network(x), wanted.double())
    other = copy.deepcopy(network)
    torch.testing.assert_close(other(x), wanted.double())
    with torch.no_grad():
        model.mask.mul_(2)
    for one in (network, other):
        with pytest.raises(lzt.InputError, match="has changed"):
            one(x)


@pytest.mark.parametrize("is_called", [False, True])
@pytest.mark.parametrize(
    "make", [lzt.linearize, functools.partial(lzt.scale_output, alpha=1.0)], ids=["lin", "scale"]
)
def test_copies_and_files_of_networks(make, is_called):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double(), batches(5)[0]
    network = make(model)
    if is_called:
        network(x)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    others = [copy.deepcopy(network), torch.load(file, weights_only=False)]
    assert list(network.state_dict()) == list(others[0].state_dict())
    for other in others:
        torch.testing.assert_close(other(x), network(x))


def test_a_model_that_was_changed_after_it_was_linearized():
    """Its copy is the one of before, and is no worse for it."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    model, x = nn.Sequential(layer, nn.BatchNorm1d(3), nn.Linear(3, 2)), torch.randn(5, 4)
    wanted = copy.deepcopy(model).eval()(x)
    linearized = lzt.linearize(model)
    model(torch.randn(9, 4))
    with torch.no_grad():
        layer.weight.mul_(2)
    model[2] = nn.Linear(3, 5)
    before = state(model)
    torch.testing.assert_close(linearized(x), wanted)
    assert_unchanged(before, model)


def test_a_first_call_leaves_a_pending_backward_pass_and_random_numbers():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout()), torch.randn(5, 4)
    pending, scaled = model(x).sum(), lzt.scale_output(model, 2.0, output=lambda out: out * 1)
    before, numbers = state(model.eval()), torch.random.get_rng_state()
    scaled(x)
    lzt.linearize(model)(x)
    assert_unchanged(before, model)
    assert torch.equal(numbers, torch.random.get_rng_state())
    pending.backward()


def test_a_copy_in_another_precision_is_compared_too():
    linearized = lzt.linearize(torch_holders.closure(torch.float32)).double()
    with pytest.raises(lzt.InputError, match="still uses a tensor of the original"):
        linearized(batches(5)[0])


def test_checkpoints_of_arrays_and_of_lists():
    torch.manual_seed(0)
    model, x = torch_holders.Explicit(), batches(6)[0]
    start = {key: 0.7 * p.detach() for key, p in model.named_parameters()}
    wanted = lzt.diagnose(model, before=start, x=x).to_dict()
    arrays = {key: p.numpy() for key, p in start.items()}
    assert lzt.diagnose(model, before=arrays, x=x).to_dict() == wanted
    lists = {key: p.tolist() for key, p in start.items()}
    with pytest.raises(lzt.InputError, match=r"a list for the parameter 'layer\.weight'"):
        lzt.diagnose(model, before=lists, x=x)


class OverAnArray(nn.Module):
    """A layer of what a buffer scales, which has the memory of an array."""

    def __init__(self):
        super().__init__()
        self.layer, self.array = nn.Linear(4, 2).double(), np.ones(4)
        self.register_buffer("scale", torch.from_numpy(self.array))

    def forward(self, x):
        return self.layer(x * self.scale)


@pytest.mark.parametrize(
    "make", [lzt.linearize, functools.partial(lzt.scale_output, alpha=1.0)], ids=["lin", "scale"]
)
def test_copies_of_networks_share_memory_as_they_do(make):
    network = make(OverAnArray())
    network.results = torch.ones(2, requires_grad=True) * 2  # which copy.deepcopy cannot copy
    whole = {"trained": list(network.parameters()), "network": network}
    other = copy.deepcopy(whole)
    copied = other["network"]
    assert type(copied) is type(network)
    assert all(a is b for a, b in zip(other["trained"], copied.parameters(), strict=True))
    theirs = [p.requires_grad for p in network.parameters()]
    assert [p.requires_grad for p in copied.parameters()] == theirs
    parts = [part for part in copied.modules() if isinstance(part, OverAnArray)]
    for part in parts:
        part.array[:] = 3
        assert (part.scale == 3).all()
    assert all((m.scale == 1).all() for m in network.modules() if isinstance(m, OverAnArray))
