"""What every side does: hand over its first losses, and make timed steps when told to."""

import json
import os
import resource
import sys
import time

# Before the libraries start their threads.
os.sched_setaffinity(0, {int(core) for core in os.environ["BENCHMARK_CORES"].split(",")})

import cases  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402

N_EQUAL = 20


def load(path, name):
    """Parameters, inputs, targets and batches of a case, as the benchmark wrote them."""
    stored = np.load(path)
    structure = jax.tree.structure(cases.problem(name)[0])
    leaves = [stored[f"leaf{k}"] for k in range(structure.num_leaves)]
    params = jax.tree.unflatten(structure, leaves)
    return params, stored["x"], stored["y"], stored["batches"]


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(curve, prepare):
    """Report the first losses; then one round of steps for each line that comes in."""
    before = peak_bytes()
    run = prepare()
    begin = time.perf_counter()
    run()
    first = time.perf_counter() - begin
    report = {"losses": np.asarray(curve, float).tolist(), "first_seconds": first}
    print(json.dumps(report | {"peak_before_bytes": before}), flush=True)
    for line in sys.stdin:
        if line.strip() != "ROUND":
            break
        begin = time.perf_counter()
        run()
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)
