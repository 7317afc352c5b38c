"""Oracle: known limits of each method (AdamW, Muon, an output scale), and NumPy formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from lazyrich._base import InputError
from lazyrich.models import MLPNet, TransformerNet
from lazyrich.tasks import ModularTask
from lazyrich.training import (
    AdamW,
    Experiment,
    StableMax,
    Temperature,
    constrain_norm,
    egalitarian_gradient,
    grokfast_ema,
    grokfast_ma,
    jacobian_penalty,
    late_l2,
    normalize_columns,
    orthogonal_gradient,
    scale_first_layer,
    stablemax_cross_entropy,
    train,
)

BASE = Experiment(
    task=ModularTask(modulus=5, fraction=0.6, split_seed=0),
    net=MLPNet(widths=(6,)),
    optimizer=AdamW(learning_rate=0.03, weight_decay=0.1, learning_rate_rule="fixed"),
    scaling={"center": False},
    loss="cross_entropy",
    n_steps=6,
    eval_steps=(6,),
    precision="float64",
)


def run(step, gradients, params=None):
    state, outputs = step.init(jnp.zeros_like(gradients[0]) if params is None else params), []
    for gradient in gradients:
        output, state = step.update(gradient, state, params)
        outputs.append(np.asarray(output))
    return np.array(outputs)


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def of_kind(kind, **fields):
    """The experiment with another optimizer at the same rate and decay."""
    same = {"learning_rate": 0.03, "weight_decay": 0.1, "learning_rate_rule": "fixed"}
    settings = {"kind": kind, **same, **fields}
    return BASE.changed({f"optimizer.{name}": value for name, value in settings.items()})


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), one, other)


@pytest.mark.parametrize("slow", [grokfast_ema(decay=0.9, gain=0.0), grokfast_ma(window=2, gain=0)])
def test_grokfast_without_gain_is_adamw_bit_by_bit(slow):
    gradients, params = random(0, 4, 3), random(1, 3)
    adamw = optax.adamw(0.03, weight_decay=0.1)
    found = run(optax.chain(slow, adamw), gradients, params)
    assert (found == run(adamw, gradients, params)).all()


@pytest.mark.slow
def test_limits_of_the_optimizers_are_adamw():
    wanted = train(BASE).params
    late = {"strength": 5.0, "fit_loss": 1e-9}
    for one in (
        of_kind("grokfast_ema", gain=0.0),
        of_kind("grokfast_ma", gain=0.0),
        of_kind("norm_constraint", radius=100.0),
        of_kind("late_l2", **late),
        BASE.changed({"objective.kind": "jacobian_alignment", "objective.strength": 0.0}),
        BASE.changed({"objective.kind": "temperature"}),
    ):
        assert_close(train(one).params, wanted)
    smaller = train(of_kind("late_l2", **late | {"fit_loss": 100.0})).params
    assert np.linalg.norm(smaller.weights[0]) < np.linalg.norm(wanted.weights[0])


def test_averages_are_those_of_numpy():
    gradients = random(0, 7, 3)
    average, wanted = np.asarray(gradients[0]), []
    for gradient in np.asarray(gradients):
        average = 0.9 * average + 0.1 * gradient
        wanted.append(gradient + 2.5 * average)
    # At the first gradient the average is that gradient.
    np.testing.assert_allclose(run(grokfast_ema(decay=0.9, gain=2.5), gradients), wanted)
    found = run(grokfast_ma(window=3, gain=0.5), gradients)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(gradients), 3, axis=0)
    np.testing.assert_allclose(found[2:], gradients[2:] + 0.5 * windows.mean(-1))
    np.testing.assert_array_equal(found[:2], gradients[:2])


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_egd_is_muon_without_momentum_and_with_an_exact_polar_factor(shape):
    gradient = random(1, *shape)
    found = run(egalitarian_gradient("svd"), gradient[None])[0]
    product = found @ found.T if shape[0] == 3 else found.T @ found
    np.testing.assert_allclose(product, np.eye(3), atol=1e-10)
    # The cubic Newton-Schulz iteration converges to the polar factor itself; Muon's factor
    # for the shape is all that is different.
    exact = {"ns_coeffs": ((1.5, -0.5, 0.0),) * 40, "ns_steps": 40, "beta": 0.0, "nesterov": False}
    muon = contrib.muon(0.1, **exact)
    factor = np.sqrt(max(1, shape[1] / shape[0]))
    moved = jax.jit(lambda g: muon.update(g, muon.init(g), g)[0])(gradient)
    np.testing.assert_allclose(moved, -0.1 * factor * found, atol=1e-8)


def test_egd_by_newton_schulz_is_close_to_the_polar_factor_and_drops_null_directions():
    gradient = random(2, 5, 8)
    singular = np.linalg.svd(run(egalitarian_gradient("newton_schulz"), gradient[None])[0])[1]
    assert (singular > 0.5).all()
    assert (singular < 1.5).all()
    low = jnp.outer(jnp.arange(1.0, 4.0), jnp.ones(2))
    found = run(egalitarian_gradient("svd"), low[None])[0]
    np.testing.assert_allclose(found, low / np.linalg.norm(low), atol=1e-10)
    assert not run(egalitarian_gradient("svd"), jnp.zeros((1, 3, 2))).any()


def test_columns_have_length_one():
    gradient = random(3, 4, 3).at[:, 1].set(0)
    norms = np.linalg.norm(run(normalize_columns(), gradient[None])[0], axis=0)
    np.testing.assert_allclose(norms, [1, 0, 1], atol=1e-12)


def test_the_orthogonal_gradient_keeps_the_norm_to_first_order_in_the_rate():
    rng = np.random.default_rng(4)
    params = {"a": jnp.asarray(rng.normal(size=(3, 2))), "b": jnp.asarray(rng.normal(size=4))}
    gradient = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    rates, changes = np.array([1e-2, 1e-3, 1e-4]), []
    for rate in rates:
        step = optax.chain(orthogonal_gradient(), optax.sgd(rate))
        updates, _ = step.update(gradient, step.init(params), params)
        moved = optax.apply_updates(params, updates)
        changes.append(float(optax.tree.norm(moved) - optax.tree.norm(params)))
    slope = np.polyfit(np.log(rates), np.log(changes), 1)[0]
    assert abs(slope - 2) < 0.01


@pytest.mark.parametrize("how", ["clip", "project"])
def test_the_norm_is_what_was_asked_for(how):
    rng = np.random.default_rng(5)
    start = jnp.asarray(rng.normal(size=6))
    step = optax.chain(optax.sgd(0.3), constrain_norm(0.9, how=how))
    params, state = start, step.init(start)
    for _ in range(5):
        updates, state = step.update(jnp.asarray(rng.normal(size=6)), state, params)
        params = optax.apply_updates(params, updates)
        share = float(jnp.linalg.norm(params) / jnp.linalg.norm(start))
        assert share <= 0.9 + 1e-12
        assert how == "clip" or abs(share - 0.9) < 1e-12


def test_words_that_are_none_of_these_are_refused(unchecked):
    with pytest.raises(InputError, match="how is 'cut'"):
        constrain_norm(1.0, how="cut")
    with pytest.raises(InputError, match="polar is 'qr'"):
        egalitarian_gradient("qr")


def test_the_late_penalty_comes_with_the_fit_and_stays():
    step, params = late_l2(2.0, fit_loss=0.1), jnp.ones(2)
    state, penalties = step.init(params), []
    for loss in (1.0, 0.2, 0.1, 5.0):
        gradient, state = step.update(jnp.zeros(2), state, params, value=jnp.asarray(loss))
        penalties.append(float(gradient[0]))
    assert penalties == [0, 0, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_a_temperature_is_an_output_scale_of_its_inverse_at_one_rate(temperature):
    hot = train(BASE.changed({"objective": Temperature(temperature=temperature).model_dump()}))
    scaled = train(BASE.changed({"scaling.alpha": 1 / temperature}))
    for a, b in zip(jax.tree.leaves(hot.params), jax.tree.leaves(scaled.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    # Loss and accuracy are recorded of the logits as they are.
    assert abs(hot.train_loss[0] - scaled.train_loss[0]) > 1e-3


def test_stablemax_is_its_formula_and_has_finite_gradients():
    rng = np.random.default_rng(6)
    logits, labels = rng.normal(size=(20, 4)) * 3, np.eye(4)[rng.integers(0, 4, 20)]
    s = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
    wanted = -np.log((s * labels).sum(1) / s.sum(1)).mean()
    found = stablemax_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    extreme = jnp.array([[1e30, -1e30, 0.0, 1.0, -1.0]], jnp.float32)
    gradient = jax.grad(stablemax_cross_entropy)(extreme, jnp.eye(5, dtype=jnp.float32)[:1])
    assert np.isfinite(gradient).all()


def test_the_jacobian_penalty_is_the_mean_squared_frobenius_norm():
    net = MLPNet(widths=(5,), activation="tanh")
    params = net.init(jax.random.key(0), n_inputs=3, n_outputs=2)
    x = jax.random.normal(jax.random.key(1), (4, 3))
    jacobians = jax.vmap(jax.jacrev(lambda row: params(row[None])[0]))(x)
    wanted = float(jnp.square(jacobians).sum((1, 2)).mean())
    keys = jax.random.split(jax.random.key(2), 400)
    found = jax.vmap(lambda key: jacobian_penalty(params, x, key))(keys)
    assert abs(float(found.mean()) - wanted) < 5 * float(found.std()) / 20


@pytest.mark.slow
def test_objectives_are_what_is_descended():
    strong = train(BASE.changed({"objective.kind": "jacobian_alignment", "objective.strength": 3}))
    sizes = [
        float(jacobian_penalty(one.params, jnp.eye(10), jax.random.key(3)))
        for one in (strong, train(BASE))
    ]
    assert sizes[0] < sizes[1]
    found = train(BASE.changed({"objective.kind": "stablemax"}))
    assert found.train_loss[-1] < found.train_loss[0]


def test_a_larger_first_layer_leaves_the_function_of_a_relu_network():
    params = MLPNet(widths=(7,)).init(jax.random.key(0), n_inputs=3, n_outputs=2)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    scaled = scale_first_layer(params, 4.0)
    np.testing.assert_allclose(scaled(x), params(x), rtol=1e-12)
    np.testing.assert_allclose(scaled.weights[0], 4 * params.weights[0])
    np.testing.assert_allclose(scaled.weights[1], params.weights[1] / 4)
    wide = BASE.changed({"scaling.first_layer_scale": 4.0})
    found, plain = (one.sample({}).params0.weights for one in (wide, BASE))
    np.testing.assert_allclose(found[0], 4 * plain[0])
    net = TransformerNet(d_model=4, n_heads=2, d_mlp=4)
    tokens = net.init(jax.random.key(0), n_inputs=3, n_outputs=5, vocabulary=6)
    found = scale_first_layer(tokens, 2.0)
    np.testing.assert_allclose(found.embedding, 2 * tokens.embedding)
    np.testing.assert_allclose(found.unembedding, tokens.unembedding / 2)
    np.testing.assert_array_equal(found.mlp_in, tokens.mlp_in)


REFUSED = {
    "temperature": ({"loss": "mse", "objective.kind": "temperature"}, "needs the loss cross_ent"),
    "stablemax": ({"loss": "mse", "objective": StableMax().model_dump()}, "needs the loss cross"),
    "tokens": (
        {
            "task.inputs": "tokens",
            "net": TransformerNet(d_model=4, n_heads=2, d_mlp=4).model_dump(),
            "objective.kind": "jacobian_alignment",
        },
        "needs vectors",
    ),
    "one layer": ({"net.widths": (), "scaling.first_layer_scale": 2.0}, "needs a hidden layer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(case):
    changes, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence):
        BASE.changed(changes)
