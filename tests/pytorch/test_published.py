"""Oracle: explicit float64 Jacobians of models of `transformers` made from configurations."""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from oracles import torch_zoo  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

transformers.logging.set_verbosity_error()

# Some modules are deprecated by their own packages, at import or at the first call.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
# Llama computes its norms in float32, whatever the type of its parameters.
TOLERANCES = {"llama": 1e-6}
UNDERSTOOD = ["gpt2", "bert", "vit", "resnet18", "lora", "lora at its start"]


@pytest.mark.parametrize("name", torch_zoo.published())
def test_kernel_is_that_of_explicit_jacobians(name):
    model, x, output = torch_zoo.made_published(name)
    wanted = torch_zoo.kernel(model, x, output)
    found = lzt.ntk(model, x, output=output)
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    assert gap < TOLERANCES.get(name, 1e-12)
    traced = lzt.ntk(model, x, output=output, trace_outputs=True)
    gap = (traced - torch.einsum("ijaa->ij", wanted)).abs().max() / traced.abs().max()
    assert float(gap) < TOLERANCES.get(name, 1e-12)


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_no_parameter_needs_its_jacobian(name):
    model, x, output = torch_zoo.made_published(name)
    ways = lzt.explain_ntk(model, x, output=output).ways
    assert not [way for way in ways if way.kind == "jacobian"]


def test_frozen_parameters_of_an_adapted_model_are_left_out():
    model, x, output = torch_zoo.made_published("lora")
    names = [way.name for way in lzt.explain_ntk(model, x, output=output).ways]
    assert names
    assert all("lora_" in name for name in names)
    # At its start B is zero, so the kernel has nothing of A: that block is zero, not missing.
    model, x, output = torch_zoo.made_published("lora at its start")
    first = lzt.ntk(model, x, output=output, params=lambda name: "lora_A" in name)
    assert not first.any()
    assert lzt.ntk(model, x, output=output).any()


@pytest.mark.parametrize("name", ["gpt2", "bert", "lora"])
def test_nothing_of_the_model_changes(name):
    model, x, output = torch_zoo.made_published(name)
    before, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    flags = [p.requires_grad for p in model.parameters()]
    lzt.ntk(model, x, output=output)
    lzt.sketch(model, x, 4, output=output)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_accelerate_wrapper_is_taken_off():
    accelerate = pytest.importorskip("accelerate")
    model, x, output = torch_zoo.made_published("gpt2")
    wanted = lzt.ntk(model, x, output=output)
    prepared = accelerate.Accelerator(cpu=True).prepare(model)
    assert torch.equal(lzt.ntk(prepared, x, output=output), wanted)


def test_output_is_asked_for_where_a_model_returns_an_object():
    model, x, _ = torch_zoo.made_published("gpt2")
    with pytest.raises(lzt.InputError, match=r"output=lambda out: out\.logits"):
        lzt.ntk(model, x)


def test_a_single_row_whose_places_are_computed_from_parameters_alone():
    """Of one row, values of places and of tokens have the same shape, and the graph is pulled
    through after its last output."""
    shape = {"vocab_size": 30, "hidden_size": 16, "num_layers": 2, "num_heads": 2}
    shape |= {"max_position_embeddings": 16, "attention_types": [[["global", "local"], 1]]}
    torch.manual_seed(0)
    model = transformers.GPTNeoForCausalLM(transformers.GPTNeoConfig(**shape, window_size=4))
    model, x = model.eval().double(), {"input_ids": torch.randint(30, (1, 6))}

    def last(out):
        return out.logits[:, -1, :3]

    wanted = torch_zoo.kernel(model, x, last)
    found = lzt.ntk(model, x, output=last)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-12
