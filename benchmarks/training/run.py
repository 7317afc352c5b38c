"""Benchmark training steps against PyTorch, eager, with fused AdamW, and compiled.

    python benchmarks/training/run.py [--case NAME ...] [--rounds 9]

Every side is a process of its own that starts from the same weights. Its first twenty
losses in float64 must equal ours before it is timed; rounds of steps are interleaved, so
that a busy machine is busy for all. Rows for all cores and for one thread; compilation
apart. Peak memory is that of the process: libraries, and the float64 steps, included.
Results are merged into ``results/cpu.json``.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cases
import numpy as np

HERE = Path(__file__).parent
# Twenty steps of float64, summed in other orders.
TOLERANCE = 1e-9
SIDES = {
    "lazyrich": ("side_lazyrich.py", "engine"),
    "torch eager": ("side_torch.py", "eager"),
    "torch fused": ("side_torch.py", "fused"),
    "torch compiled": ("side_torch.py", "compiled"),
}


def environment_of(cores):
    """Thread counts are fixed when the libraries start; the side pins itself to the cores."""
    named = {"OMP_NUM_THREADS": str(len(cores)), "BENCHMARK_CORES": ",".join(map(str, cores))}
    if len(cores) == 1:
        named["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return dict(os.environ, **named)


class Side:
    """A process that has made its first steps and waits to be timed."""

    def __init__(self, script, name, variant, cores):
        self.process = subprocess.Popen(
            [sys.executable, script, name, variant, str(len(cores))],
            cwd=HERE,
            env=environment_of(cores),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def report(self):
        """What the side says next; None if it failed."""
        for line in self.process.stdout or ():
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads(line)
        return None

    def round(self):
        """Seconds and peak memory of one more round of steps."""
        self.process.stdin.write("ROUND\n")
        self.process.stdin.flush()
        return self.report()

    def stop(self):
        """Send it home; its last line of complaint."""
        return (self.process.communicate("STOP\n")[1].strip().splitlines() or ["no message"])[-1]


def run_case(name, cores, n_rounds):
    n_steps = cases.CASES[name].experiment.n_steps
    rows, sides = {}, {}
    wanted = None
    for label, (script, variant) in SIDES.items():
        side = Side(script, name, variant, cores)
        first = side.report()
        if first is None:
            rows[label] = {"verdict": "failed", "error": side.stop()}
            if wanted is None:
                sys.exit(f"{name}: our own side failed: {rows[label]['error']}")
            continue
        losses = np.array(first.pop("losses"))
        wanted = losses if wanted is None else wanted
        error = float(np.abs(losses / wanted - 1).max())
        rows[label] = first | {"verdict": "equal", "relative_error": error, "seconds": []}
        if error > TOLERANCE:
            rows[label]["verdict"] = "wrong"
            side.stop()
            continue
        sides[label] = side
    for _ in range(n_rounds):
        for label, side in sides.items():
            answer = side.round()
            rows[label]["seconds"].append(answer["seconds"] / n_steps)
            rows[label]["peak_bytes"] = answer["peak_bytes"]
    for side in sides.values():
        side.stop()
    return summary(cases.CASES[name], rows)


def summary(case, rows):
    medians = {}
    for label, row in rows.items():
        if row["verdict"] == "equal":
            medians[label] = float(np.median(row["seconds"]))
            rounds = medians[label] * case.experiment.n_steps
            row["compile_seconds"] = max(0.0, row.pop("first_seconds") - rounds)
    peers = {label: medians[label] for label in case.peers if label in medians}
    best = min(peers, key=peers.__getitem__)
    ours = medians["lazyrich"]
    ratio = peers[best] / ours
    result = {"sides": rows, "ours_seconds": ours, "best_peer": best, "ratio": ratio}
    return result | {"wanted": case.bar, "is_met": ratio >= case.bar, "flops": case.flops}


def show(name, label, result):
    print(f"{name}, {label}")
    for side, row in result["sides"].items():
        if row["verdict"] != "equal":
            print(f"  {side:16s} {row['verdict']} {row.get('error', row.get('relative_error'))}")
            continue
        print(
            f"  {side:16s} median {1e6 * np.median(row['seconds']):10.1f} µs a step, best "
            f"{1e6 * min(row['seconds']):10.1f}, compile {row['compile_seconds']:5.2f} s, peak "
            f"{row['peak_bytes'] / 2**20:6.0f} MiB"
        )
    print(
        f"  {result['ratio']:.2f} times faster than {result['best_peer']} (wanted "
        f"{result['wanted']}); {100 * result['share_of_gemm_peak']:.0f} % of the GEMM peak",
        flush=True,
    )


GEMM = """
import _worker, time, jax
a = jax.numpy.ones((2048, 2048), jax.numpy.float32)
product = jax.jit(lambda a: a @ a)
product(a).block_until_ready()
best = 1e9
for _ in range(15):
    begin = time.perf_counter()
    product(a).block_until_ready()
    best = min(best, time.perf_counter() - begin)
print(2 * 2048**3 / best)
"""


def gemm_flops(cores):
    """The best rate of a large single-precision product on these cores, for rooflines."""
    run = subprocess.run(
        [sys.executable, "-c", GEMM],
        cwd=HERE,
        env=environment_of(cores),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    names = ("lazyrich", "jax", "jaxlib", "optax", "numpy", "torch")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "commit": commit.stdout.strip(),
        "load_before": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", choices=[*cases.CASES], default=[*cases.CASES])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "cpu.json")
    given = parser.parse_args()
    results = json.loads(given.out.read_text()) if given.out.exists() else {"cases": {}}
    results["machine"] = machine()
    available = sorted(os.sched_getaffinity(0))
    peaks = results.setdefault("gemm_gigaflops", {})
    for label, cores in {"all cores": available, "one thread": available[:1]}.items():
        for name in given.case:
            # Something else running can only make the peak too low: keep the highest.
            peaks[label] = max(peaks.get(label, 0), gemm_flops(cores) / 1e9)
            results["cases"].setdefault(name, {})[label] = run_case(name, cores, given.rounds)
            for case in results["cases"].values():
                for row, result in case.items():
                    pace = result["flops"] / result["ours_seconds"] / 1e9
                    result["share_of_gemm_peak"] = pace / peaks[row]
            show(name, label, results["cases"][name][label])
            given.out.parent.mkdir(exist_ok=True)
            given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
