"""How much sooner a compute-bound grid is done on two workers than in one process.

    python benchmarks/sweeps/dask_speed.py

Workers are warm (each has compiled once) and have one core each; the serial sweep is
timed on one core and on all. Stores are compared before a time is printed. Results go to
results/dask_speed.json.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lazyrich.sweeps import Sending, grid, sweep
from lazyrich.training import Experiment

BASE = {
    "task": {"kind": "polynomial", "dim": 50, "n_train": 400, "n_test": 400},
    "net": {"kind": "committee", "width": 100, "epsilon": 0.25},
    "optimizer": {"kind": "gradient_descent", "learning_rate": 20.0},
    "n_steps": 3000,
    "n_saves": 20,
}
N_SEEDS = 16
SOURCE = Path(__file__).parents[2] / "src"


def experiments(first):
    base = Experiment.from_json(json.dumps(BASE))
    return grid(base, {"seed": range(first, first + N_SEEDS)})


def timed(folder, name, executor, *, cores):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    # One experiment in a call: with all cores in one worker the engine would use threads.
    sending = Sending(batch_size=None if executor is None else 1)
    try:
        warm = folder / f"{name}-warm"
        sweep(experiments(1000), store=warm, executor=executor, progress=False, sending=sending)
        begin = time.perf_counter()
        found = sweep(
            experiments(0), store=folder / name, executor=executor, progress=False, sending=sending
        )
        return time.perf_counter() - begin, found
    finally:
        os.sched_setaffinity(0, before)


def start(folder, *words, core=None):
    environment = dict(os.environ, PYTHONPATH=str(SOURCE))
    pin = ["taskset", "-c", str(core)] if core is not None else []
    return subprocess.Popen(
        [*pin, sys.executable, "-m", "dask", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


def main():
    cores = sorted(os.sched_getaffinity(0))[:2]
    rows, found = {}, {}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        file = folder / "scheduler.json"
        words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        processes = [start(folder, "scheduler", *words, "--scheduler-file", str(file))]
        options = ("--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
        processes += [start(folder, "worker", *options, core=core) for core in cores]
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for name, executor, allowed in (
            ("serial_one_core", None, {cores[0]}),
            ("serial_two_cores", None, set(cores)),
            ("dask_two_workers", f"dask:{address}", set(cores)),
        ):
            rows[name], found[name] = timed(folder, name, executor, cores=allowed)
        for process in reversed(processes):
            process.terminate()
            process.wait()
    for name in rows:
        np.testing.assert_allclose(
            found[name].test_loss, found["serial_one_core"].test_loss, rtol=1e-3, atol=1e-5
        )
    report = {f"{name}_seconds": round(seconds, 2) for name, seconds in rows.items()}
    busy = float(found["dask_two_workers"].wall_seconds.sum()) / 2
    report |= {
        "speed_up_over_one_core": round(rows["serial_one_core"] / rows["dask_two_workers"], 2),
        "speed_up_over_two_cores": round(rows["serial_two_cores"] / rows["dask_two_workers"], 2),
        "dask_seconds_computing_per_worker": round(busy, 2),
        "n_experiments": N_SEEDS,
        "machine": f"{os.cpu_count()} cores, {platform.platform()}",
    }
    print(json.dumps(report, indent=1))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "dask_speed.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
