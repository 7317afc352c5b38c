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
