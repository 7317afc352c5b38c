"""Sides of the benchmark in a process of their own, which answers one line for each line it reads.

    python benchmarks/torch/worker.py CASE PEERS

A line is a JSON object: the ``side``, the number of ``threads``, and for a first call the file
where its kernel is ``kept``. The answer holds ``seconds``, and for a first call ``peak_gib``; or
``error``.
"""

import json
import os
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cases
import numpy as np
import peers
import torch

import lazyrich.torch as lzt

# Memory that a side may take, beyond what the process has.
MOST_MEMORY = 8 * 2**30


def sides_of(name, model, x):
    """By name, what computes the kernel."""
    case = cases.CASES[name]
    traced = case.traced
    found = {"lazyrich": lambda: lzt.ntk(model, x, trace_outputs=traced)}
    for chunk in case.chunks if "torch.func" in case.wanted else ():
        found[f"torch.func, chunks of {chunk or 'all'}"] = lambda chunk=chunk: peers.by_torch_func(
            model, x, traced=traced, chunk=chunk
        )
    if "others" in case.wanted:
        found["nngeometry"] = lambda: peers.by_nngeometry(model, x, traced=traced)
        found["curvlinops"] = lambda: peers.by_curvlinops(model, x, traced=traced)
    if "loop" in case.wanted:
        found["loop over rows"] = lambda: peers.by_loop(model, x, traced=traced)
    return found


@contextmanager
def bounded_memory():
    """What takes more than is allowed fails, and does not end the process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def peak():
    """GiB that the process has had since the peak was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def answer(call, threads, kept):
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = clock()
    try:
        with bounded_memory():
            kernel = call().detach()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    found = {"seconds": clock() - start}
    if kept is not None:
        np.save(kept, kernel.numpy())
        found["peak_gib"] = peak()
    return found


def main():
    name, folder = sys.argv[1:]
    sys.path.append(folder)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sides = sides_of(name, *cases.made(name))
    for line in sys.stdin:
        asked = json.loads(line)
        made = answer(sides[asked["side"]], asked["threads"], asked.get("kept"))
        print(json.dumps(made), file=answers, flush=True)


if __name__ == "__main__":
    main()
