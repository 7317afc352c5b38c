"""Does what is advised make late runs sooner? Trained, diagnosed, changed and trained again.

Each late run is trained with several seeds and diagnosed in the middle of its plateau (the
geometric mean of the steps at which its training rows are fitted and its test rows
predicted). What the first cause of the advice names is changed and nothing else, and, as a
control, what another cause names. Levels of fit and of generalisation are those of the
thresholds. Seeds and settings were fixed on other seeds before these were run. MNIST is read
from LAZYRICH_DATA.

    python benchmarks/diagnosis/interventions.py [RUN ...]
"""

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from late_runs import RUNS, LateRun
from scipy.special import stdtrit

import lazyrich as lz
from lazyrich.curves import fall_step
from lazyrich.diagnosis import (
    THRESHOLDS,
    Labels,
    Measurements,
    Optimization,
    ProbeBatch,
    Settings,
    diagnosis_of,
    fit_of,
    measure,
)
from lazyrich.diagnosis._jax import Network
from lazyrich.training import Experiment, History, train_many

RESULTS = Path(__file__).parent / "results" / "interventions.json"
SEEDS = (10, 11, 12, 13)
N_ROWS, N_TEST_ROWS = 48, 200


class Steps(NamedTuple):
    """When a run first fits, and from when on it generalises; infinite if it never does."""

    fit: float
    test: float


def steps_of(history: History, late: LateRun) -> Steps:
    """Both steps of a run, by errors relative to chance as `diagnose` takes them."""
    experiment = history.experiment
    assert isinstance(experiment, Experiment)
    data = experiment.sample({}).data
    levels = {"train": THRESHOLDS["fitted_error"].value, "test": late.test_level}
    found = {}
    for part, y in (("train", data.y), ("test", data.y_test)):
        values = np.asarray(y, float).reshape(len(y), -1)
        labels = Labels(values, experiment.loss)
        chance = fit_of(np.broadcast_to(values.mean(0), values.shape), labels)
        if experiment.loss == "mse":
            errors = history.records[f"{part}_loss"].values / chance.chance_loss
        else:
            errors = (1 - history.records[f"{part}_accuracy"].values) / chance.chance
        above = np.flatnonzero(~(errors <= levels[part]))
        begin = above[-1] if part == "test" and len(above) else 0  # it must stay below
        found[part] = float(fall_step(history.steps[begin:], errors[begin:], levels[part]))
    return Steps(found["train"], found["test"])


def trained(experiment: Experiment, late: LateRun, seeds: tuple[int, ...]) -> list[Steps]:
    """The steps of an experiment with each seed."""
    histories = train_many([experiment.changed({"seed": seed}) for seed in seeds])
    return [steps_of(one, late) for one in histories]


def diagnosed(experiment: Experiment, step: int, settings: Settings) -> dict[str, Any]:
    """What is said of a run at a step, and all numbers that the advice is given from."""
    short = experiment.changed({"n_steps": step, "n_evals": 2})
    params, inputs = lz.train(short).params, experiment.sample({})
    scaling, net, data = experiment.scaling, experiment.net, inputs.data
    hyper = {name: getattr(net, name) for name in net.dynamic_hyperparameters}
    predict = lz.scale_output(
        net.predictor(**hyper), inputs.params0, scaling.alpha, center=scaling.center
    )
    rows = [np.asarray(one[:n]) for n, pair in _parts(data) for one in pair]
    probe = ProbeBatch(*rows, loss=experiment.loss)
    network = Network(predict, inputs.params0, probe, settings)
    evidence = network.evidence(params, optimization=optimization_of(experiment))
    found, said = measure(evidence), diagnosis_of(evidence, {})
    return {
        "step": step,
        "regime": str(said.regime),
        "causes": [one.cause for one in said.advice],
        "measurements": numbers_of(found),
        "optimization": asdict(evidence.optimization),
    }


def _parts(data: Any) -> tuple[tuple[int, tuple[Any, Any]], ...]:
    return (N_ROWS, (data.x, data.y)), (N_TEST_ROWS, (data.x_test, data.y_test))


def optimization_of(experiment: Experiment) -> Optimization:
    """Rate and decay as the optimizer has them."""
    optimizer = experiment.optimizer
    rate, decay = optimizer.rate_and_decay(experiment.scaling.alpha)
    return Optimization(rate, decay, optimizer.kind != "gradient_descent")


def numbers_of(found: Measurements) -> dict[str, Any]:
    """The measurements that an advice depends on, as JSON values."""
    assert found.gap is not None
    assert found.kernel is not None
    parts = {
        "gap": list(asdict(found.gap.gap).values()),
        "cosine": list(asdict(found.kernel.cosine).values()),
        **{
            name: None if part is None else list(part)
            for name, part in (
                ("fit0", found.fit0),
                ("fit", found.fit),
                ("test_fit", found.test_fit),
                ("logits0", found.logits0),
                ("logits", found.logits),
                ("lazy_limit", found.lazy_limit),
            )
        },
        "initial_size": found.initial_size,
        "norm_growth": found.norm_growth,
        "gradient_cosine": found.gradient_cosine,
    }
    return json.loads(json.dumps(parts), parse_float=lambda text: float(f"{float(text):.6g}"))


def sooner(before: list[Steps], after: list[Steps], n_steps: int) -> list[float]:
    """How many times sooner the test rows are predicted, with Student's interval over seeds.

    A run that never gets there counts with its last step: less than it is.
    """
    logs = [
        math.log(min(one.test, n_steps) / min(other.test, n_steps))
        for one, other in zip(before, after, strict=True)
    ]
    mean, n = float(np.mean(logs)), len(logs)
    reach = float(stdtrit(n - 1, 0.975) * np.std(logs, ddof=1) / math.sqrt(n))
    return [math.exp(one) for one in (mean, mean - reach, mean + reach)]


def run(late: LateRun, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Train, diagnose, change and train again."""
    base = late.experiment
    before = trained(base, late, seeds)
    said = []
    for seed, steps in zip(seeds, before, strict=True):
        end = min(steps.test, base.n_steps)
        middle = math.ceil(max(steps.fit, math.sqrt(steps.fit * end)))
        said.append(diagnosed(base.changed({"seed": seed}), middle, late.settings))
    changed = {}
    for cause, (what, changes) in late.changes.items():
        after = trained(late.with_changes(changes), late, seeds)
        changed[cause] = {
            "what": what,
            "steps": [_finite(one) for one in after],
            "sooner": sooner(before, after, base.n_steps),
        }
    return {
        "title": late.title,
        "test_level": late.test_level,
        "n_steps": base.n_steps,
        "seeds": list(seeds),
        "steps": [_finite(one) for one in before],
        "diagnoses": said,
        "changes": changed,
    }


def _finite(steps: Steps) -> list[float | None]:
    return [round(one, 1) if math.isfinite(one) else None for one in steps]


def main() -> None:
    """Run what is named, or all; write down after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="*", default=list(RUNS))
    for name in parser.parse_args().runs:
        began = time.process_time()
        one = run(RUNS[name])
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results = {key: {**known, name: one}[key] for key in RUNS if key in {**known, name: one}}
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        causes = [said["causes"][:1] for said in one["diagnoses"]]
        print(name, round(time.process_time() - began), one["steps"], causes, flush=True)
        for cause, change in one["changes"].items():
            print("  ", cause, change["what"], change["steps"], change["sooner"], flush=True)


if __name__ == "__main__":
    main()
