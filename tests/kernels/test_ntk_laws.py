"""Oracles: closed forms in NumPy and explicit Jacobians (oracles/jacobians.py); laws of kernels."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.jacobians import committee_kernel, kernel_by_jacobians, two_layer_kernel

from lazyrich.kernels import explain_ntk, linearize, ntk

# Rounding of float64 sums over a few thousand products of numbers of order one.
RTOL = 1e-11


def tokens_and_transformer(n_rows, n_positions=4, d_model=16, vocabulary=9):
    """A sequence model without a position that is dead, so that all of them count."""
    rng = np.random.default_rng(0)
    shapes = {"table": (vocabulary, d_model), "q": (2, 8, d_model), "k": (2, 8, d_model)}
    shapes |= {"v": (2, 8, d_model), "o": (2, 8, d_model), "u": (d_model, 5)}
    params = {k: jnp.asarray(rng.normal(size=s) / np.sqrt(s[-1])) for k, s in shapes.items()}

    def predict(p, tokens):
        x = p["table"][tokens]
        q, k, v = (jnp.einsum("btd,hkd->bthk", x, p[name]) for name in "qkv")
        mixing = jax.nn.softmax(jnp.einsum("bthk,buhk->bhtu", q, k))
        x = x + jnp.einsum("bhtu,buhk,hkd->btd", mixing, v, p["o"])
        return jnp.tanh(x).mean(1) @ p["u"]

    return predict, params, jnp.asarray(rng.integers(0, vocabulary, (n_rows, n_positions)))


@pytest.fixture(scope="module")
def seven():
    """A sequence model with seven rows, and its full kernel."""
    predict, params, x = tokens_and_transformer(7)
    return predict, params, x, kernel_by_jacobians(predict, params, x)


def trace(kernel):
    return np.einsum("ijaa->ij", kernel)


@pytest.mark.parametrize("dtype, rtol", [(jnp.float64, 1e-12), (jnp.float32, 1e-5)])
def test_the_committee_machine_has_its_closed_form(dtype, rtol):
    rng = np.random.default_rng(1)
    weights, x = rng.normal(size=(30, 12)), rng.normal(size=(20, 12)) / np.sqrt(12)
    alpha, epsilon = 3.0, 0.25

    def predict(w, x):
        fields = x @ w.T
        return alpha * (fields + epsilon / 2 * fields**2).mean(1)

    kernel = ntk(predict, jnp.asarray(weights, dtype), jnp.asarray(x, dtype))
    assert kernel.dtype == dtype
    expected = committee_kernel(weights, x, alpha=alpha, epsilon=epsilon)
    np.testing.assert_allclose(kernel, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_two_layers_by_hand():
    rng = np.random.default_rng(2)
    first, second, x = rng.normal(size=(7, 4)), rng.normal(size=(3, 7)), rng.normal(size=(6, 4))

    def predict(p, x):
        return jnp.tanh(x @ p[0].T) @ p[1].T

    kernel = ntk(predict, (jnp.asarray(first), jnp.asarray(second)), jnp.asarray(x))
    np.testing.assert_allclose(kernel, two_layer_kernel(first, second, x), rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize(
    "traced, block_size",
    [
        pytest.param(False, None, marks=pytest.mark.slow),
        (False, 3),
        (True, 1),
        pytest.param(True, 3, marks=pytest.mark.slow),
        (True, 100),
    ],
)
def test_blocks_of_any_size_give_the_same_symmetric_positive_kernel(seven, traced, block_size):
    predict, params, x, full = seven
    expected = trace(full) if traced else full
    kernel = np.asarray(ntk(predict, params, x, trace_outputs=traced, block_size=block_size))
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())
    matrix = kernel if traced else kernel.transpose(0, 2, 1, 3).reshape(35, 35)
    # Mirrored blocks are equal to the bit; within a block the products may round apart.
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-14 * np.abs(matrix).max())
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


@pytest.mark.parametrize("other", [None, slice(2, 5)])
def test_blocks_that_make_their_factors_again_are_right(seven, other, monkeypatch, compiles_anew):
    from lazyrich.kernels._ntk import _blocking as blocks
    from lazyrich.kernels._ntk import _entry as _ntk

    predict, params, x, full = seven
    x2 = None if other is None else x[other]
    expected = trace(full if other is None else full[:, other])
    monkeypatch.setattr(blocks, "_kept_bytes", lambda free: 3 * 2**15)
    monkeypatch.setattr(blocks, "_WORK_BYTES", 2**16)
    layouts = []
    inner = blocks.make_layout
    monkeypatch.setattr(
        _ntk, "make_layout", lambda *a, **k: layouts.append(inner(*a, **k)) or layouts[-1]
    )
    kernel = ntk(predict, params, x, x2, trace_outputs=True)
    assert not layouts[0].has_kept_factors
    assert 1 < layouts[0].block_size < 4
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


def test_factors_made_in_chunks_are_right(seven, monkeypatch, compiles_anew):
    from lazyrich.kernels._ntk import _blocking as blocks

    predict, params, x, expected = seven
    monkeypatch.setattr(blocks, "_WORK_BYTES", 2**17)
    kernel = ntk(predict, params, x)
    np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


def test_jit_vmap_and_gradient_go_through():
    rng = np.random.default_rng(6)
    params = {"w": jnp.asarray(rng.normal(size=(9, 6))), "v": jnp.asarray(rng.normal(size=(6, 2)))}
    params["table"] = jnp.asarray(rng.normal(size=(40, 9)))
    x = jnp.asarray(rng.integers(0, 40, (4, 2)))

    def predict(p, tokens):
        return jnp.tanh(p["table"][tokens] @ p["w"]).mean(1) @ p["v"]

    plain = ntk(predict, params, x)

    def total(p):
        return ntk(predict, p, x, block_size=3).sum()

    jitted = jax.jit(lambda p: ntk(predict, p, x))(params)
    np.testing.assert_allclose(jitted, plain, rtol=RTOL, atol=RTOL)
    pairs = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params)
    both = jax.jit(jax.vmap(lambda p: ntk(predict, p, x)))(pairs)
    halved = ntk(predict, jax.tree.map(lambda a: 0.5 * a, params), x)
    np.testing.assert_allclose(both[0], plain, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(both[1], halved, rtol=RTOL, atol=RTOL)

    def total_by_jacobians(p):
        # Σ over all entries of the kernel is the squared gradient of the summed output.
        gradient = jax.grad(lambda q: predict(q, x).sum())(p)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient))

    wanted, found = jax.grad(total_by_jacobians)(params), jax.jit(jax.grad(total))(params)
    for name in params:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, atol=1e-9)


def test_a_predictor_that_closes_over_a_traced_value():
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 3)))
    weights = jnp.ones((3, 2))

    def total(scale):
        return ntk(lambda w, x: scale * (x @ w), weights, x).sum()

    unit = total(1.0)
    np.testing.assert_allclose(jax.grad(total)(3.0), 6.0 * unit, rtol=1e-12)


def test_a_predictor_that_holds_arrays_is_compiled_with_them():
    rng = np.random.default_rng(4)
    params = {"w": jnp.asarray(rng.normal(size=(5, 6))), "v": jnp.asarray(rng.normal(size=(6, 2)))}
    x = jnp.asarray(rng.normal(size=(4, 5)))

    def predict(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    for factor in (1.0, 0.3):
        start = jax.tree.map(lambda a: factor * a, params)  # noqa: B023
        kernel = ntk(linearize(predict, start), params, x)
        expected = kernel_by_jacobians(predict, start, x)
        np.testing.assert_allclose(kernel, expected, rtol=RTOL, atol=RTOL)


LAYERS = st.sampled_from(
    ["dense", "transposed", "again", "bias", "sub", "gain", "relu", "tanh", "residual"]
) | st.sampled_from(["normalise", "scale", "heads", "sequence", "checkpoint"])
LAYERS |= st.sampled_from(["convolution", "grouped", "scan", "loop", "again, transposed"])
LAYERS |= st.sampled_from(["transform", "low rank", "normalised"])


def convolved(x, filters, groups=1):
    """Rows of 6 features as 3 places with 2 features each, and back."""
    numbers = ("NWC", "WIO", "NWC")
    options = {"dimension_numbers": numbers, "feature_group_count": groups}
    places = x.reshape(len(x), 3, 2)
    return jax.lax.conv_general_dilated(places, filters, (1,), "SAME", **options).reshape(
        len(x), -1
    )


def random_network(layers, seed):
    """A network of the named layers on 6 features, as (params, predict)."""
    rng = np.random.default_rng(seed)
    shapes = {"dense": (6, 6), "transposed": (6, 6), "residual": (6, 6), "sequence": (2, 2)}
    shapes |= {"bias": (6,), "gain": (6,), "heads": (3, 2, 2), "checkpoint": (6, 6), "sub": (6,)}
    shapes |= {"convolution": (2, 2, 2), "grouped": (3, 1, 4), "scan": (2, 6, 6), "loop": (6, 6)}
    shapes |= {"transform": (6, 6), "low rank": (6, 6), "normalised": (6, 6)}
    params = {
        str(k): jnp.asarray(rng.normal(size=shapes[name]) / np.sqrt(shapes[name][-1]))
        for k, name in enumerate(layers)
        if name in shapes
    }
    params["last"] = jnp.asarray(rng.normal(size=(6, 2)))
    first_dense = next((str(k) for k, name in enumerate(layers) if name == "dense"), None)

    def predict(p, x):
        for k, name in enumerate(layers):
            w = p.get(str(k))
            if name == "again" and first_dense is not None:
                x = x @ p[first_dense]
            if name == "again, transposed" and first_dense is not None:
                x = jnp.tanh(x @ p[first_dense].T)
            x = {
                "dense": lambda x, w: x @ w / 2,
                "transposed": lambda x, w: jnp.einsum("ni,oi->no", x, w),
                "again": lambda x, w: x,
                "again, transposed": lambda x, w: x,
                "bias": lambda x, w: x + w,
                "sub": lambda x, w: w - x,
                "gain": lambda x, w: x * w,
                "relu": lambda x, w: jax.nn.relu(x),
                "tanh": lambda x, w: jnp.tanh(x),
                "residual": lambda x, w: x + jax.nn.silu(x @ w),
                "normalise": lambda x, w: x / jnp.sqrt(1 + (x**2).mean(-1, keepdims=True)),
                "scale": lambda x, w: -x / 3,
                "heads": lambda x, w: jnp.einsum(
                    "nhi,hio->nho", x.reshape(-1, 3, 2), w
                ).reshape(-1, 6),
                "sequence": lambda x, w: jnp.tanh(x.reshape(-1, 3, 2) @ w).reshape(-1, 6),
                "checkpoint": lambda x, w: jax.checkpoint(lambda a: jnp.sin(a @ w))(x),
                "convolution": lambda x, w: x + jnp.sin(convolved(x, w)),
                "grouped": lambda x, w: convolved(x, w, 2)[:, 3:9],
                "scan": lambda x, w: jax.lax.scan(lambda h, v: (jnp.tanh(h @ v), h), x, w)[0],
                "loop": lambda x, w: jax.lax.fori_loop(0, 2, lambda _, h: jnp.sin(h @ w), x),
                "transform": lambda x, w: jnp.fft.fft(x @ w).real,
                "low rank": lambda x, w: x @ (w[:, :1] @ w[1:2] + jnp.eye(6)),
                "normalised": lambda x, w: x @ (w / jnp.sqrt((w**2).sum(0))),
            }[name](x, w)  # fmt: skip
        return x @ p["last"]

    return params, predict


@settings(max_examples=4, deadline=None, derandomize=True)
@given(layers=st.lists(LAYERS, min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_random_networks(layers, seed):
    check_random_network(layers, seed)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(layers=st.lists(LAYERS, min_size=1, max_size=8), seed=st.integers(0, 2**16))
def test_many_random_networks(layers, seed):
    check_random_network(layers, seed)


def check_random_network(layers, seed):
    params, predict = random_network(layers, seed)
    x = jnp.asarray(np.random.default_rng(seed + 1).normal(size=(3, 6)))
    expected = kernel_by_jacobians(predict, params, x)
    kernel = ntk(predict, params, x)
    np.testing.assert_allclose(kernel, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_dead_positions_and_equal_cotangents_are_seen():
    rng = np.random.default_rng(5)
    params = {"w": jnp.asarray(rng.normal(size=(40, 8))), "v": jnp.asarray(rng.normal(size=(8, 3)))}

    def predict(p, x):
        return (jax.nn.relu(x.reshape(len(x), 5, 40) @ p["w"]) @ p["v"])[:, 2]

    table = explain_ntk(predict, params, jnp.ones((1, 200)))
    assert table["['w']"].reason == "1 of 5 positions live"
    assert table["['v']"].reason == "1 of 5 positions live, cotangents equal for all rows"
    # (hh′) has 40 products, (gg′) has 8 for each of 3 × 3 pairs of outputs.
    assert table["['w']"].cost == 40 + 8 * 9
    assert table["['w']"].jacobian_cost == 320 * 9
    assert "['w']" in str(table)
    assert str(table).splitlines()[-2].startswith("full kernel of 3 outputs: ")


def test_costs_count_the_products_between_entries():
    # Two entries of 30 × 4 weights at values that stay apart: the costs of both by
    # themselves, and of their products with each other.
    w = jnp.ones((30, 30))
    once = explain_ntk(lambda w, x: jnp.tanh(x @ w).sum(1), w, jnp.ones((1, 30)))
    twice = explain_ntk(
        lambda w, x: (jnp.tanh(x @ w) * jnp.sin(2 * x @ w)).sum(1), w, jnp.ones((1, 30))
    )
    assert 4 * once["params"].cost <= twice["params"].cost <= 6 * once["params"].cost


SHARED = """
import jax, jax.numpy as jnp, numpy as np
from lazyrich.kernels import ntk
rng = np.random.default_rng(0)
w = jnp.asarray(rng.normal(size=(5, 6))); v = jnp.asarray(rng.normal(size=(6, 2)))
x = jnp.asarray(rng.normal(size=(12, 5))); x2 = jnp.asarray(rng.normal(size=(3, 5)))
f = lambda p, x: jnp.tanh(x @ p[0]) @ p[1]
assert len(jax.local_devices()) == 4
here = jax.device_put((w, v), jax.local_devices()[0])
for a, b in ((x, None), (x[:10], None), (x, x2), (x2, x)):
    for block_size in (None, 2):
        shared = ntk(f, (w, v), a, b, block_size=block_size)
        alone = ntk(f, here, a, b, block_size=block_size)
        assert len(alone.devices()) == 1
        assert len(a) < 4 or len(a) % 4 or len(shared.devices()) == 4, shared.devices()
        np.testing.assert_allclose(shared, alone, rtol=1e-5, atol=1e-5)
wanted = ntk(f, here, x, block_size=5)
for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(kind,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    with jax.set_mesh(mesh):
        for a in (x, np.asarray(x), jax.device_put(x, rows)):
            np.testing.assert_allclose(ntk(f, (w, v), a), wanted, rtol=1e-5, atol=1e-5)
            jitted = jax.jit(lambda a: ntk(f, (w, v), a))(a)
            np.testing.assert_allclose(jitted, wanted, rtol=1e-5, atol=1e-5)
mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
P = jax.sharding.PartitionSpec
inside = lambda a: ntk(f, (w, v), a)
try:
    jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=P("rows"), out_specs=P("rows")))(x)
except ValueError as error:
    assert "call it outside" in str(error) and "check_vma" not in str(error), error
else:
    raise AssertionError("not refused")
print("equal")
"""


@pytest.mark.slow
def test_rows_are_shared_among_devices():
    flags = "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


MEMORY = """
import pathlib, resource, jax, jax.numpy as jnp
from lazyrich.kernels import ntk
sizes = (784, 200, 200, 10)
keys = jax.random.split(jax.random.key(0), 4)
pairs = zip(keys, sizes[:-1], sizes[1:])
params = [(jax.random.normal(k, (a, b)), jnp.zeros(b)) for k, a, b in pairs]
def predict(params, x):
    for k, (w, b) in enumerate(params):
        x = x @ w / w.shape[0] ** 0.5 + b
        x = jax.nn.relu(x) if k < 2 else x
    return x
x = jax.random.normal(keys[3], (2000, 784))
jax.block_until_ready(ntk(predict, params, x, trace_outputs=True))
# The peak of resource usage would count the process that started this one.
status = pathlib.Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_two_thousand_rows_stay_under_two_gigabytes():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 < int(done.stdout) < 2 * 2**30
