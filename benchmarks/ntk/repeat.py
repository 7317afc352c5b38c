"""What a repeated call costs, in milliseconds: equality of the kernels first, then time.

    python benchmarks/ntk/repeat.py [--case NAME ...] [--against SRC] [--seconds S]

At each call the predictor is traced again, because it may have changed; the kernel itself is
the caller's own compiled kernel of the same network. Tracing a predictor that is a ``jax.jit``
costs next to nothing, for JAX keeps the traces of such a function. All sides take turns, so
that other work on the machine slows them alike.
"""

import argparse
import importlib
import inspect
import json
import sys
import time
from pathlib import Path

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


def earlier_version(source):
    """The ``ntk`` of another checkout's ``src``, beside the present one in this process."""

    def of_package():
        return [name for name in sys.modules if name.split(".")[0] == "lazyrich"]

    present = {name: sys.modules.pop(name) for name in of_package()}
    sys.path.insert(0, str(source))
    try:
        function = importlib.import_module("lazyrich.kernels").ntk
        if not Path(inspect.getfile(function)).is_relative_to(Path(source).resolve()):
            raise SystemExit(f"{source} holds no lazyrich.")
    finally:
        sys.path.remove(str(source))
        for name in of_package():
            del sys.modules[name]
        sys.modules.update(present)
    return function


def medians(calls, seconds, least=7, most=200):
    """Median times in milliseconds of calls that take turns."""
    times = [[] for _ in calls]
    begin = time.perf_counter()
    while len(times[0]) < least or (time.perf_counter() - begin < seconds and len(times[0]) < most):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call())
            own.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(own)) for own in times]


def measure(name, earlier, seconds):
    """One case: equality first, then the sides in turn."""
    predict, inputs = CASES[name]
    params, x = jax.device_put(inputs())
    inner = jax.jit(predict)
    by_caller = jax.jit(lambda params, x: ntk(predict, params, x, trace_outputs=True))
    sides = {
        "compiled by the caller": lambda: by_caller(params, x),
        "repeated": lambda: ntk(predict, params, x, trace_outputs=True),
        "repeated, jitted predictor": lambda: ntk(inner, params, x, trace_outputs=True),
        "new function each time": lambda: ntk(
            lambda params, x: predict(params, x), params, x, trace_outputs=True
        ),
        "one trace": lambda: jax.make_jaxpr(lambda params, x: predict(params, x))(params, x),
    }
    if earlier is not None:
        sides["earlier version"] = lambda: earlier(predict, params, x, trace_outputs=True)
    kernels = [call() for side, call in sides.items() if side != "one trace"]
    wanted = np.asarray(kernels[0])
    for kernel in kernels:
        np.testing.assert_allclose(kernel, wanted, atol=TOLERANCE * np.abs(wanted).max())
    return dict(zip(sides, medians([*sides.values()], seconds), strict=True))


def main():
    """Print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--against", type=Path, help="src of a checkout of another version")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each case")
    given = parser.parse_args()
    earlier = earlier_version(given.against) if given.against else None
    for name in given.case:
        found = measure(name, earlier, given.seconds)
        print(name, json.dumps({side: round(ms, 2) for side, ms in found.items()}), flush=True)


if __name__ == "__main__":
    main()
