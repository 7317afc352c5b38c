"""Oracle: every position in NumPy loops, PyTorch's usual module, kernels by explicit Jacobians."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import networks, torch_nets
from oracles.jacobians import kernel_by_jacobians

from lazyrich._base import InputError
from lazyrich.kernels import ntk
from lazyrich.models import Transformer, TransformerNet

NET = TransformerNet(d_model=12, n_heads=3, d_mlp=20)
VOCABULARY, CLASSES = 6, 5


def arrays(params):
    names = [field.name for field in dataclasses.fields(params) if field.name != "n_heads"]
    return {name: np.asarray(getattr(params, name)) for name in names}


def drawn(n_tokens=3, seed=0):
    """Parameters away from their start, so that biases count and attention is not flat."""
    params = NET.init(
        jax.random.key(seed), n_inputs=n_tokens, n_outputs=CLASSES, vocabulary=VOCABULARY
    )
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: 2 * a + 0.3 * rng.normal(size=a.shape), params)


def tokens(n, n_tokens=3, seed=1):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCABULARY, (n, n_tokens)))


# Two rows form their own keys and values, sixty look them up.
@pytest.mark.parametrize("n", [2, 60])
@pytest.mark.parametrize("n_tokens", [1, 3, 4])
def test_the_logits_are_those_of_all_positions_computed(n, n_tokens):
    params, x = drawn(n_tokens), tokens(n, n_tokens)
    expected = networks.transformer(arrays(params), x, NET.n_heads)
    np.testing.assert_allclose(NET.predictor()(params, x), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 60])
def test_logits_and_gradients_are_those_of_pytorch(require_extra, n):
    torch = require_extra("torch")
    params, x = drawn(), tokens(n)
    module = torch_nets.transformer(torch, arrays(params), NET.n_heads)
    theirs = module(torch.tensor(np.array(x)))
    np.testing.assert_allclose(NET.predictor()(params, x), theirs.detach(), rtol=1e-11, atol=1e-12)
    theirs.sin().sum().backward()
    ours = jax.grad(lambda p: jnp.sin(NET.predictor()(p, x)).sum())(params)
    for name, gradient in arrays(ours).items():
        wanted = getattr(module, name).grad
        np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(
    "traced, n",  # either side of 6² = 36 ≤ 16·n
    [
        (True, 4),
        pytest.param(True, 3, marks=pytest.mark.slow),
        pytest.param(False, 4, marks=pytest.mark.slow),
        pytest.param(False, 3, marks=pytest.mark.slow),
    ],
)
def test_kernels_are_those_of_the_jacobians(traced, n):
    params, x = drawn(), tokens(n)
    expected = kernel_by_jacobians(NET.predictor(), params, x, traced=traced)
    kernel = ntk(NET.predictor(), params, x, trace_outputs=traced)
    np.testing.assert_allclose(kernel, expected, rtol=1e-9, atol=1e-9)


def test_initial_parameters_follow_their_law():
    net = TransformerNet(d_model=64, n_heads=4, d_mlp=128)
    params = net.init(jax.random.key(2), n_inputs=3, n_outputs=40, vocabulary=100, weight_scale=2.0)
    for name, array in arrays(params).items():
        if name.endswith("bias"):
            assert (array == 0).all()
            continue
        spread = 2 / math.sqrt(100 if name == "unembedding" else 64)
        # Five standard errors of a standard deviation, σ/√(2n).
        assert array.std() == pytest.approx(spread, rel=5 / math.sqrt(2 * array.size)), name
    square = np.corrcoef([getattr(params, n).ravel() for n in ("query", "key", "value", "output")])
    assert np.abs(square - np.eye(4)).max() < 5 / 64


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: TransformerNet(d_model=10, n_heads=4), "n_heads 4 does not divide d_model 10"),
        (
            lambda: NET.init(jax.random.key(0), n_inputs=3, n_outputs=5),
            "takes tokens and the task gives vectors",
        ),
        (
            lambda: NET.init(jax.random.key(0), n_inputs=3, n_outputs=None, vocabulary=5),
            "a logit for each class and the task needs one number",
        ),
        (lambda: NET.predictor(epsilon=1.0), "has no dynamic hyperparameter epsilon"),
        (lambda: drawn(3)(tokens(4, 2)), "have 2 tokens and the transformer was made for 3"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    assert isinstance(drawn(), Transformer)
    with pytest.raises(InputError, match=message):
        call()
