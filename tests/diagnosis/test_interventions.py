"""Oracle: late runs trained again with what was advised: they generalise sooner."""

import importlib
import json
from pathlib import Path

import pytest

from lazyrich.diagnosis import (
    Estimate,
    Fit,
    KernelChange,
    LinearizationGap,
    Measurements,
    Optimization,
    advise,
    decide,
)
from lazyrich.diagnosis._advice import Case
from lazyrich.diagnosis._estimate import UNDEFINED
from lazyrich.diagnosis._lazy_limit import LazyLimit
from lazyrich.diagnosis._logits import Logits

FOLDER = Path(__file__).parents[2] / "benchmarks" / "diagnosis"
RUNS = json.loads((FOLDER / "results" / "interventions.json").read_text(encoding="utf-8"))
KINDS = {"fit": Fit, "fit0": Fit, "test_fit": Fit, "logits": Logits, "logits0": Logits}


def measurements_of(stored):
    """The measurements that were written down."""
    kept = dict(stored)
    gap, cosine = Estimate(*kept.pop("gap")), Estimate(*kept.pop("cosine"))
    for name, kind in (KINDS | {"lazy_limit": LazyLimit}).items():
        kept[name] = None if kept[name] is None else kind(*kept[name])
    rest = (UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED)
    kernel = KernelChange(cosine, float("nan"), *rest, is_exact=True)
    return Measurements(gap=LinearizationGap(gap, {}, 0.0), kernel=kernel, **kept)


@pytest.mark.parametrize("name", RUNS)
def test_the_stored_diagnoses_are_those_of_the_present_rules(name):
    for said in RUNS[name]["diagnoses"]:
        found = measurements_of(said["measurements"])
        verdict = decide(found.gap.gap, found.kernel.cosine)
        assert str(verdict.regime) == said["regime"]
        advice = advise(Case(found, verdict, Optimization(**said["optimization"])))
        assert [one.cause for one in advice] == said["causes"]


@pytest.mark.parametrize("name", RUNS)
def test_what_was_advised_made_the_run_sooner_and_more_so_than_the_control(name):
    run = RUNS[name]
    [cause] = {said["causes"][0] for said in run["diagnoses"]}
    assert len(run["seeds"]) >= 3
    assert all(test is None or test > 1.2 * fit for fit, test in run["steps"])  # it is late
    mean, low, _ = run["changes"][cause]["sooner"]
    others = [one["sooner"][0] for other, one in run["changes"].items() if other != cause]
    assert low > 1
    assert others
    assert mean > max(others)


def test_there_are_six_kinds():
    assert set(RUNS) == {"polynomial", "parity", "modular", "transformer", "teacher", "mnist"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "polynomial", "parity"])
def test_other_seeds_say_so_too(name, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    interventions = importlib.import_module("interventions")
    found = interventions.run(interventions.RUNS[name], (30, 31, 32))
    [cause] = {said["causes"][0] for said in found["diagnoses"]}
    assert found["changes"][cause]["sooner"][0] > 1.2
    others = [one["sooner"][0] for other, one in found["changes"].items() if other != cause]
    assert found["changes"][cause]["sooner"][0] > max(others)
