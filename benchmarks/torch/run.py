"""Benchmark the kernels of PyTorch modules against ``torch.func``, nngeometry and curvlinops.

    python benchmarks/torch/run.py [--case NAME ...] [--rounds 5] [--peers DIR]

Everything runs in one process on the same inputs. First our kernel in float64 must equal
that of explicit Jacobians on a few rows, and every side's kernel in float32 must equal
ours; what differs is reported and not timed. Then calls of all sides are interleaved, so
that a busy machine is busy for all; the first call of each side is its warm-up. Times are
of the processor for one thread, which other programs disturb little, and of the clock for
two. nngeometry and curvlinops are installed into a folder of their own and are no
dependency of the project. Results are merged into ``results/cpu.json``.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import cases
import numpy as np
import peers
import torch

import lazyrich.torch as lzt

HERE = Path(__file__).parent
PEER_PACKAGES = ["nngeometry==0.4", "curvlinops-for-pytorch==3.0.1"]
PEER_PACKAGES += ["backpack-for-pytorch==1.7.1", "einconv==0.1.0", "einops==0.8.2"]
PEER_PACKAGES += ["linear_operator==0.6.1", "unfoldNd==0.2.3"]
# Sums of many float32 products in different orders; and of float64 ones.
TOLERANCE, TOLERANCE_64 = 1e-4, 1e-10
# A side whose call takes longer (seconds) is timed once.
SLOW = 3


def sides_of(name, model, x):
    """By name, what computes the kernel."""
    case = cases.CASES[name]
    traced = case.traced
    found = {"lazyrich": lambda: lzt.ntk(model, x, trace_outputs=traced)}
    if "torch.func" in case.wanted:
        for chunk in case.chunks:
            found[f"torch.func, chunks of {chunk or 'all'}"] = lambda chunk=chunk: (
                peers.by_torch_func(model, x, traced=traced, chunk=chunk)
            )
    if "others" in case.wanted:
        found["nngeometry"] = lambda: peers.by_nngeometry(model, x, traced=traced)
        found["curvlinops"] = lambda: peers.by_curvlinops(model, x, traced=traced)
    if "loop" in case.wanted:
        found["loop over rows"] = lambda: peers.by_loop(model, x, traced=traced)
    return found


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


def run_case(name, rounds):
    gap = equal_to_jacobians(name)
    if gap > TOLERANCE_64:
        raise SystemExit(f"{name}: our kernel is off from explicit Jacobians by {gap}")
    model, x = cases.made(name)
    sides, rows, reference = sides_of(name, model, x), {}, None
    torch.set_num_threads(2)
    for side, call in list(sides.items()):
        start = time.perf_counter()
        try:
            kernel = call().detach()
        except Exception as error:
            rows[side] = {"verdict": "failed", "error": f"{type(error).__name__}: {error}"[:200]}
            continue
        reference = kernel if reference is None else reference
        off = float((kernel - reference).abs().max() / reference.abs().max())
        rows[side] = {"verdict": "equal" if off < TOLERANCE else "wrong", "relative_error": off}
        rows[side] |= {"first_call_seconds": time.perf_counter() - start, "seconds": {}}
        rows[side]["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        del kernel
    right = [side for side, row in rows.items() if row["verdict"] == "equal"]
    for n_threads, clock in ((1, time.process_time), (2, time.perf_counter)):
        torch.set_num_threads(n_threads)
        seconds = {side: [] for side in right}
        for _ in range(rounds):
            for side in right:
                if not seconds[side] or seconds[side][0] < SLOW:
                    seconds[side].append(timed(sides[side], clock))
        for side in right:
            rows[side]["seconds"][str(n_threads)] = sorted(seconds[side])
    return {"gap_float64": gap, "sides": rows, "ratios": ratios(name, rows)}


def ratios(name, rows):
    """How many times longer the best of each kind of peer takes."""
    found = {}
    for kind, wanted in cases.CASES[name].wanted.items():
        mine = {"torch.func": "torch.func", "loop": "loop"}.get(kind, ("nngeometry", "curvlinops"))
        chosen = [s for s, r in rows.items() if s.startswith(mine) and r["verdict"] == "equal"]
        for n_threads in ("1", "2"):
            ours = np.median(rows["lazyrich"]["seconds"][n_threads])
            theirs = {s: float(np.median(rows[s]["seconds"][n_threads])) for s in chosen}
            best = min(theirs, key=theirs.__getitem__) if theirs else None
            ratio = theirs[best] / float(ours) if best else None
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
        one, two = (1e3 * float(np.median(row["seconds"][k])) for k in ("1", "2"))
        print(f"  {side:30s} {one:9.1f} ms, {two:9.1f} ms with two threads")
    for kind, row in result["ratios"].items():
        if row["ratio"] is not None:
            print(f"  {row['ratio']:.2f} times as fast as {kind} (wanted {row['wanted']})")


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
    default = Path(tempfile.gettempdir()) / "lazyrich-torch-peers"
    parser.add_argument("--peers", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cpu.json")
    given = parser.parse_args()
    add_peers(given.peers)
    results = json.loads(given.out.read_text()) if given.out.exists() else {"cases": {}}
    results["machine"] = machine()
    for name in given.case:
        result = run_sketch(given.rounds) if name == "sketch" else run_case(name, given.rounds)
        if name != "sketch":
            show(name, result)
        results["cases"][name] = result
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
