"""Times of the tangent kernel over those of plain Jacobians, for networks of all kinds, as JSON.

    python benchmarks/ntk/zoo.py [--case NAME ...] [--seconds S] [--out FILE]

The plain side is what one writes by hand: Jacobians of all parameters by ``jacrev`` under ``vmap``,
contracted parameter by parameter, in one ``jit``. Kernels are first compared in float64 on a
few rows. Then both sides take turns in float32, so that other work on the machine slows both.
What `explain_ntk` predicts is compared with calls of the kernel alone on one core, and with the
memory that XLA reports.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from networks import SIZES, ZOO, inputs
from ratios import plain, structured

from lazyrich.kernels import explain_ntk

# Float64 sums of up to a million products, in different orders.
TOLERANCE = 1e-9
N_ALONE = 40


def measure_alone(name):
    """Seconds of calls of the kernel alone, whose memory Jacobians have not just given back."""
    predict, *_, traced, _ = SIZES[name]
    given = inputs(name, jnp.float32)
    kernel = structured(predict, traced).lower(*given).compile()
    jax.block_until_ready(kernel(*given))
    found = []
    for _ in range(N_ALONE):
        start = time.process_time()
        jax.block_until_ready(kernel(*given))
        found.append(time.process_time() - start)
    return float(np.median(found))


def measured_alone(names):
    """In a process with one core, of which the rates are."""
    core = {min(os.sched_getaffinity(0))}
    found = subprocess.run(
        [sys.executable, __file__, "--alone", "--case", *names],
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, core),  # before JAX counts the cores
    )
    return json.loads(found.stdout)


def measure(name, seconds, alone):
    predict, *_, traced, _ = SIZES[name]
    with jax.enable_x64(True):
        few = inputs(name, jnp.float64, 3)
        wanted = np.asarray(plain(predict, traced)(*few))
        error = np.abs(np.asarray(structured(predict, traced)(*few)).reshape(wanted.shape) - wanted)
    error = float(error.max() / np.abs(wanted).max())
    if not error < TOLERANCE:
        raise SystemExit(f"{name}: wrong by {error}")
    given = inputs(name, jnp.float32)
    explained = explain_ntk(predict, *given, trace_outputs=traced)
    sides = [
        side.lower(*given).compile()
        for side in (plain(predict, traced), structured(predict, traced))
    ]
    times = [], []
    for side in sides:
        jax.block_until_ready(side(*given))
    begin = time.perf_counter()
    while len(times[0]) < 5 or (time.perf_counter() - begin < seconds and len(times[0]) < 50):
        for side, own in zip(sides, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(side(*given))
            own.append(time.perf_counter() - start)
    before, after = (float(np.median(own)) for own in times)
    memory = sides[1].memory_analysis()
    found = {
        "plain_seconds": before,
        "seconds": after,
        "speedup": before / after,
        "error": error,
        "seconds_alone": alone,
        "predicted_seconds": explained.seconds,
        "bytes": memory.temp_size_in_bytes + memory.output_size_in_bytes,
        "predicted_bytes": explained.n_bytes,
    }
    of_time = found["predicted_seconds"] / found["seconds_alone"]
    of_memory = found["predicted_bytes"] / found["bytes"]
    print(
        f"{name}: {1e3 * before:.1f} ms by Jacobians, {1e3 * after:.1f} ms, "
        f"{before / after:.2f} times; "
        f"predicted {of_time:.2f} of the time, {of_memory:.2f} of the memory",
        flush=True,
    )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=SIZES, default=ZOO)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each case")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", action="store_true", help="seconds of the kernels on one core")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps({name: measure_alone(name) for name in given.case}))
        sys.exit()
    alone = measured_alone(given.case)
    results = {name: measure(name, given.seconds, alone[name]) for name in given.case}
    speedups = [found["speedup"] for found in results.values()]
    mean = float(np.exp(np.mean(np.log(speedups))))
    print(f"{len(results)} networks: at least {min(speedups):.2f}, geometric mean {mean:.2f}")
    for kind, measured in (("seconds", "seconds_alone"), ("bytes", "bytes")):
        far = [
            name for name, found in results.items()
            if not 0.5 <= found[f"predicted_{kind}"] / found[measured] <= 2
        ]  # fmt: skip
        print(f"{kind} predicted within a factor of two, but for: {', '.join(far) or 'none'}")
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
