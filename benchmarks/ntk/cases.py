"""The networks and inputs that every side of the benchmark runs.

Written against ``jax.numpy`` alone, so that old JAX versions (neural-tangents' side
environment) run the very same functions.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


def committee(weights, x):
    """Committee machine f = (α/N) Σ φ(w_i·x), φ(h) = h + (ε/2)h², with α = 1, ε = 0.02."""
    fields = x @ weights.T
    return (fields + 0.01 * fields**2).mean(1, keepdims=True)


def mlp(params, x):
    """ReLU network in 1/√fan-in form."""
    for k, (weights, bias) in enumerate(params):
        x = x @ weights / np.sqrt(weights.shape[0]) + bias
        x = jax.nn.relu(x) if k < len(params) - 1 else x
    return x


def transformer(params, tokens):
    """One layer without normalisation, logits at the last position."""
    x = params["embed"][tokens] + params["position"]
    query, key, value = (
        jnp.einsum("btd,hkd->bthk", x, params[name]) for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bthk,buhk->bhtu", query, key) / np.sqrt(key.shape[-1])
    causal = np.tril(np.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e10), -1)
    mixed = jnp.einsum("bhtu,buhk->bthk", weights, value)
    x = x + jnp.einsum("bthk,hkd->btd", mixed, params["output"])
    hidden = jax.nn.relu(x @ params["mlp_in"] + params["mlp_in_bias"])
    x = x + hidden @ params["mlp_out"] + params["mlp_out_bias"]
    return (x @ params["unembed"])[:, -1]


def committee_inputs(n_rows=550, width=500, dim=100):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, dim)) / np.sqrt(dim)
    return _single(rng.normal(size=(width, dim))), _single(x)


def mlp_inputs(n_rows=200, sizes=(784, 200, 200, 10)):
    rng = np.random.default_rng(1)
    params = [
        (rng.normal(size=(a, b)), 0.1 * rng.normal(size=b)) for a, b in itertools.pairwise(sizes)
    ]
    return _single(params), _single(rng.normal(size=(n_rows, sizes[0])))


def transformer_inputs(n_rows=64, vocabulary=113, d_model=128, n_heads=4, d_mlp=512):
    rng = np.random.default_rng(2)
    d_head = d_model // n_heads

    def normal(*shape, fan_in):
        return rng.normal(size=shape) / np.sqrt(fan_in)

    heads = (n_heads, d_head)
    params = {
        "embed": normal(vocabulary, d_model, fan_in=d_model),
        "position": normal(3, d_model, fan_in=d_model),
        "query": normal(*heads, d_model, fan_in=d_model),
        "key": normal(*heads, d_model, fan_in=d_model),
        "value": normal(*heads, d_model, fan_in=d_model),
        "output": normal(*heads, d_model, fan_in=d_model),
        "mlp_in": normal(d_model, d_mlp, fan_in=d_model),
        "mlp_in_bias": normal(d_mlp, fan_in=d_model),
        "mlp_out": normal(d_mlp, d_model, fan_in=d_mlp),
        "mlp_out_bias": normal(d_model, fan_in=d_mlp),
        "unembed": normal(d_model, vocabulary, fan_in=d_model),
    }
    pairs = rng.integers(0, vocabulary - 1, size=(n_rows, 2))
    tokens = np.concatenate([pairs, np.full((n_rows, 1), vocabulary - 1)], 1)
    return _single(params), tokens.astype(np.int32)


def _single(tree):
    return jax.tree_util.tree_map(lambda a: np.asarray(a, np.float32), tree)


CASES = {
    "committee": (committee, committee_inputs, False),
    "mlp_full": (mlp, mlp_inputs, False),
    "mlp_traced": (mlp, mlp_inputs, True),
    "transformer": (transformer, transformer_inputs, False),
}


# --- one network against another -----------------------------------------------------------
# How the kernel's time grows when parameters enter more than once or in another notation.


def quadratic_once(w, x):
    """The paper's activation with the product written once."""
    fields = x @ w
    return (fields + 0.01 * fields**2).mean(1)


def quadratic_twice(w, x):
    return ((x @ w) + 0.01 * (x @ w) ** 2).mean(1)


def quadratic_rows(w, x):
    rows = jax.vmap(lambda row: row @ w)
    return (rows(x) + 0.01 * rows(x) ** 2).mean(1)


def silu_once(w, x):
    return jax.nn.silu(x @ w).mean(1)


def silu_twice(w, x):
    return ((x @ w) * jax.nn.sigmoid(x @ w)).mean(1)


def tied(times):
    """One matrix used as every layer."""

    def predict(params, x):
        for _ in range(times):
            x = jnp.tanh(x @ params["w"])
        return x @ params["v"]

    return predict


def antisymmetric(params, x):
    return jnp.tanh(x @ (params["w"] - params["w"].T)) @ params["v"]


def branch(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def siamese(params, x):
    return jnp.tanh(branch(params, x) - branch(params, jnp.sin(x)))


def logits_apart(params, tokens):
    hidden = jnp.tanh(params["table"][tokens].sum(1) @ params["w"])
    return hidden @ params["out"]


def logits_tied(params, tokens):
    hidden = jnp.tanh(params["table"][tokens].sum(1) @ params["w"])
    return hidden @ params["table"].T[:, :3]


def layers_scanned(params, x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, params["layers"])[0] @ params["v"]


def layers_written_out(params, x):
    for k in range(params["layers"].shape[0]):
        x = jnp.tanh(x @ params["layers"][k])
    return x @ params["v"]


def convolve(x, filters, stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, filters, (stride, stride), "SAME", dimension_numbers=numbers
    )


def resnet(params, x):
    """Widths 16, 32, 64, two convolutions in each block, without normalisation."""
    x = jax.nn.relu(convolve(x, params["stem"]))
    for k, stride in enumerate((1, 2, 2)):
        block = params["blocks"][k]
        inner = jax.nn.relu(convolve(x, block["first"], stride) + block["bias"])
        x = jax.nn.relu(convolve(x, block["skip"], stride) + convolve(inner, block["second"]))
    return x.mean((1, 2)) @ params["out"]


def quadratic_inputs(n_rows=500, width=500, dim=100):
    rng = np.random.default_rng(3)
    return _single(rng.normal(size=(dim, width))), _single(rng.normal(size=(n_rows, dim)) / 10)


def square_inputs(n_rows=500, size=200, n_outputs=10, n_layers=6):
    rng = np.random.default_rng(4)
    params = {"w": (size, size), "v": (size, n_outputs), "layers": (n_layers, size, size)}
    params = {name: rng.normal(size=s) / np.sqrt(size) for name, s in params.items()}
    return _single(params), _single(rng.normal(size=(n_rows, size)))


def table_inputs(n_rows=200, n_words=2000, d_model=64):
    rng = np.random.default_rng(5)
    params = {"table": (n_words, d_model), "w": (d_model, d_model), "out": (d_model, 3)}
    params = {name: rng.normal(size=s) / 8 for name, s in params.items()}
    return _single(params), rng.integers(0, n_words, (n_rows, 3)).astype(np.int32)


def resnet_inputs(n_rows=32, size=32, widths=(16, 32, 64)):
    rng = np.random.default_rng(6)

    def filters(k, n_in, n_out):
        return rng.normal(size=(k, k, n_in, n_out)) * np.sqrt(2 / (k * k * n_in))

    blocks, n_in = [], widths[0]
    for n_out in widths:
        block = {"first": filters(3, n_in, n_out), "second": filters(3, n_out, n_out)}
        blocks.append(block | {"skip": filters(1, n_in, n_out), "bias": np.zeros(n_out)})
        n_in = n_out
    params = {"stem": filters(3, 3, widths[0]), "blocks": blocks}
    params["out"] = rng.normal(size=(n_in, 10)) / np.sqrt(n_in)
    return _single(params), _single(rng.normal(size=(n_rows, size, size, 3)))


# name: (baseline, network, inputs, traced, the most the ratio of times may be); without a
# baseline the kernel by plain Jacobians of the same network is the baseline.
RATIOS = {
    "quadratic_twice": (quadratic_once, quadratic_twice, quadratic_inputs, False, 1.3),
    "quadratic_rows": (quadratic_once, quadratic_rows, quadratic_inputs, False, 1.3),
    "silu_twice": (silu_once, silu_twice, quadratic_inputs, False, 1.3),
    "tied_2": (tied(1), tied(2), square_inputs, True, 6),
    "tied_4": (tied(1), tied(4), square_inputs, True, 24),
    "tied_8": (tied(1), tied(8), square_inputs, True, 96),
    "antisymmetric": (branch, antisymmetric, square_inputs, True, 8),
    "siamese": (branch, siamese, square_inputs, False, 4),
    "logits_tied": (logits_apart, logits_tied, table_inputs, False, 2),
    "layers_scanned": (layers_written_out, layers_scanned, square_inputs, True, 1.3),
    "resnet": (None, resnet, resnet_inputs, True, 1),
}
