"""Oracle: one explicit Jacobian per row, contracted in NumPy (oracles/jacobians.py).

Each network also says which way its parameters must take, so that a structured way
that silently stops being found fails here too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.jacobians import kernel_by_jacobians

from lazyrich.kernels import explain_ntk, ntk
from lazyrich.kernels._ntk import _blocking
from lazyrich.kernels._ntk._output_blocks import sum_over_blocks

# Rounding of float64 sums over a few thousand products of numbers of order one.
RTOL = 1e-11

NETWORKS = {}


def network(build):
    NETWORKS[build.__name__] = build
    return build


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    scales = [1 / np.sqrt(shape[-1] if shape else 1) for shape in shapes]
    drawn = [rng.normal(size=shape) * scale for shape, scale in zip(shapes, scales, strict=True)]
    return [jnp.asarray(array) for array in drawn]


def named(seed, **shapes):
    return dict(zip(shapes, draw(seed, *shapes.values()), strict=True))


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


@network
def linear_without_output_axis():
    return lambda w, x: x @ w, *draw(0, (6,), (5, 6)), {"params": "contraction"}


@network
def mlp_in_ntk_form():
    params = named(1, w1=(6, 7), b1=(7,), w2=(7, 8), b2=(8,), w3=(8, 3), b3=(3,))

    def predict(p, x):
        for k in "12":
            x = jax.nn.relu(x @ p["w" + k] / np.sqrt(p["w" + k].shape[0]) + 0.1 * p["b" + k])
        return 3.0 * (x @ p["w3"]) - p["b3"]

    ways = {f"['w{k}']": "contraction" for k in "123"}
    return predict, params, *draw(2, (5, 6)), ways | {f"['b{k}']": "addition" for k in "123"}


@network
def committee_machine():
    def predict(w, x):
        h = x @ w.T
        return 0.7 * (h + 0.1 * h**2).mean(1)

    return predict, *draw(3, (9, 6), (5, 6)), {"params": "contraction"}


@network
def residual_stream():
    params = named(4, w0=(6, 8), w1=(8, 8), b1=(8,), w2=(8, 8), b2=(8,), w3=(8, 2))

    def predict(p, x):
        x = x @ p["w0"]
        for k in "12":
            x = x + jnp.tanh(x) @ p["w" + k] + p["b" + k]
        return x @ p["w3"]

    return predict, params, *draw(5, (5, 6)), {"['w1']": "contraction", "['b2']": "addition"}


@network
def weights_shared_between_layers():
    params = named(6, w=(6, 6), b=(6,), v=(6, 3))

    def predict(p, x):
        for _ in range(3):
            x = jnp.tanh(x @ p["w"] + p["b"])
        return x @ p["v"]

    return predict, params, *draw(7, (5, 6)), {"['v']": "contraction"}


@network
def wide_weights_shared_within_and_between_sums():
    params = named(52, w=(30, 30), v=(30, 2))

    def predict(p, x):
        x = jnp.tanh(2 * (x @ p["w"]) - jnp.sin(x) @ p["w"].T)
        x = x.reshape(len(x), 1, 30) + jnp.arange(3.0)[:, None] / 3
        return jnp.tanh(x @ p["w"]).mean(1) @ p["v"]

    return predict, params, *draw(53, (5, 30)), {"['w']": "contraction", "['v']": "contraction"}


@network
def tied_autoencoder():
    params = named(8, w=(6, 4), b=(4,))

    def predict(p, x):
        return jnp.tanh(x @ p["w"] + p["b"]) @ p["w"].T

    return predict, params, *draw(9, (5, 6)), {"['w']": "contraction"}


@network
def tied_embedding():
    params = named(10, table=(40, 20), w=(20, 20))

    def predict(p, tokens):
        return jnp.tanh(p["table"][tokens].sum(1) @ p["w"]) @ p["table"].T

    tokens = jnp.asarray(np.random.default_rng(11).integers(0, 40, (5, 3)))
    ways = {"['w']": "contraction", "['table']": "lookup+contraction"}
    return predict, params, tokens, ways


@network
def transformer():
    heads = (2, 4, 8)
    params = named(
        12, table=(7, 8), place=(3, 8), q=heads, k=heads, v=heads, o=heads, w1=(8, 16), b1=(16,),
        w2=(16, 8), b2=(8,), u=(8, 7),
    )  # fmt: skip

    def predict(p, tokens):
        x = p["table"][tokens] + p["place"]
        q, k, v = (jnp.einsum("btd,hkd->bthk", x, p[name]) for name in "qkv")
        scores = jnp.einsum("bthk,buhk->bhtu", q, k) / 2
        scores = jnp.where(np.tril(np.ones((3, 3), bool)), scores, -1e9)
        mixed = jnp.einsum("bhtu,buhk->bthk", jax.nn.softmax(scores), v)
        x = x + jnp.einsum("bthk,hkd->btd", mixed, p["o"])
        x = x + jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
        return (x @ p["u"])[:, -1]

    tokens = jnp.asarray(np.random.default_rng(13).integers(0, 7, (6, 3)))
    ways = {f"['{name}']": "contraction" for name in ("q", "k", "v", "o", "w1", "w2", "u")}
    ways |= {f"['{name}']": "addition" for name in ("place", "b1", "b2")}
    return predict, params, tokens, ways | {"['table']": "lookup"}


@network
def normalised_layers():
    params = named(14, w1=(6, 8), g=(8,), b=(8,), w2=(8, 3))

    def predict(p, x):
        return jax.nn.gelu(layer_norm(x @ p["w1"]) * p["g"] + p["b"]) @ p["w2"]

    return predict, params, *draw(15, (5, 6)), {"['w1']": "contraction", "['g']": "jacobian"}


@network
def unused_and_stopped_parameters():
    params = named(16, w=(6, 3), unused=(4,), stopped=(3,))
    params["index"] = jnp.arange(3)

    def predict(p, x):
        return x @ p["w"] + jax.lax.stop_gradient(p["stopped"]) + p["index"]

    ways = {"['w']": "contraction", "['unused']": "unused", "['stopped']": "unused"}
    return predict, params, *draw(17, (5, 6)), ways | {"['index']": "unused"}


@network
def embedding_bag_of_integers():
    params = named(18, table=(90, 4), w=(4, 2))

    def predict(p, tokens):
        return jnp.tanh(p["table"][tokens].mean(1)) @ p["w"]

    tokens = jnp.asarray(np.random.default_rng(19).integers(-2, 90, (6, 4)))
    return predict, params, tokens, {"['table']": "lookup", "['w']": "contraction"}


@network
def weights_per_head():
    params = named(20, w=(3, 4, 5), v=(3, 5, 2))

    def predict(p, x):
        heads = x.reshape(len(x), 3, 4)
        hidden = jnp.tanh(jnp.einsum("nhi,hio->nho", heads, p["w"]))
        return jnp.einsum("nho,hoc->nc", hidden, p["v"])

    return predict, params, *draw(21, (5, 12)), {"['w']": "contraction", "['v']": "contraction"}


@network
def weights_per_head_along_a_sequence():
    params = named(22, w=(2, 40, 5), b=(2, 1, 5), v=(5, 2))

    def predict(p, x):
        hidden = jnp.einsum("nthi,hio->nhto", x.reshape(len(x), 3, 2, 40), p["w"]) + p["b"]
        return jnp.tanh(hidden).mean((1, 2)) @ p["v"]

    return predict, params, *draw(23, (5, 240)), {"['w']": "contraction", "['b']": "addition"}


@network
def pooled_sequence():
    params = named(24, w=(30, 6), b=(6,), place=(2, 6), v=(6, 2))

    def predict(p, x):
        hidden = x.reshape(len(x), 2, 30) @ p["w"] + p["b"] + p["place"]
        return jnp.tanh(hidden).mean(1) @ p["v"]

    ways = {"['w']": "contraction", "['b']": "addition", "['place']": "addition"}
    return predict, params, *draw(25, (5, 60)), ways


@network
def convolution():
    params = named(26, kernel=(4, 2, 3, 3), b=(4,), v=(4, 3))

    def predict(p, x):
        images = x.reshape(len(x), 2, 6, 6)
        hidden = jax.lax.conv_general_dilated(images, p["kernel"], (1, 1), "SAME")
        return jax.nn.relu(hidden + p["b"][:, None, None]).mean((2, 3)) @ p["v"]

    return predict, params, *draw(27, (5, 72)), {"['kernel']": "jacobian", "['v']": "contraction"}


@network
def nested_calls():
    params = named(28, w1=(6, 8), w2=(8, 8), w3=(8, 2))

    @jax.checkpoint
    def block(w, x):
        return jax.jit(lambda x: jax.nn.silu(x @ w))(x)

    def predict(p, x):
        return block(p["w2"], jax.jit(block)(p["w1"], x)) @ p["w3"]

    return predict, params, *draw(29, (5, 6)), {f"['w{k}']": "contraction" for k in "123"}


@network
def linearized_network():
    params0, params = named(30, w=(6, 8), v=(8, 3)), named(31, w=(6, 8), v=(8, 3))

    def base(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    def predict(p, x):
        moved = jax.tree.map(jnp.subtract, p, params0)
        value, change = jax.jvp(lambda q: base(q, x), (params0,), (moved,))
        return value + change

    ways = {"['w']": "contraction", "['v']": "contraction"}
    return predict, params, *draw(32, (5, 6)), ways


@network
def centred_and_scaled():
    params0, params = named(33, w=(6, 8), v=(8, 3)), named(34, w=(6, 8), v=(8, 3))

    def base(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    def predict(p, x):
        return 0.5 * (base(p, x) - base(params0, x))

    ways = {"['w']": "contraction", "['v']": "contraction"}
    return predict, params, *draw(35, (5, 6)), ways


@network
def stacked_and_split_weights():
    params = named(36, layers=(2, 6, 6), wide=(6, 9), b=(2, 6))

    def predict(p, x):
        for k in range(2):
            x = jnp.tanh(x @ p["layers"][k] + p["b"][k])
        parts = jnp.split(p["wide"], 3, axis=1)
        return (x @ parts[0]) * jax.nn.sigmoid(x @ parts[1]) - x @ parts[2]

    ways = {"['layers']": "contraction", "['wide']": "contraction", "['b']": "addition"}
    return predict, params, *draw(37, (5, 6)), ways


@network
def reparametrised_weights():
    params = named(38, raw=(6, 4), left=(4, 2), right=(2, 5), log_gain=())

    def predict(p, x):
        hidden = jnp.tanh(x @ jax.nn.softplus(p["raw"]))
        return jnp.exp(p["log_gain"]) * (hidden @ (p["left"] @ p["right"]))

    ways = {"['raw']": "jacobian", "['left']": "contraction", "['log_gain']": "jacobian"}
    return predict, params, *draw(39, (5, 6)), ways


@network
def custom_gradient():
    params = named(40, w=(6, 8), v=(8, 3))

    @jax.custom_vjp
    def dense(w, x):
        return x @ w

    # A rule that is not the derivative: the kernel must follow the rule.
    dense.defvjp(lambda w, x: (x @ w, (w, x)), lambda r, g: (3.0 * r[1].T @ g, g @ r[0].T))

    def predict(p, x):
        return jnp.tanh(dense(p["w"], x)) @ p["v"]

    return predict, params, *draw(41, (5, 6)), {"['w']": "jacobian", "['v']": "contraction"}


@network
def recurrent_scan():
    params = named(42, w=(4, 4), u=(2, 4), v=(4, 2))

    def predict(p, x):
        def turn(state, item):
            return jnp.tanh(state @ p["w"] + item @ p["u"]), None

        items = x.reshape(len(x), 3, 2).swapaxes(0, 1)
        return jax.lax.scan(turn, jnp.zeros((len(x), 4)), items)[0] @ p["v"]

    return predict, params, *draw(43, (5, 6)), {"['w']": "jacobian", "['v']": "contraction"}


@network
def written_for_one_row():
    params = named(44, w=(8, 6), b=(8,), v=(3, 8), c=())

    def predict(p, x):
        one = lambda row: p["v"] @ jax.nn.relu(p["w"] @ row + p["b"]) + p["c"]  # noqa: E731
        return jax.vmap(one)(x)

    ways = {"['w']": "contraction", "['b']": "addition", "['v']": "contraction"}
    return predict, params, *draw(45, (5, 6)), ways


@network
def gated_by_data():
    params = named(46, w=(6, 4), b=(4,), v=(4, 2))

    def predict(p, x):
        return jnp.tanh(x[:, :1] * (x @ p["w"] + p["b"])) @ p["v"]

    return predict, params, *draw(47, (5, 6)), {"['w']": "contraction", "['b']": "addition"}


@network
def same_value_twice():
    params = named(48, w=(6, 4), b=(4,), v=(4, 2))

    def predict(p, x):
        z = x @ p["w"] + p["b"]
        return (jnp.tanh(z + z) + (p["b"] + p["b"])) @ p["v"] + 2 * z @ p["v"]

    return predict, params, *draw(49, (5, 6)), {"['w']": "contraction"}


@network
def parameters_as_output():
    params = named(50, constant=(3,), w=(6, 3))

    def predict(p, x):
        return jnp.concatenate([x @ p["w"], jnp.broadcast_to(p["constant"], (len(x), 3))], 1)

    return predict, params, *draw(51, (5, 6)), {"['constant']": "jacobian"}


@functools.cache
def by_jacobians(name):
    predict, params, x, _ = NETWORKS[name]()
    return kernel_by_jacobians(predict, params, x)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernel_is_the_contraction_of_jacobians(name):
    predict, params, x, _ = NETWORKS[name]()
    expected = by_jacobians(name)
    kernel = ntk(predict, params, x)
    has_outputs = predict(params, x).ndim == 2
    wanted = expected if has_outputs else expected[:, :, 0, 0]
    assert kernel.shape == wanted.shape
    np.testing.assert_allclose(kernel, wanted, rtol=RTOL, atol=RTOL * np.abs(wanted).max())


QUICK = [
    "transformer",
    "mlp_in_ntk_form",
    "weights_per_head_along_a_sequence",
    "tied_embedding",
    "wide_weights_shared_within_and_between_sums",
]


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS]
)
def test_traced_blocks_of_two_input_sets_are_the_contraction_of_jacobians(name):
    predict, params, x, _ = NETWORKS[name]()
    expected = np.einsum("ijaa->ij", by_jacobians(name)[:, 1:4])
    kernel = ntk(predict, params, x, x[1:4], trace_outputs=True, block_size=2)
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS]
)
@pytest.mark.parametrize("other", [None, pytest.param(slice(1, 4), marks=pytest.mark.slow)])
def test_one_output_at_a_time_is_the_contraction_of_jacobians(
    name, other, monkeypatch, compiles_anew
):
    # Every network counts as large.
    monkeypatch.setattr(_blocking, "_LARGE_PASS_BYTES", 0)
    monkeypatch.setattr(_blocking, "_pass_outputs", lambda *_: 1)
    blocks = []
    monkeypatch.setattr(
        _blocking,
        "sum_over_blocks",
        lambda *a: blocks.append(a[1].shape) or sum_over_blocks(*a),
    )
    predict, params, x, _ = NETWORKS[name]()
    expected = np.einsum("ijaa->ij", by_jacobians(name)[:, other or slice(None)])
    kernel = ntk(predict, params, x, None if other is None else x[other], trace_outputs=True)
    c = by_jacobians(name).shape[-1]
    assert blocks == ([(c, 1, c)] if c > 1 else [])
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_take_the_way_they_should(name):
    predict, params, x, ways = NETWORKS[name]()
    explanation = explain_ntk(predict, params, x)
    assert {key: explanation[key].kind for key in ways} == ways
