"""Early warnings and the delay law on recorded runs, against baselines; nothing is trained.

Reads a store (those that ``lazyrich reproduce`` leaves). Of every run whose training rows are
fitted before the test rows, detectors see the records from the start to an evaluation
between; an alarm is the first score above a level, after the fit. The level of each is set
on half of the runs (by key) to at most 10 % of false alarms in runs that do not generalise
by their end, and scored on the other half: share of runs with an alarm before they
generalise, lead time in factors of the step, false alarms. No detector sees the test rows.

    python benchmarks/diagnosis/forecast.py STORE
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lazyrich import sweeps
from lazyrich.diagnosis import decay_steps, hankel_residual, log_slope, roughness

RESULTS = Path(__file__).parent / "results" / "forecast.json"
WINDOW, MOST_FALSE, LATE = 12, 0.1, 1.5


class Run(NamedTuple):
    """A run that has fitted, from the first evaluation after step 0."""

    group: str
    settings: str  # all but the seed
    is_first_half: bool
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    fit: int
    event: int | None
    law: tuple[float, float] | None  # rate, decay


def level_step(values: np.ndarray, level: float, *, is_falling: bool) -> int | None:
    """The first place at which a curve is at its level."""
    is_there = values <= level if is_falling else values >= level
    return int(is_there.argmax()) if is_there.any() else None


def run_of(outcome: Any) -> Run | None:
    """A run that fits its training rows before its test rows; None if it does not."""
    curves = {k: np.asarray(r.values, float) for k, r in outcome.records.items()}
    curves = {k: v for k, v in curves.items() if v.ndim == 1}
    if len(outcome.steps) < 40 or "weight_norm" not in curves:
        return None
    if "train_accuracy" in curves:
        fit, event = (
            level_step(curves[f"{part}_accuracy"], 0.95, is_falling=False)
            for part in ("train", "test")
        )
    else:
        level = 0.1 * curves["train_loss"][0]
        fit, event = (
            level_step(curves[f"{part}_loss"], level, is_falling=True) for part in ("train", "test")
        )
    steps = np.asarray(outcome.steps)
    if fit is None or fit < WINDOW or fit > len(steps) - 5:
        return None
    if event is not None and steps[event] < LATE * steps[fit]:
        return None  # not late
    config = json.loads(outcome.config)
    task, optimizer = config.get("task"), config.get("optimizer", {})
    group = "committee machine" if task is None else f"{task['kind']}, {config['net']['kind']}"
    law = None
    if optimizer.get("weight_decay"):
        power = {"inverse_square": 2, "inverse": 1, "fixed": 0}[optimizer["learning_rate_rule"]]
        scale = config["scaling"]["alpha"] ** power
        decay = optimizer["weight_decay"] * (scale if optimizer.get("matched_decay") else 1)
        law = (optimizer["learning_rate"] / scale, decay)
    config.pop("seed", None)
    return Run(
        group,
        json.dumps(config, sort_keys=True),
        int(outcome.key[:8], 16) % 2 == 0,
        steps[1:],
        {k: v[1:] for k, v in curves.items()},
        fit - 1,
        None if event is None else event - 1,
        law,
    )


def window(run: Run, name: str, k: int) -> np.ndarray:
    """The last values of a curve up to an evaluation, on a log scale for positive ones."""
    values = run.curves[name][max(0, k - WINDOW + 1) : k + 1]
    return np.log(np.maximum(values, 1e-30))


def norm_slope(run: Run, k: int) -> float:
    """The baseline: how fast the parameter norm moves."""
    half = run.steps[max(0, k - WINDOW + 1) : k + 1]
    return abs(log_slope(half, window(run, "weight_norm", k)))


def loss_spectrum(run: Run, k: int) -> float:
    """How rough the training loss is."""
    return roughness(window(run, "train_loss", k))


def alignment_slope(run: Run, k: int) -> float:
    """How fast the kernel aligns with the labels, or parameters move where that is unknown."""
    known = ("population_centered_alignment", "debiased_alignment", "parameter_change")
    name = next((one for one in known if one in run.curves), None)
    if name is None:
        return math.nan
    steps = run.steps[max(0, k - WINDOW + 1) : k + 1]
    values = run.curves[name][max(0, k - WINDOW + 1) : k + 1]
    return abs(log_slope(steps, values)) / (float(np.abs(values).max()) or 1.0)


def dmd_residual(run: Run, k: int) -> float:
    """How badly linear dynamics predict the next norm and loss."""
    return max(hankel_residual(window(run, name, k)) for name in ("weight_norm", "train_loss"))


DETECTORS: dict[str, Callable[[Run, int], float]] = {
    "slope of the norm (baseline)": norm_slope,
    "spectrum of the training loss": loss_spectrum,
    "slope of the alignment": alignment_slope,
    "residual of linear dynamics (Hankel-DMD)": dmd_residual,
}


def scores(run: Run, detector: Callable[[Run, int], float]) -> np.ndarray:
    """Scores from the fit to the event or the end; NaN where there is none."""
    last = len(run.steps) if run.event is None else run.event
    found = []
    for k in range(run.fit, last):
        try:
            found.append(detector(run, k))
        except (ValueError, ArithmeticError):  # too short, or not finite
            found.append(math.nan)
    return np.array(found)


def scored(runs: list[Run], detector: Callable[[Run, int], float]) -> dict[str, Any]:
    """Set the level on one half and score the other."""
    all_scores = [scores(run, detector) for run in runs]
    usable = [
        (run, s) for run, s in zip(runs, all_scores, strict=True) if len(s) and np.isfinite(s).any()
    ]
    peaks = [np.nanmax(s) for run, s in usable if run.event is None and run.is_first_half]
    if len(peaks) < 5:
        return {"n": len(usable), "why": "fewer than five runs that do not generalise"}
    level = float(np.quantile(peaks, 1 - MOST_FALSE))
    false = [bool((s > level).any()) for run, s in usable if run.event is None]
    tests = [run.is_first_half for run, s in usable if run.event is None]
    leads, n_late = [], 0
    for run, s in usable:
        if run.event is None or run.is_first_half:
            continue
        n_late += 1
        alarms = np.flatnonzero(s > level)
        if len(alarms):
            leads.append(float(run.steps[run.event] / run.steps[run.fit + alarms[0]]))
    of_test = [one for one, is_first in zip(false, tests, strict=True) if not is_first]
    return {
        "n": len(usable),
        "n_late": n_late,
        "detected": len(leads) / n_late if n_late else None,
        "median_lead": float(np.median(leads)) if leads else None,
        "n_never": len(of_test),
        "false_alarms": float(np.mean(of_test)) if of_test else None,
    }


def delay_law(runs: list[Run]) -> dict[str, Any]:
    """Remaining steps from the fit: by the law, with the norm that other seeds needed."""
    groups = defaultdict(list)
    for run in runs:
        if run.law is not None and run.event is not None:
            groups[run.settings].append(run)
    errors: dict[str, list[float]] = defaultdict(list)
    n_zero = 0
    for same in groups.values():
        for run in same:
            others = [other for other in same if other is not run]
            if not others:
                continue
            truth = run.steps[run.event] - run.steps[run.fit]
            needed = np.median([other.curves["weight_norm"][other.event] for other in others])
            rate, decay = run.law
            law = decay_steps(
                float(run.curves["weight_norm"][run.fit]),
                float(needed),
                learning_rate=rate,
                weight_decay=decay,
            )
            n_zero += law == 0
            seeds = np.median(
                [other.steps[other.event] - other.steps[other.fit] for other in others]
            )
            errors["law"].append(abs(math.log10(max(law, 1.0) / truth)))
            errors["other seeds"].append(abs(math.log10(seeds / truth)))
            errors["as long as the fit took"].append(abs(math.log10(run.steps[run.fit] / truth)))
    return {
        "n": len(errors["law"]),
        "n_zero": n_zero,
        "median_error": {k: float(10 ** np.median(v)) for k, v in errors.items()},
        "worse_than_seeds": float(
            np.mean(np.array(errors["law"]) > np.array(errors["other seeds"]))
        ),
    }


def main() -> None:
    """Score and write down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    outcomes = sweeps.find(parser.parse_args().store, ["status!=failed"])
    runs = [run for run in map(run_of, outcomes) if run is not None]
    groups = defaultdict(list)
    for run in runs:
        groups[run.group].append(run)
    result = {
        "n_stored": len(outcomes),
        "n_fitted": len(runs),
        "n_late": sum(run.event is not None for run in runs),
        "detectors": {
            group: {name: scored(some, one) for name, one in DETECTORS.items()}
            for group, some in {**groups, "all": runs}.items()
        },
        "groups": {
            group: [len(some), sum(run.event is not None for run in some)]
            for group, some in groups.items()
        },
        "delay_law": delay_law(runs),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
