"""Times of the tangent kernel of one network over those of another, as JSON.

    python benchmarks/ntk/ratios.py [--case NAME ...] [--out FILE]

Each network's kernel is first held against plain Jacobians on a few rows. The two sides are
timed in turn, so that other work on the machine slows both.
"""

import argparse
import json
import time
from pathlib import Path

import cases
import jax
import jax.numpy as jnp
import numpy as np

from lazyrich.kernels import ntk

# Float32 sums of up to a million products, in different orders.
TOLERANCE = 1e-4
SECONDS = 20.0


def plain(predict, traced):
    """The kernel by one Jacobian of all parameters for each row."""

    def kernel(params, x):
        row = lambda row: jax.jacrev(lambda p: predict(p, row[None])[0])(params)  # noqa: E731
        total = 0.0
        for part in jax.tree.leaves(jax.vmap(row)(x)):
            if predict(params, x[:1]).ndim == 1:
                part = part[:, None]
            flat = part.reshape(*part.shape[:2], -1)
            total = total + jnp.einsum("iap,jap->ij" if traced else "iap,jbp->ijab", flat, flat)
        return total

    return jax.jit(kernel)


def structured(predict, traced):
    return jax.jit(lambda params, x: ntk(predict, params, x, trace_outputs=traced))


def measure(name):
    baseline, predict, inputs, traced, bar = cases.RATIOS[name]
    params, x = jax.device_put(inputs())
    for network in {baseline, predict} - {None}:
        ours = structured(network, traced)(params, x[:6])
        theirs = np.asarray(plain(network, traced)(params, x[:6])).reshape(ours.shape)
        error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        if error > TOLERANCE:
            raise SystemExit(f"{name}: wrong by {error}")
    second = structured(predict, traced)
    first = structured(baseline, traced) if baseline else plain(predict, traced)
    seconds = ([], [])
    for side in (first, second):
        jax.block_until_ready(side(params, x))
    begin = time.perf_counter()
    while len(seconds[0]) < 3 or (time.perf_counter() - begin < SECONDS and len(seconds[0]) < 30):
        for side, times in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(side(params, x))
            times.append(time.perf_counter() - start)
    before, after = (float(np.median(times)) for times in seconds)
    print(
        f"{name}: {1e3 * before:.1f} ms, {1e3 * after:.1f} ms, ratio {after / before:.2f} ({bar})"
    )
    return {"baseline_seconds": before, "seconds": after, "ratio": after / before, "wanted": bar}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=cases.RATIOS, default=list(cases.RATIOS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = {name: measure(name) for name in given.case}
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
