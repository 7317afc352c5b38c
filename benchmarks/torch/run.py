"""Benchmark the kernels of PyTorch modules against ``torch.func``, nngeometry and curvlinops.

    python benchmarks/torch/run.py [--case NAME ...] [--rounds 5] [--threads 1 2] [--together]

First our kernel in float64 must equal that of explicit Jacobians on a few rows, and every
side's kernel in float32 must equal ours; what differs is reported and not timed. Then calls
of all sides are interleaved, so that a busy machine is busy for all; the first call of each
side is its warm-up, and the only one of a slow side. Times are of the processor for one
thread, which other programs disturb little, and of the clock for two. No side may take more
than 8 GiB beyond what the process has at its start. Each side has a process of its own: ours
sets how the C library keeps freed memory, which in one process (``--together``) saves the peers
time too. nngeometry and curvlinops are installed into a folder of their own (``--peers``) and
are no dependency of the project. Results are merged into ``results/cpu.json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import cases
import numpy as np
import peers
import torch
from worker import sides_of

import lazyrich.torch as lzt

HERE = Path(__file__).parent
PEER_PACKAGES = ["nngeometry==0.4", "curvlinops-for-pytorch==3.0.1"]
PEER_PACKAGES += ["backpack-for-pytorch==1.7.1", "einconv==0.1.0", "einops==0.8.2"]
PEER_PACKAGES += ["linear_operator==0.6.1", "unfoldNd==0.2.3"]
# Sums of many float32 products in different orders; and of float64 ones.
TOLERANCE, TOLERANCE_64 = 1e-4, 1e-10
# A side whose first call, which loads what it needs, takes longer (seconds) is timed once.
SLOW = 6


class Workers:
    """Processes that compute kernels: one for each side, or one for all."""

    def __init__(self, name, folder, *, together):
        self.command = [sys.executable, str(HERE / "worker.py"), name, str(folder)]
        self.together, self.started = together, {}

    def ask(self, side, threads, **asked):
        """What the process of a side answers."""
        key = None if self.together else side
        if key not in self.started:
            self.started[key] = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        worker = self.started[key]
        print(json.dumps({"side": side, "threads": threads} | asked), file=worker.stdin, flush=True)
        line = worker.stdout.readline()
        return json.loads(line) if line else {"error": "its process ended"}

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        for worker in self.started.values():
            worker.stdin.close()
            worker.wait()


def equal_to_jacobians(name):
    """The gap between our kernel and explicit Jacobians, in float64, on a few rows."""
    model, x = cases.made(name)
    few = {k: v[:3] for k, v in x.items()} if isinstance(x, dict) else x[:3].double()
    model, traced = model.double(), cases.CASES[name].traced
    found = lzt.ntk(model, few, trace_outputs=traced)
    wanted = peers.by_loop(model, few, traced=traced)
    return float((found - wanted).abs().max() / wanted.abs().max())


def timed(call, clock):
    start = clock()
    call()
    return clock() - start


def first_call(workers, side, reference, folder):
    """The kernel of a side's first call, and what is known of the side afterwards."""
    kept = Path(folder) / "kernel.npy"
    found = workers.ask(side, 1, kept=str(kept))
    if "error" in found:
        return None, {"verdict": "failed", "error": found["error"]}
    kernel, seconds = np.load(kept), found["seconds"]
    reference = kernel if reference is None else reference
    off = float(np.abs(kernel - reference).max() / np.abs(reference).max())
    verdict = "equal" if off < TOLERANCE else "wrong"
    row = {"verdict": verdict, "relative_error": off, "first_call_seconds": seconds}
    row |= {"seconds": {"1": [seconds]} if seconds > SLOW else {}, "peak_gib": found["peak_gib"]}
    return kernel, row


def run_case(name, rounds, threads, peers, *, together):
    gap = equal_to_jacobians(name)
    if gap > TOLERANCE_64:
        raise SystemExit(f"{name}: our kernel is off from explicit Jacobians by {gap}")
    sides, rows, reference = list(sides_of(name, None, None)), {}, None
    with Workers(name, peers, together=together) as workers, TemporaryDirectory() as folder:
        for side in sides:
            kernel, rows[side] = first_call(workers, side, reference, folder)
            reference = kernel if reference is None else reference
        quick = [side for side, row in rows.items() if row.get("seconds") == {}]
        quick = [side for side in quick if rows[side]["verdict"] == "equal"]
        for n_threads in threads:
            seconds = {side: [] for side in quick}
            for _ in range(rounds):
                for side in quick:
                    seconds[side].append(workers.ask(side, n_threads)["seconds"])
            for side in quick:
                rows[side]["seconds"][str(n_threads)] = sorted(seconds[side])
    return {"gap_float64": gap, "sides": rows, "ratios": ratios(name, rows)}


def ratios(name, rows):
    """How many times longer the best of each kind of peer takes; None if none finishes."""
    found = {}
    timed_on = [k for k in ("1", "2") if k in rows["lazyrich"]["seconds"]]
    for kind, wanted in cases.CASES[name].wanted.items():
        mine = {"torch.func": "torch.func", "loop": "loop"}.get(kind, ("nngeometry", "curvlinops"))
        for n_threads in timed_on:
            medians = {
                side: float(np.median(row["seconds"][n_threads]))
                for side, row in rows.items()
                if n_threads in row.get("seconds", {}) and row["verdict"] == "equal"
            }
            theirs = {side: t for side, t in medians.items() if side.startswith(mine)}
            best = min(theirs, key=theirs.__getitem__) if theirs else None
            ratio = theirs[best] / medians["lazyrich"] if best else None
            found[f"{kind}, {n_threads} threads"] = {"best": best, "ratio": ratio, "wanted": wanted}
    return found


def run_sketch(rounds):
    """A sketch of 16 directions against training steps of a batch of 256, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = [torch.nn.Linear(784, 400), torch.nn.ReLU(), torch.nn.Linear(400, 250)]
    model = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(250, 10))
    x, y = torch.randn(256, 784), torch.randint(10, (256,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    steps, sketches = [], []
    for _ in range(3 * rounds):
        steps.append(timed(step, time.process_time))
        sketches.append(timed(lambda: lzt.sketch(model, x[:64], 16), time.process_time))
    ratio = float(np.median(sketches) / np.median(steps))
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"sketch of {n_parameters} parameters: {ratio:.2f} training steps (wanted at most 3)")
    return {"parameters": n_parameters, "training_steps": ratio, "wanted": 3}


def show(name, result):
    print(f"{name} (float64 gap {result['gap_float64']:.1e})")
    for side, row in result["sides"].items():
        if row["verdict"] != "equal":
            print(f"  {side:30s} {row['verdict']} {row.get('error', row.get('relative_error'))}")
            continue
        times = {k: 1e3 * float(np.median(v)) for k, v in row["seconds"].items()}
        two = f", {times['2']:9.1f} ms with two threads" if "2" in times else ""
        print(f"  {side:30s} {times['1']:9.1f} ms{two}")
    for kind, row in result["ratios"].items():
        if row["ratio"] is not None:
            print(
                f"  {row['ratio']:.2f} times as fast as {kind} (wanted {row['wanted']})", flush=True
            )


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("lazyrich", "torch", "numpy")},
        "peers": PEER_PACKAGES,
        "load": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
    }


def add_peers(folder):
    """Peers in a folder of their own; without what they need, which is here already."""
    if not (folder / "nngeometry").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *PEER_PACKAGES], check=True)
    sys.path.append(str(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = [*cases.CASES, "sketch"]
    parser.add_argument("--case", nargs="*", choices=everything, default=everything)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", choices=[1, 2], default=[1, 2])
    default = Path(tempfile.gettempdir()) / "lazyrich-torch-peers"
    parser.add_argument("--peers", type=Path, default=default)
    parser.add_argument("--together", action="store_true", help="all sides in one process")
    parser.add_argument("--out", type=Path, help="default: results/cpu.json, or together.json")
    given = parser.parse_args()
    add_peers(given.peers)
    out = given.out or HERE / "results" / ("together.json" if given.together else "cpu.json")
    results = json.loads(out.read_text()) if out.exists() else {"cases": {}}
    for name in given.case:
        print(name, flush=True)
        on = machine()
        result = (
            run_sketch(given.rounds)
            if name == "sketch"
            else run_case(name, given.rounds, given.threads, given.peers, together=given.together)
        )
        if name != "sketch":
            show(name, result)
        results["cases"][name] = {"machine": on, **result}
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
