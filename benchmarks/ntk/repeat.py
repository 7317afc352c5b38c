"""What a repeated call costs: equality with the kernel compiled by the caller first, then time.

``repeat.py [CASE ...]``. At each call the predictor is traced again; the clock shows what this
takes beside the kernel itself, which is the caller's own compiled kernel of the same network.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from cases import committee, committee_inputs, mlp, mlp_inputs

from lazyrich.kernels import ntk

TOLERANCE = 1e-4


def transformer(params, x):
    """Twelve layers of attention and MLP with normalisation; traced in full, narrow in width."""
    x = params["embed"][x] + params["place"]
    for p in params["layers"]:
        h = normalised(x, p["gain1"])
        q, k, v = (jnp.einsum("btd,hkd->bthk", h, p[name]) for name in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bthk,buhk->bhtu", q, k) / np.sqrt(k.shape[-1]))
        x = x + jnp.einsum("bhtu,buhk,hkd->btd", weights, v, p["o"])
        x = x + jax.nn.gelu(normalised(x, p["gain2"]) @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    return (normalised(x, params["gain"]) @ params["out"])[:, -1]


def normalised(x, gain):
    """Layer normalisation without a shift."""
    x = x - x.mean(-1, keepdims=True)
    return gain * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def transformer_inputs(n_rows=16, n_layers=12, d=16, heads=2, vocabulary=11, n_positions=8):
    """Parameters and tokens."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    def layer():
        shapes = dict.fromkeys("qkvo", (heads, d // heads, d)) | {
            "w1": (d, 2 * d),
            "w2": (2 * d, d),
        }
        p = {name: normal(*shape) for name, shape in shapes.items()}
        return p | {"b1": normal(2 * d), "b2": normal(d), "gain1": normal(d), "gain2": normal(d)}

    params = {"embed": normal(vocabulary, d), "place": normal(n_positions, d), "gain": normal(d)}
    params |= {"layers": [layer() for _ in range(n_layers)], "out": normal(d, vocabulary)}
    return params, rng.integers(0, vocabulary, (n_rows, n_positions)).astype(np.int32)


def resnet(params, x):
    """Four residual blocks of two convolutions each."""
    x = convolved(x, params["first"])
    for first, second in params["blocks"]:
        x = x + convolved(jax.nn.relu(convolved(jax.nn.relu(x), first)), second)
    return jax.nn.relu(x).mean((1, 2)) @ params["out"]


def convolved(x, kernel):
    """A convolution that keeps the size of the image."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def resnet_inputs(n_rows=8, side=8, width=4):
    """Parameters and images."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)

    params = {"first": normal(3, 3, 3, width), "out": normal(width, 5)}
    params["blocks"] = [[normal(3, 3, width, width) for _ in range(2)] for _ in range(4)]
    return params, normal(n_rows, side, side, 3)


CASES = {
    "committee": (committee, committee_inputs),
    "mlp": (mlp, mlp_inputs),
    "transformer, 12 layers": (transformer, transformer_inputs),
    "resnet": (resnet, resnet_inputs),
}


def seconds_of(call, limit=4.0):
    """The median of repeated calls."""
    times = []
    while len(times) < 5 or (sum(times) < limit and len(times) < 100):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure(name):
    """One case: first, repeated and new functions, beside the caller's own compilation."""
    predict, inputs = CASES[name]
    params, x = jax.device_put(inputs())
    compiled = jax.jit(lambda params, x: ntk(predict, params, x, trace_outputs=True))
    start = time.perf_counter()
    kernel = ntk(predict, params, x, trace_outputs=True)
    first = time.perf_counter() - start
    wanted = np.asarray(compiled(params, x))
    np.testing.assert_allclose(kernel, wanted, atol=TOLERANCE * np.abs(wanted).max())

    def with_new_function():
        return ntk(lambda params, x: predict(params, x), params, x, trace_outputs=True)

    return {
        "case": name,
        "first_call_seconds": first,
        "compiled_by_caller_ms": 1e3 * seconds_of(lambda: compiled(params, x)),
        "repeated_ms": 1e3 * seconds_of(lambda: ntk(predict, params, x, trace_outputs=True)),
        "new_function_each_time_ms": 1e3 * seconds_of(with_new_function),
    }


def main():
    """Print one line of JSON a case."""
    for name in sys.argv[1:] or CASES:
        print(json.dumps(measure(name)), flush=True)


if __name__ == "__main__":
    main()
