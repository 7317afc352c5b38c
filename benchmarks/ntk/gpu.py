"""Tangent kernels on a GPU: float32 accuracy first, then absolute times beside plain Jacobians.

    python benchmarks/ntk/gpu.py [--case NAME ...] [--out FILE]

Each float32 kernel, computed as a caller who
sets no precision does, is held against float64 Jacobians on a few rows: products that a GPU
rounds to TF32 would be off by 1e-3. Jacobians get products of float32 as well. Both sides
take turns.
"""

import argparse
import json
import time
from pathlib import Path

import cases
import jax
import jax.numpy as jnp
import large
import networks
import numpy as np
from ratios import plain, structured

from lazyrich.kernels import explain_ntk, ntk

# Float32 sums in another order, over the largest entry; TF32 has ten bits, 1e-3.
TOLERANCE = 3e-5
N_FEW, SECONDS, N_CALLS = 4, 1.0, 50
ZOO = ("lenet_64", "resnet", "resnet_batch_normalised")
ZOO += ("decoder_written_out", "decoder_scanned", "decoder_rematerialised", "vision_transformer")
CASES = (*cases.CASES, *ZOO)
LARGE = ("resnet18", "gpt2_two_layers", "million_convolutional")


def of_case(name, dtype):
    """Predictor, whether traced, parameters and rows."""
    if name in networks.SIZES:
        predict, *_, traced, _ = networks.SIZES[name]
        return predict, traced, *networks.inputs(name, dtype)
    predict, make, traced = cases.CASES[name]
    given = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype if leaf.dtype.kind == "f" else None), make()
    )
    return predict, traced, *given


def accuracy(name):
    """The largest error over the largest entry, against float64 Jacobians on a few rows."""
    predict, traced, params, x = of_case(name, jnp.float32)
    found = np.asarray(structured(predict, traced)(params, x[:N_FEW]), float)
    with jax.enable_x64(True):
        doubled = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), float), params)
        few = np.asarray(x[:N_FEW])
        few = jnp.asarray(few, float) if few.dtype.kind == "f" else jnp.asarray(few)
        wanted = np.asarray(plain(predict, traced)(doubled, few))
    error = float(np.abs(found.reshape(wanted.shape) - wanted).max() / np.abs(wanted).max())
    if not error < TOLERANCE:
        raise SystemExit(f"{name}: off by {error}")
    return error


def compiled(side, given):
    """A function compiled with float32 products, and how long that took."""
    start = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        run = side.lower(*given).compile()
    jax.block_until_ready(run(*given))
    return run, time.perf_counter() - start


def taking_turns(sides, given):
    """Seconds of each call of each side."""
    found = {name: [] for name in sides}
    begin = time.perf_counter()
    while min(map(len, found.values())) < 3 or (
        time.perf_counter() - begin < SECONDS and len(found["lazyrich"]) < N_CALLS
    ):
        for name, run in sides.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*given))
            found[name].append(time.perf_counter() - start)
    return {name: float(np.median(own)) for name, own in found.items()}


def measure(name):
    """One case: accuracy, times, and what was predicted."""
    error = accuracy(name)
    predict, traced, params, x = of_case(name, jnp.float32)
    given = params, x
    ours, compile_seconds = compiled(structured(predict, traced), given)
    sides = {"lazyrich": ours}
    try:
        sides["plain"], _ = compiled(plain(predict, traced), given)
    except jax.errors.JaxRuntimeError as failure:
        print(f"{name}: plain Jacobians: {str(failure).splitlines()[0][:120]}")
    seconds = taking_turns(sides, given)
    explained = explain_ntk(predict, *given, trace_outputs=traced)
    found = {"error": error, "seconds": seconds["lazyrich"], "compile_seconds": compile_seconds}
    found |= {"plain_seconds": seconds.get("plain"), "predicted_seconds": explained.seconds}
    ratio = "" if "plain" not in seconds else f"{seconds['plain'] / seconds['lazyrich']:.2f} times"
    print(
        f"{name}: error {error:.1e}, {1e3 * seconds['lazyrich']:.2f} ms, {ratio} plain Jacobians, "
        f"predicted {1e3 * explained.seconds:.2f} ms",
        flush=True,
    )
    return found


def measure_large(name):
    """One large network: that it finishes within its memory budget, and how long it takes."""
    memory = large.CASES[name][1]
    predict, params, x = large.inputs(name, jnp.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        kernel = jax.block_until_ready(ntk(predict, params, x, trace_outputs=True, memory=memory))
        seconds.append(time.perf_counter() - start)
    if not np.isfinite(np.asarray(kernel)).all():
        raise SystemExit(f"{name}: not finite")
    print(f"{name}: {seconds[0]:.1f} s at first, then {min(seconds[1:]):.3f} s", flush=True)
    return {"first_seconds": seconds[0], "seconds": min(seconds[1:]), "memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=(*CASES, *LARGE), default=(*CASES, *LARGE))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = jax.devices()[0]
    print(f"{device.device_kind}, JAX {jax.__version__}", flush=True)
    results = {"device": device.device_kind, "jax": jax.__version__, "cases": {}}
    for name in given.case:
        try:
            results["cases"][name] = measure_large(name) if name in LARGE else measure(name)
        except (Exception, SystemExit) as failure:
            results["cases"][name] = {"failed": f"{type(failure).__name__}: {failure}"[:300]}
            print(f"{name}: {failure}"[:300], flush=True)
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
