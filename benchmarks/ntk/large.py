"""Kernels of large networks: that they finish, in what time and within what memory, as JSON.

    python benchmarks/ntk/large.py [--case NAME ...] [--plain] [--out FILE]

Takes minutes. The kernel of a smaller network of the same code is first compared with plain
Jacobians in float64. Then each kernel is computed twice in a process of its own, whose largest
resident memory is measured. With ``--plain`` plain Jacobians get a process as well, unless
those alone do not fit into this machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from networks import attend, convolve, normalise
from ratios import plain

from lazyrich.kernels import ntk

# Float64 sums of up to a million products, in different orders.
TOLERANCE = 1e-9
TIMEOUT = 900
CASES = {}


def network(memory, n_rows, row, *, tokens=0, most_gib=None, **sizes):
    """Name a network: how much memory it is given and may take, its rows and its sizes."""

    def keep(build):
        CASES[build.__name__] = (build, memory, most_gib, n_rows, row, tokens, sizes)
        return build

    return keep


# Each makes a predictor and its parameters' shapes; ``small`` is for the comparison.


@network("6GiB", 64, (32, 32, 3), most_gib=6, widths=(64, 128, 256, 512))
def resnet18(widths=(4, 6, 8, 10), n_outputs=10):
    """Batch norm in inference mode, and a stem for small images."""
    shapes, before = {"stem": (3, 3, 3, widths[0]), "g": (widths[0],), "h": (widths[0],)}, widths[0]
    for k, width in enumerate(widths):
        for block in (0, 1):
            name = f"{k}{block}"
            shapes |= {f"a{name}": (3, 3, before, width), f"b{name}": (3, 3, width, width)}
            shapes |= {f"{letter}{name}": (width,) for letter in "ghij"}
            if before != width:
                shapes |= {f"s{name}": (1, 1, before, width), f"k{name}": (width,)}
                shapes |= {f"l{name}": (width,)}
            before = width
    shapes |= {"out": (before, n_outputs), "bias": (n_outputs,)}

    def norm(x, gain, shift):
        mean = np.linspace(-0.5, 0.5, x.shape[-1])
        return (x - mean) / np.sqrt(1 + mean**2) * gain + shift

    def predict(p, x):
        x = jax.nn.relu(norm(convolve(x, p["stem"]), p["g"], p["h"]))
        for k in range(len(widths)):
            for block in (0, 1):
                name, stride = f"{k}{block}", 2 if k and not block else 1
                inner = norm(convolve(x, p["a" + name], stride), p["g" + name], p["h" + name])
                inner = convolve(jax.nn.relu(inner), p["b" + name])
                inner = norm(inner, p["i" + name], p["j" + name])
                if "s" + name in p:
                    x = norm(convolve(x, p["s" + name], stride), p["k" + name], p["l" + name])
                x = jax.nn.relu(x + inner)
        return x.mean((1, 2)) @ p["out"] + p["bias"]

    return predict, shapes


@network("4GiB", 16, (64,), tokens=50257, most_gib=4, d=768, heads=12, vocabulary=50257)
def gpt2_two_layers(d=16, heads=4, vocabulary=90):
    """The logit of the row's last token after all before it; embedding and read-out are one."""
    n_layers, n_positions = 2, 64
    shapes = {"wte": (vocabulary, d), "wpe": (n_positions, d), "g": (d,), "h": (d,)}
    for k in range(n_layers):
        shapes |= {f"{name}{k}": (d, d) for name in "qkvo"} | {f"w1{k}": (d, 4 * d)}
        shapes |= {f"b1{k}": (4 * d,), f"w2{k}": (4 * d, d), f"b2{k}": (d,)}
        shapes |= {f"{name}{k}": (d,) for name in ("g1", "h1", "g2", "h2")}

    def predict(p, t):
        length = t.shape[1]
        x = p["wte"][t] + p["wpe"][:length]
        mask = np.tril(np.ones((length, length), bool))
        for k in range(n_layers):
            h = normalise(x, p[f"g1{k}"]) + p[f"h1{k}"]
            x = x + attend({name: p[f"{name}{k}"] for name in "qkvo"}, h, heads, mask)
            h = normalise(x, p[f"g2{k}"]) + p[f"h2{k}"]
            x = x + jax.nn.gelu(h @ p[f"w1{k}"] + p[f"b1{k}"]) @ p[f"w2{k}"] + p[f"b2{k}"]
        logits = (normalise(x, p["g"]) + p["h"]) @ p["wte"].T
        return jnp.take_along_axis(logits[:, -2], t[:, -1:], 1)[:, 0]

    return predict, shapes


@network(None, 200, (32, 32, 3), most_gib=4, width=64, n_outputs=1000)
def thousand_classes(width=4, n_outputs=20):
    """A convolutional network; one array of (rows, classes, parameters) has 95 GiB."""
    shapes = {"a": (3, 3, 3, width), "b": (3, 3, width, width), "c": (3, 3, width, width)}
    shapes |= {"out": (width, n_outputs), "bias": (n_outputs,)}

    def predict(p, x):
        x = jax.nn.relu(convolve(x, p["a"], 2))
        x = jax.nn.relu(convolve(x, p["b"], 2))
        return jax.nn.relu(convolve(x, p["c"], 2)).mean((1, 2)) @ p["out"] + p["bias"]

    return predict, shapes


@network(None, 200, (512,), most_gib=4, width=512, n_outputs=1000)
def thousand_classes_dense(width=6, n_outputs=20):
    shapes = {"a": (512, width), "b": (width,), "c": (width, width), "out": (width, n_outputs)}

    def predict(p, x):
        return jax.nn.relu(jax.nn.relu(x @ p["a"] + p["b"]) @ p["c"]) @ p["out"]

    return predict, shapes


@network("3.5GiB", 500, (32, 32, 3), most_gib=4, widths=(64, 128, 256, 256))
def million_convolutional(widths=(4, 6, 8, 8)):
    """1.2 million parameters."""
    shapes, before = {}, 3
    for k, width in enumerate(widths):
        shapes |= {f"w{k}": (3, 3, before, width), f"b{k}": (width,)}
        before = width
    shapes |= {"e": (16 * before, 64), "out": (64, 10)}

    def predict(p, x):
        for k in range(len(widths)):
            x = jax.nn.relu(convolve(x, p[f"w{k}"], 1 if k == 0 else 2) + p[f"b{k}"])
        return jax.nn.relu(x.reshape(len(x), -1) @ p["e"]) @ p["out"]

    return predict, shapes


@network(None, 100, (3, 32, 32), most_gib=4, widths=(32, 64))
def two_convolutions(widths=(4, 6)):
    """As PyTorch lays it out: channels first, pooling, two dense layers."""
    a, b = widths
    shapes = {"a": (a, 3, 3, 3), "b": (a,), "c": (b, a, 3, 3), "d": (b,)}
    shapes |= {"e": (64 * b, 128), "f": (128,), "out": (128, 10)}

    def pool(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def conv(x, w, b):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME") + b[:, None, None]

    def predict(p, x):
        x = pool(jax.nn.relu(conv(x, p["a"], p["b"])))
        x = pool(jax.nn.relu(conv(x, p["c"], p["d"])))
        return jax.nn.relu(x.reshape(len(x), -1) @ p["e"] + p["f"]) @ p["out"]

    return predict, shapes


def inputs(name, dtype, n_rows=None, *, small=False):
    """Predictor, parameters and rows."""
    build, _, _, n, row, tokens, sizes = CASES[name]
    predict, shapes = build() if small else build(**sizes)
    rng = np.random.default_rng(0)
    params = {}
    for key, shape in sorted(shapes.items()):
        scale = 1 if len(shape) == 1 else (np.prod(shape) / max(shape)) ** -0.5
        centre = 1 if key[0] in "gik" and len(shape) == 1 else 0
        params[key] = jnp.asarray(centre + 0.3 * rng.normal(size=shape) * scale, dtype)
    words = 90 if small else tokens
    n = n_rows or n
    drawn = rng.integers(0, words, (n, *row)) if tokens else rng.normal(size=(n, *row))
    return predict, params, jnp.asarray(drawn, None if tokens else dtype)


def compare(name):
    """Hold the kernel of the small network against plain Jacobians."""
    with jax.enable_x64(True):
        predict, params, x = inputs(name, jnp.float64, 3, small=True)
        wanted = np.asarray(plain(predict, True)(params, x))
        error = np.abs(np.asarray(ntk(predict, params, x, trace_outputs=True)) - wanted).max()
    error = float(error / np.abs(wanted).max())
    if not error < TOLERANCE:
        raise SystemExit(f"{name}: wrong by {error}")
    return error


def compute(name, side):
    """Compute a kernel twice and say how long it took and what it took."""
    memory = CASES[name][1]
    predict, params, x = inputs(name, jnp.float32)
    before = peak()
    if side == "plain":
        kernel = plain(predict, True)
    else:
        kernel = lambda params, x: ntk(predict, params, x, trace_outputs=True, memory=memory)  # noqa: E731
    seconds, used = [], []
    for _ in range(2):
        start, own = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(kernel(params, x))
        seconds.append(time.perf_counter() - start)
        used.append(time.process_time() - own)
    if not np.isfinite(np.asarray(result)).all():
        raise SystemExit(f"{name}: not finite")
    found = {"first_seconds": seconds[0], "seconds": seconds[1], "processor_seconds": used[1]}
    print(json.dumps(found | {"gib_before": before, "gib": peak(), "sum": float(result.sum())}))


def peak():
    """The largest resident memory of this process, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_a_process(name, side):
    """What a process of its own found, or why it did not."""
    command = [sys.executable, __file__, "--worker", side, "--case", name]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {TIMEOUT} s"}
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        return {"failed": lines[-1][:300] if lines else f"exit status {run.returncode}"}
    return json.loads(run.stdout.splitlines()[-1])


def by_jacobians(name):
    """Plain Jacobians in a process, unless they alone are larger than this machine."""
    build, *_, n, _, _, sizes = CASES[name]
    predict, shapes = build(**sizes)
    _, _, x = inputs(name, jnp.float32, 1, small=True)
    outputs = jax.eval_shape(
        predict, {key: jax.ShapeDtypeStruct(s, jnp.float32) for key, s in shapes.items()}, x
    )
    size = 4 * n * outputs.size * sum(int(np.prod(shape)) for shape in shapes.values())
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > 0.8 * machine:
        return {"failed": f"Jacobians of {size / 2**30:.1f} GiB do not fit into this machine"}
    return in_a_process(name, "plain")


def measure(name, *, with_plain):
    """One case."""
    found = {"error": compare(name), "lazyrich": in_a_process(name, "lazyrich")}
    if with_plain:
        found["plain"] = by_jacobians(name)
    print(name, json.dumps(found), flush=True)
    most = CASES[name][2]
    found["fits"] = "failed" not in found["lazyrich"] and found["lazyrich"]["gib"] <= most
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--plain", action="store_true", help="also time plain Jacobians")
    parser.add_argument("--worker", choices=["lazyrich", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.worker:
        compute(given.case[0], given.worker)
    else:
        results = {name: measure(name, with_plain=given.plain) for name in given.case}
        if given.out:
            given.out.write_text(json.dumps(results, indent=1) + "\n")
