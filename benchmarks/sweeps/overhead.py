"""What a sweep of 10⁴ experiments that cost nothing costs: grid, store, opening, resuming.

    python benchmarks/sweeps/overhead.py [N]

The bars: under 3 ms an experiment for grid and store, under 10 s for opening all as one
Dataset, under 10 s for resuming a finished sweep, flat memory. Results go to
results/overhead.json. The dataset is compared with what was computed before any time is
printed.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from lazyrich._base import Config, Status
from lazyrich.sweeps import grid, open_dataset, sweep
from lazyrich.training import History, Record

STEPS = np.unique(np.round(np.geomspace(1, 10_000, 60)).astype(int))


class Scaling(Config):
    """The dial that is swept."""

    alpha: float = 1.0


class Free(Config):
    """Settings of an experiment that takes no time, as many as a real one has."""

    scaling: Scaling = Scaling()
    seed: int = 0
    width: int = 100
    dim: int = 50
    n_train: int = 450
    n_steps: int = 10_000
    learning_rate: float = 0.1
    epsilon: float = 0.25
    loss: str = "mse"


def free(experiments):
    for one in experiments:
        curve = np.exp(-STEPS / 1000 * one.scaling.alpha) + one.seed
        records = {name: Record(curve * k) for k, name in enumerate(("norm", "test_loss"), 2)}
        records["train_loss"] = Record(curve, "label units²")
        solved = np.stack([curve, curve / 2, curve / 3], 1)
        records["solved"] = Record(solved, "dimensionless", ("threshold",), ((0.1, 0.2, 0.3),))
        yield History(one, STEPS, records, Status.ok, None, 0.0)


def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def measure(n, folder):
    axes = {"alpha": [float(a) for a in range(1, n // 100 + 1)], "seed": range(100)}
    sweep(grid(Free(), {"seed": [10**6]}), store=folder + "/warm", run=free, progress=False)
    samples, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.2):
            n_files = len(os.listdir(folder + "/store/experiments")) if samples else 0
            samples.append((n_files, memory()))

    begin = time.perf_counter()
    experiments = grid(Free(), axes)
    made = time.perf_counter()
    os.makedirs(folder + "/store/experiments")
    watcher = threading.Thread(target=watch)
    watcher.start()
    found = sweep(experiments, store=folder + "/store", run=free, progress=False)
    swept = time.perf_counter()
    stop.set()
    watcher.join()
    alpha, seed = found.alpha.values[:, None, None], found.seed.values[None, :, None]
    np.testing.assert_array_equal(found.train_loss, np.exp(-STEPS / 1000 * alpha) + seed)
    row = {
        "n_experiments": len(experiments),
        "grid_ms_each": 1e3 * (made - begin) / n,
        "store_ms_each": 1e3 * (swept - made) / n,
        "overhead_ms_each": 1e3 * (swept - begin) / n,
    }
    del found
    begin = time.perf_counter()
    again = sweep(experiments, store=folder + "/store", run=free, progress=False)
    row["resume_seconds"] = time.perf_counter() - begin
    del again
    begin = time.perf_counter()
    open_dataset(folder + "/store")
    row["open_seconds"] = time.perf_counter() - begin
    for path in Path(folder, "store", "packs").iterdir():
        path.unlink()
    begin = time.perf_counter()
    open_dataset(folder + "/store")
    row["open_without_packs_seconds"] = time.perf_counter() - begin
    early, late = (
        np.mean([m for k, m in samples if low * n <= k < high * n])
        for low, high in ((0.15, 0.4), (0.7, 0.95))
    )
    row["memory_mb_at_a_quarter"], row["memory_mb_near_the_end"] = float(early), float(late)
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {name: round(value, 3) for name, value in row.items()}


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        row = measure(n, folder)
    row["machine"] = f"{os.cpu_count()} cores, {platform.platform()}"
    head = ["git", "rev-parse", "--short", "HEAD"]
    row["commit"] = subprocess.run(head, capture_output=True, text=True).stdout.strip()
    print(json.dumps(row, indent=1))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "overhead.json").write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
