"""Oracle: law, what is set on a tensor is held as what is set on the module that holds it.

The same model with the value as an attribute of a module.
"""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Sub(torch.Tensor):
    def new_empty(self, *size, **kwargs):
        return super().new_empty(*size, **kwargs).as_subclass(Sub)


class WithoutCopies(torch.Tensor):
    pass


HOLDERS = {
    "a plain tensor": lambda: torch.ones(4, dtype=torch.float64),
    "a tensor of a subclass": lambda: torch.ones(4, dtype=torch.float64).as_subclass(Sub),
    "a parameter": lambda: nn.Parameter(torch.ones(4, dtype=torch.float64)),
}


class Scaling(nn.Module):
    """A layer of rows that are scaled by what is set on a tensor, or on a module."""

    def __init__(self, holder, change):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.change = nn.Linear(4, 2).double(), change
        if isinstance(holder, nn.Parameter):
            holder.requires_grad_(False)
        self.holder = holder
        vars(holder)["scale"] = torch.arange(1, 5).double()

    def forward(self, x):
        at = vars(self.holder)
        self.change(at, x)
        return self.layer(x * at["scale"])


def replace(at, x):
    at["scale"] = at["scale"] * 1


def scratch(at, x):
    at["scale"] = torch.zeros_like(x) + 2


def count(at, x):
    at["scale"] = at["scale"] + 1


def write(at, x):
    at["scale"].add_(1)


def keep(at, x):
    if "seen" not in at:
        at["seen"] = at["scale"] = x.mean(0)


def answer(ask, model):
    """What is found, or the sentence that refuses."""
    try:
        return ask(model)
    except lzt.InputError as error:
        return str(error)


ASKS = {
    "ntk": lambda model: lzt.ntk(model, X),
    "sketch": lambda model: torch.as_tensor(lzt.sketch(model, X, 3).products),
    "linearize": lambda model: lzt.linearize(model)(X),
    "scale": lambda model: lzt.scale_output(model, 2.0)(X),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("change", [replace, scratch, count, write, keep])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_set_on_a_tensor_is_seen_and_restored(name, change, ask):
    model, plain = Scaling(HOLDERS[name](), change), Scaling(nn.Module(), change)
    before = copy.deepcopy(vars(model.holder))
    wanted, found = answer(ASKS[ask], plain), answer(ASKS[ask], model)
    assert type(found) is type(wanted)
    if isinstance(found, str):
        assert found == wanted
    else:
        torch.testing.assert_close(found, wanted)
    if ask != "scale":  # which calls the model itself
        assert vars(model.holder).keys() == before.keys()
        assert torch.equal(vars(model.holder)["scale"], before["scale"])


def test_a_class_of_tensors_without_copies_is_refused_and_it_is_said_why():
    model = nn.Linear(4, 2)
    model.kept = torch.ones(4).as_subclass(WithoutCopies)
    for of in (lzt.linearize, lambda model: lzt.scale_output(model, 2.0)):
        with pytest.raises(lzt.InputError, match="let the class of that tensor implement"):
            of(model)


def test_copies_of_networks_keep_what_is_set_on_parameters():
    model = Scaling(HOLDERS["a parameter"](), replace)
    network = lzt.scale_output(model, 2.0)
    torch.testing.assert_close(copy.deepcopy(network)(X), network(X))


def test_a_buffer_with_a_flag_may_be_written_to():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(4, 2).double()
            self.register_buffer("scratch", torch.zeros(5, 4, dtype=torch.float64))
            vars(self.scratch)["is_ready"] = True

        def forward(self, x):
            assert vars(self.scratch)["is_ready"]
            return self.layer(self.scratch[: len(x)].copy_(x) * 1)

    model = Writing()
    torch.testing.assert_close(lzt.ntk(model, X), lzt.ntk(model.layer, X))
    torch.testing.assert_close(lzt.linearize(model)(X), model.layer(X))


@pytest.mark.parametrize("ask", ["ntk", "sketch", "linearize"])
def test_what_is_set_first_by_a_call_is_taken_away(ask):
    class Marking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2).double()
            self.register_buffer("scale", torch.ones(4, dtype=torch.float64))

        def forward(self, x):
            vars(self.layer.weight)["last"], vars(self.scale)["n"] = x.detach(), len(x)
            return self.layer(x * self.scale)

    model = Marking()
    ASKS[ask](model)
    assert vars(model.layer.weight) == vars(model.scale) == {}
