"""How much sooner a compute-bound grid is done on two Dask workers than in one process.

    python benchmarks/sweeps/dask_speed.py

Two grids, because ``serial`` is not one core at work: ``seeds`` share one compilation, so
the engine itself runs them on threads, on both cores; in ``learning_curve`` every run has
a shape of its own, so one process computes, and compiles, one at a time, and what a
second core helps is little. Four ways, in rounds so that a slow minute meets all:

- ``serial_one_core``, ``serial``: ``sweep`` in one process, on one core and on both;
- ``dask``: ``sweep`` on two workers with a core each, started as the how-to page says;
- ``ceiling``: two processes with a core each train half of the runs and nothing else.

All processes are warm, but have not seen the sizes of the round. Results are compared
before a time is printed. Medians over rounds go to results/dask_speed.json.
"""

import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from lazyrich.sweeps import grid, sweep
from lazyrich.training import Experiment, train_many

BASE = {
    "task": {"kind": "polynomial", "dim": 50, "n_train": 400, "n_test": 400},
    "net": {"kind": "committee", "width": 100, "epsilon": 0.25},
    "optimizer": {"kind": "gradient_descent", "learning_rate": 20.0},
    "n_steps": 3000,
    "n_evals": 20,
}
N_ROUNDS = 5
SOURCE = Path(__file__).parents[2] / "src"
WAYS = ("serial_one_core", "serial", "dask", "ceiling")


def experiments(kind, part):
    """The same amount of work in every round, with other seeds or sizes."""
    base = Experiment.from_json(json.dumps(BASE))
    if kind == "seeds":
        return grid(base, {"seed": range(16 * part, 16 * part + 16)})
    sizes = [300 + 12 * k + part for k in range(12)]
    return grid(base.changed({"n_steps": 10_000}), {"task.n_train": sizes})


def swept(kind, part, where, executor=None):
    found = sweep(experiments(kind, part), store=where, executor=executor, progress=False)
    return found.test_loss.values


def trained(kind, part, half):
    runs = [train_many([one])[0] for one in experiments(kind, part)[half::2]]
    return np.stack([run.records["test_loss"].values for run in runs])


def process(cores):
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, os.sched_setaffinity, (0, cores))


@contextmanager
def dask(folder, *words, core=None):
    pin = ["taskset", "-c", str(core)] if core is not None else []
    started = subprocess.Popen(
        [*pin, sys.executable, "-m", "dask", *words],
        env=dict(os.environ, PYTHONPATH=str(SOURCE)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        yield
    finally:
        started.terminate()
        started.wait()


def cluster(stack, folder, cores):
    file = folder / "scheduler.json"
    words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    stack.enter_context(dask(folder, "scheduler", *words, "--scheduler-file", str(file)))
    options = ("--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
    for core in cores:
        stack.enter_context(dask(folder, "worker", *options, core=core))
    while not file.exists():
        time.sleep(0.1)
    return f"dask:{json.loads(file.read_text())['address']}"


def rounds(kind, ways):
    """Seconds of each way in each round; the first round warms and is not counted."""
    seconds = {way: [] for way in WAYS}
    for part in range(N_ROUNDS + 1):
        found = {}
        for way in WAYS:
            begin = time.perf_counter()
            found[way] = ways[way](kind, part)
            if part:
                seconds[way].append(time.perf_counter() - begin)
        for way in WAYS:
            assert np.isfinite(found[way]).all()
            np.testing.assert_allclose(found[way], found["serial"], rtol=1e-3, atol=1e-5)
    return seconds


def summary(seconds):
    def ratio(way, other):
        pairs = zip(seconds[way], seconds[other], strict=True)
        return round(statistics.median(one / two for one, two in pairs), 2)

    medians = {f"{way}_seconds": round(statistics.median(seconds[way]), 2) for way in WAYS}
    return medians | {
        "dask_over_one_core": ratio("serial_one_core", "dask"),
        "dask_over_serial": ratio("serial", "dask"),
        "ceiling_over_one_core": ratio("serial_one_core", "ceiling"),
        "ceiling_over_serial": ratio("serial", "ceiling"),
    }


def main():
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        one, both = (stack.enter_context(process(some)) for some in ({cores[0]}, set(cores)))
        halves = [stack.enter_context(process({core})) for core in cores]
        address = cluster(stack, folder, cores)

        def ceiling(kind, part):
            sent = [halves[k].submit(trained, kind, part, k) for k in range(2)]
            first, second = (done.result() for done in sent)
            return np.stack([first, second], 1).reshape(-1, first.shape[1])

        def serial(pool, name):
            return lambda kind, part: pool.submit(
                swept, kind, part, folder / f"{name}-{kind}-{part}"
            ).result()

        ways = {
            "serial_one_core": serial(one, "one"),
            "serial": serial(both, "both"),
            "dask": lambda kind, part: swept(kind, part, folder / f"dask-{kind}-{part}", address),
            "ceiling": ceiling,
        }
        report = {kind: summary(rounds(kind, ways)) for kind in ("seeds", "learning_curve")}
    report["machine"] = f"{os.cpu_count()} cores, {platform.platform()}"
    print(json.dumps(report, indent=1))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "dask_speed.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
