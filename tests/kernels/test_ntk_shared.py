"""Oracle: explicit Jacobians contracted in NumPy float64 (oracles/jacobians.py).

Parameters that enter a network several times: at several places, as parts that overlap,
transposed, in sums with themselves, in loops. Costs are compared with the same network
where the parameter enters once.
"""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.jacobians import kernel_by_jacobians

from lazyrich.kernels import explain_ntk, ntk

# Rounding of float64 sums over a few thousand products of numbers of order one.
RTOL = 1e-11
tanh = jnp.tanh


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[-1]))


def check(predict, params, x, *, traced=False):
    expected = kernel_by_jacobians(predict, params, x, traced=traced)
    assert np.abs(expected).max() > 0
    kernel = ntk(predict, params, x, trace_outputs=traced)
    atol = RTOL * np.abs(expected).max()
    np.testing.assert_allclose(kernel.reshape(expected.shape), expected, rtol=RTOL, atol=atol)


def in_both_forms(names, quick):
    """Full kernels of all, traced ones of some; the others' when there is time."""
    slow = [pytest.param(n, True, marks=pytest.mark.slow) for n in names if n not in quick]
    return [*((n, False) for n in names), *((n, True) for n in sorted(quick)), *slow]


# Each takes p = {w: (40, 40), v: (40, 3), b: (40,), q: (3, 40)} and x of (n, 40).
DENSE = {
    "siamese": lambda p, x: tanh(x @ p["w"] + p["b"]) @ p["v"]
    - tanh(jnp.sin(x) @ p["w"] + p["b"]) @ p["v"],
    "antisymmetric": lambda p, x: tanh(x @ (p["w"] - p["w"].T)) @ p["v"],
    "symmetric": lambda p, x: tanh(x @ (p["w"] + p["w"].T) / 2) @ p["v"],
    "turned three times": lambda p, x: tanh(tanh(x @ p["w"]) @ p["w"].T) @ p["w"] @ p["v"],
    "doubled": lambda p, x: tanh(x @ (p["w"] + p["w"])) @ (p["v"] - 3 * p["v"]),
    "in one sum": lambda p, x: tanh(x @ p["w"] - jnp.sin(x) @ p["w"] + 2 * x) @ p["v"],
    "in one sum, turned": lambda p, x: tanh(x @ p["w"] - jnp.sin(x) @ p["w"].T) @ p["v"],
    "overlapping rows": lambda p, x: (tanh(x[:, :30] @ p["w"][:30]) + x[:, :30] @ p["w"][10:])
    @ p["v"],
    "overlapping columns": lambda p, x: jnp.sin(tanh(x @ p["w"][:, 5:35]) + x @ p["w"][:, :30])
    @ p["v"][:30],
    "overlapping blocks": lambda p, x: jnp.sin(
        tanh(x[:, 4:34] @ p["w"][4:34, :25]) + tanh(x[:, :30] @ p["w"][10:, 15:])
    ) @ p["v"][:25],
    "blocks, turned": lambda p, x: jnp.sin(
        tanh(x[:, :30] @ p["w"][10:, 5:30]) + tanh(x[:, :30] @ p["w"][:25, 8:38].T)
    ) @ p["v"][:25],
    "every second": lambda p, x: tanh(x @ p["w"])[:, ::2] @ p["w"][::2, ::-1] @ p["v"],
    "parts that are apart": lambda p, x: tanh(x @ p["w"][:, :20]) @ p["v"][:20]
    + jnp.sin(x @ p["w"][:, 20:]) @ p["v"][20:],
    "one row": lambda p, x: tanh(x @ p["w"]) @ p["v"] * (x @ p["w"][0])[:, None],
    "one column": lambda p, x: tanh(x @ p["w"]) @ p["v"] * (x @ p["w"][:, 3])[:, None],
    "low rank": lambda p, x: tanh(x @ (p["w"] + p["v"] @ p["q"])) @ p["v"],
    "sequence and vector": lambda p, x: tanh(
        (x[:, None] * jnp.arange(1, 4)[:, None]) @ p["w"] + (x @ p["w"])[:, None]
    ).sum(1) @ p["v"],
    "recurrent": lambda p, x: jax.lax.fori_loop(
        0, 3, lambda _, h: tanh(h @ p["w"] + p["b"]), x
    ) @ p["v"],
    "bias twice": lambda p, x: (tanh(x @ p["w"] + p["b"] + p["b"]) - p["b"]) @ p["v"],
    "bias at some places": lambda p, x: tanh(tanh(x @ p["w"] + p["b"]) @ p["w"]) @ p["v"],
    "bias, subtracted": lambda p, x: tanh(tanh(x @ p["w"] + p["b"]) @ p["w"] - p["b"]) @ p["v"],
    "scaled by data": lambda p, x: tanh(
        x[:, :1] * (x @ p["w"] + p["b"]) - (jnp.sin(x) @ p["w"]) / (2 + x[:, 1:2])
    ) @ p["v"],
    "with its own average": lambda p, x: tanh(x @ p["w"] - x @ p["w"].mean(1, keepdims=True))
    @ p["v"],
    "times itself": lambda p, x: tanh(x @ (p["w"].T @ p["w"])) @ p["v"],
}  # fmt: skip


def dense_params(size=40):
    shapes = {"w": (size, size), "v": (size, 3), "b": (size,), "q": (3, size)}
    return {name: draw(k, *shape) for k, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize(
    "name, traced", in_both_forms(DENSE, {"siamese", "overlapping blocks", "blocks, turned"})
)
def test_weights_that_enter_several_times(name, traced):
    check(DENSE[name], dense_params(), draw(9, 3, 40), traced=traced)


@pytest.mark.parametrize("name", [n for n in DENSE if n not in {
    "with its own average", "times itself", "every second",
}])  # fmt: skip
def test_they_stay_structured(name):
    ways = explain_ntk(DENSE[name], dense_params(), jnp.ones((1, 40)))
    assert ways["['w']"].kind == "contraction"


# Each takes p = {e: (30, 12), place: (3, 12), w: (12, 12)} and tokens (n, 3).
TABLES = {
    "tied": lambda p, t: tanh(p["e"][t].sum(1) @ p["w"]) @ p["e"].T,
    "three logits": lambda p, t: tanh(p["e"][t].sum(1) @ p["w"]) @ p["e"].T[:, :3],
    "logits of some": lambda p, t: tanh(p["e"][t].sum(1) @ p["w"]) @ p["e"][20:28].T,
    "two lookups": lambda p, t: tanh(p["e"][t[:, 0]] * p["e"][t[:, 1]]) @ p["w"],
    "a sum of lookups": lambda p, t: tanh(p["e"][t[:, 0]] - 2 * p["e"][t[:, 1]]) @ p["w"],
    "lookup and one-hot": lambda p, t: tanh(p["e"][t[:, 0]] + 1)
    * (jax.nn.one_hot(t[:, 1], 30) @ p["e"]),
    "lookup of a part": lambda p, t: tanh(p["e"][t[:, 0]]) * p["e"][:20][t[:, 1] % 20],
    "places twice": lambda p, t: tanh(
        (p["e"][t] + p["place"]) @ p["w"] + jnp.sin(p["e"][t]) @ p["w"] + 2 * p["place"]
    ).sum(1),
    "scaled tied": lambda p, t: -(tanh(-p["e"][t].sum(1) * 3 @ p["w"]) @ p["e"].T / 7),
    "all uses": lambda p, t: tanh(
        p["e"][t[:, 0]] - p["e"][t[:, 1]] + jax.nn.one_hot(t[:, 2], 30) @ p["e"]
    ) @ p["e"][3:9].T,
}  # fmt: skip


@pytest.mark.parametrize("name, traced", in_both_forms(TABLES, {"tied", "all uses"}))
def test_tables_that_are_used_several_times(name, traced):
    params = {"e": draw(0, 30, 12), "place": draw(1, 3, 12), "w": draw(2, 12, 12)}
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, 30, (4, 3)))
    check(TABLES[name], params, tokens, traced=traced)


def test_heads_that_are_shared():
    params = {"w": draw(0, 3, 12, 10), "v": draw(1, 3, 10, 2), "b": draw(2, 3, 10)}

    def predict(p, x):
        heads = x.reshape(len(x), 3, 12)
        branch = lambda h: tanh(jnp.einsum("nhi,hio->nho", h, p["w"]) + p["b"])  # noqa: E731
        return jnp.einsum("nho,hoc->nc", branch(heads) - branch(jnp.cos(heads)), p["v"])

    check(predict, params, draw(3, 3, 36))


def test_two_sets_of_inputs_and_blocks():
    predict, params, x = DENSE["blocks, turned"], dense_params(), draw(9, 4, 40)
    expected = kernel_by_jacobians(predict, params, x, x[1:])
    kernel = ntk(predict, params, x, x[1:], block_size=2)
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


# --- costs -------------------------------------------------------------------------------


def cost(predict, params, x, **options):
    return sum(way.cost for way in explain_ntk(predict, params, x, **options).ways)


def test_a_weight_that_is_used_k_times_costs_about_k_squared():
    w, x = draw(0, 200, 200), jnp.ones((1, 200))

    def network(k):
        def predict(w, x):
            for _ in range(k):
                x = tanh(x @ w)
            return x[:, :5]

        return predict

    once = cost(network(1), w, x)
    for k in (2, 4, 8):
        assert cost(network(k), w, x) <= 1.5 * k**2 * once


def test_costs_near_those_of_one_use():
    params, x = dense_params(300), jnp.ones((1, 300))
    once = cost(lambda p, x: tanh(x @ p["w"]) @ p["v"], params, x)
    assert cost(DENSE["antisymmetric"], params, x) <= 8 * once
    assert cost(DENSE["siamese"], params, x) <= 5 * once
    table = {"e": draw(0, 500, 64), "w": draw(1, 64, 64), "u": draw(2, 64, 3)}
    tokens = jnp.zeros((1, 3), int)
    apart = lambda p, t: tanh(p["e"][t].sum(1) @ p["w"]) @ p["u"]  # noqa: E731
    assert cost(TABLES["three logits"], table, tokens) <= 2 * cost(apart, table, tokens)


def test_layers_of_one_array_cost_no_more_than_its_jacobian():
    def predict(p, x):
        h = x.reshape(len(x), 8, 6)
        for k in range(3):
            h = h + tanh(h.mean(1, keepdims=True) @ p["u"]) + tanh(h @ p["w"][k])
        return h[:, -1] @ p["v"]

    params = {"w": draw(0, 3, 6, 6), "u": draw(1, 6, 6), "v": draw(2, 6, 3)}
    way = explain_ntk(predict, params, jnp.ones((1, 48)), trace_outputs=True)["['w']"]
    # Two layers act on eight positions and form Jacobians; the last acts on one alone.
    assert way.reason.endswith("2 uses as Jacobians")
    assert way.cost == 2 * 3 * 36 + 6 + 3 * 6
    assert way.jacobian_cost == 3 * 3 * 36


def test_a_layer_on_every_pixel_is_planned_without_an_array_of_pairs_of_pixels():
    params = {"w": jnp.ones((3, 8)), "b": jnp.ones(8), "v": jnp.ones((8, 2))}

    def predict(p, x):
        return tanh(x.reshape(len(x), -1, 3) @ p["w"] + p["b"]).mean(1) @ p["v"]

    tracemalloc.start()
    ways = explain_ntk(predict, params, jnp.ones((1, 3 * 128**2)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 128⁴ pairs would take 268 MB as bytes; what is needed is about 16 bytes a pixel.
    assert peak < 20e6
    assert ways["['b']"].kind == "jacobian"


# --- random networks ---------------------------------------------------------------------

USES = {
    "dense": lambda x, w, b: tanh(x @ w + b),
    "turned": lambda x, w, b: tanh(x @ w.T),
    "difference": lambda x, w, b: x @ (w - w.T) / 2,
    "residual": lambda x, w, b: x + tanh(x @ w) @ w,
    "twice": lambda x, w, b: x @ w + tanh(x @ w) - b,
    "top": lambda x, w, b: jnp.concatenate([x[:, :4] @ w[:4, :3], tanh(x @ w[:, 3:])], 1),
    "rows": lambda x, w, b: x + w[(3 * jnp.abs(x[:, 0])).astype(int) % 6],
    "sequence": lambda x, w, b: tanh(x.reshape(-1, 3, 2) @ w[:2, :2] + b[:2]).reshape(-1, 6),
    "loop": lambda x, w, b: jax.lax.fori_loop(0, 2, lambda k, x: tanh(x @ w + b[k]), x),
    "gain": lambda x, w, b: x * b,
}


def check_random_network(uses, seed, *, traced):
    params = {k: draw(seed + k, 6, 6) for k in range(2)} | {k: draw(seed + k, 6) for k in (2, 3)}

    def predict(p, x):
        for name, which in uses:
            x = USES[name](x, p[which], p[2 + which])
        return x[:, :2]

    check(predict, params, draw(seed + 9, 3, 6), traced=traced)


USE = st.tuples(st.sampled_from(sorted(USES)), st.integers(0, 1))


@settings(max_examples=2, deadline=None, derandomize=True)
@given(uses=st.lists(USE, min_size=2, max_size=3), seed=st.integers(0, 2**16))
def test_random_networks_of_shared_weights(uses, seed):
    check_random_network(uses, seed, traced=False)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(uses=st.lists(USE, min_size=1, max_size=5), seed=st.integers(0, 2**16), traced=st.booleans())
def test_many_random_networks_of_shared_weights(uses, seed, traced):
    check_random_network(uses, seed, traced=traced)
