"""Oracle: PyTorch: the same weights in give the same curve out, over 100 steps in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import torch_nets

from lazyrich.models import MLPNet, TransformerNet
from lazyrich.training import cross_entropy, mean_squared_error

# Hundred steps of two roundings of every product, amplified by the net's own
# sensitivity: 1e-12 was seen, the stated tolerance leaves room for other machines.
TOLERANCE = 1e-9
N_STEPS = 100
LOSSES = {"mean_squared_error": mean_squared_error, "cross_entropy": cross_entropy}
# Ours by optax, theirs by name and settings: the epsilon stands outside the root on both
# sides, and decay is decoupled and multiplied by the learning rate.
OPTIMIZERS = {
    "gradient descent": (optax.sgd(0.1), ("sgd", 0.1, {})),
    "momentum": (optax.sgd(0.05, momentum=0.9), ("sgd", 0.05, {"momentum": 0.9})),
    "adam": (optax.adam(3e-3), ("adam", 3e-3, {})),
    "adamw": (
        optax.adamw(3e-3, b1=0.9, b2=0.98, weight_decay=1.0),
        ("adamw", 3e-3, {"betas": (0.9, 0.98), "weight_decay": 1.0}),
    ),
}


def curve(predict, params, x, y, *, loss, optimizer):
    """The loss before each step, and after the last."""

    def loss_of(params):
        return loss(predict(params, x), y)

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def run(params):
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), length=N_STEPS)
        return jnp.append(losses, loss_of(params))

    return np.asarray(run(params))


def assert_same_curves(torch, predict, params, module, x, y, *, loss, optimizer):
    ours, (kind, learning_rate, settings) = OPTIMIZERS[optimizer]
    found = curve(
        predict, params, jnp.asarray(x), jnp.asarray(y), loss=LOSSES[loss], optimizer=ours
    )
    wanted = torch_nets.train(
        module,
        torch.tensor(x),
        torch.tensor(y),
        loss=torch_nets.loss_function(torch, loss),
        optimizer=torch_nets.optimizer(torch, kind, module.parameters(), learning_rate, **settings),
        n_steps=N_STEPS,
    )
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE)
    assert found[-1] < 0.95 * found[0]  # something was learned


# Losses and optimizers meet in one place only: every one of each, and one pair of both.
PAIRS = [
    *[
        pytest.param(
            "mean_squared_error", name, marks=() if name == "momentum" else pytest.mark.slow
        )
        for name in sorted(OPTIMIZERS)
    ],
    ("cross_entropy", "adamw"),
]


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS)
def test_mlp(require_extra, optimizer, loss):
    torch = require_extra("torch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), np.eye(3)[rng.integers(0, 3, 20)]
    net = MLPNet(widths=(8, 6), activation="tanh")
    params = net.init(jax.random.key(0), n_inputs=5, n_outputs=3, weight_scale=2.0)
    arrays = jax.tree.map(np.asarray, params)
    module = torch_nets.mlp(torch, arrays.weights, arrays.biases, "tanh")
    assert_same_curves(torch, net.predictor(), params, module, x, y, loss=loss, optimizer=optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_transformer(require_extra, optimizer):
    torch = require_extra("torch")
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.integers(0, 5, (30, 2)), np.full((30, 1), 5)], 1)
    y = np.eye(5)[x[:, :2].sum(1) % 5]
    net = TransformerNet(d_model=12, n_heads=3, d_mlp=20)
    params = net.init(jax.random.key(2), n_inputs=3, n_outputs=5, vocabulary=6)
    names = [field.name for field in dataclasses.fields(params) if field.name != "n_heads"]
    module = torch_nets.transformer(
        torch, {name: np.asarray(getattr(params, name)) for name in names}, net.n_heads
    )
    assert_same_curves(
        torch, net.predictor(), params, module, x, y, loss="cross_entropy", optimizer=optimizer
    )
