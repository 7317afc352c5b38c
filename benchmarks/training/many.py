"""Benchmark many runs at once, and what measuring costs, with the engine as users call it.

    python benchmarks/training/many.py [--runs 32]

The histories of every way must agree with runs alone, in float64, before anything is
timed. Wall times of whole calls after a first one that compiles; results in
``results/many.json``.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from run import machine

from lazyrich.training import preset, train, train_many

HERE = Path(__file__).parent
TEACHER = preset("teacher").changed({"metrics": [{"kind": "weight_norm"}]})
DEFAULT = [{"kind": "weight_norm"}, {"kind": "parameter_change"}]
MODES = ("loop", "threads", "vmap", "auto")
CASES = {  # steps that make the run last for some seconds
    "teacher": ("teacher", 20_000),
    "modular": ("modular", 4000),
    "digits": ("digits", 8000),
    "transformer": ("transformer", 500),
}


def require_equal(runs):
    """Every way of running gives the numbers of runs alone."""
    double = [one.changed({"precision": "float64", "n_steps": 20}) for one in runs[:4]]
    alone = [train(one) for one in double]
    for mode in MODES:
        for one, other in zip(train_many(double, mode=mode), alone, strict=True):
            np.testing.assert_allclose(one.train_loss, other.train_loss, rtol=1e-9)
            np.testing.assert_allclose(one.test_loss, other.test_loss, rtol=1e-9)


def seconds(work, n_rounds):
    """The median time of a call, after one that is not counted."""
    work()
    found = []
    for _ in range(n_rounds):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return float(np.median(found))


def many_runs(n_runs, n_steps=5000):
    """Microseconds a step and run, of runs alone and together."""
    runs = [TEACHER.changed({"seed": seed, "n_steps": n_steps}) for seed in range(n_runs)]
    require_equal(runs)
    alone = seconds(lambda: train(runs[0]), 3) / n_steps
    found = {"alone": 1e6 * alone}
    for mode in MODES:
        of_all = seconds(lambda mode=mode: train_many(runs, mode=mode), 1)
        found[mode] = 1e6 * of_all / n_steps / n_runs
    return found | {"n_runs": n_runs, "n_steps": n_steps}


def cost_of_measuring(name, n_steps):
    """Seconds of a run with the default metrics and evaluation schedule, and of one without."""
    plain = preset(name).changed({"n_steps": n_steps, "metrics": []})
    bare = plain.changed({"eval_steps": [0, n_steps]})
    default = plain.changed({"metrics": DEFAULT})
    np.testing.assert_array_equal(train(bare).train_loss[-1], train(default).train_loss[-1])
    rounds = [(seconds(lambda: train(bare), 1), seconds(lambda: train(default), 1)) for _ in "123"]
    without, with_metrics = (float(np.median(column)) for column in zip(*rounds, strict=True))
    found = {"n_steps": n_steps, "bare_seconds": without, "default_seconds": with_metrics}
    return found | {"more": with_metrics / without - 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=32)
    given = parser.parse_args()
    results = {"machine": machine() | {"devices": [str(one) for one in jax.local_devices()]}}
    results["many_runs"] = of_runs = many_runs(given.runs)
    print(f"student and teacher, {given.runs} seeds, µs a step and run:")
    for name in ("alone", *MODES):
        print(f"  {name:8s} {of_runs[name]:8.1f}")
    results["measuring"] = {}
    for name, (point, n_steps) in CASES.items():
        results["measuring"][name] = found = cost_of_measuring(point, n_steps)
        print(
            f"{name}: {100 * found['more']:.1f} % more with default metrics and evaluation schedule"
        )
    out = HERE / "results" / "many.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
