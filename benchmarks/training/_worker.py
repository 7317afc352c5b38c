"""What every side does: hand over its first losses, and make timed steps when told to."""

import json
import os
import resource
import sys
import time

# Before the libraries start their threads.
os.sched_setaffinity(0, {int(core) for core in os.environ["BENCHMARK_CORES"].split(",")})


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(curve, advance, n_steps):
    """Report the first losses; then one round of steps for each line that comes in."""
    begin = time.perf_counter()
    advance(n_steps)
    first = time.perf_counter() - begin
    print(json.dumps({"losses": curve, "first_seconds": first}), flush=True)
    for line in sys.stdin:
        if line.strip() != "ROUND":
            break
        begin = time.perf_counter()
        advance(n_steps)
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)
