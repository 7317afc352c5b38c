"""Oracle: products and scales computed by hand from rows that are made by hand."""

import numpy as np
import pytest

from lazyrich.race import (
    CONTROLS,
    Interval,
    Results,
    control_trials,
    controls_of,
    run_controls,
    smoke_edition,
    summarize,
    tuning_trials,
    winners,
)
from lazyrich.race._plan import fresh_trials

TASK = "addition_mlp"


def published(results, arm, settings, *, time, scale):
    """A search and its fresh runs, all at one time."""
    edition = results.edition
    [searched] = tuning_trials(edition, TASK, arm)
    tuning = row(searched, time, scale) | {"settings": settings}
    fresh = [
        row(one, time + one.index, scale) for one in fresh_trials(edition, TASK, arm, [tuning])
    ]
    results.publish(TASK, arm, [tuning, *fresh])


def row(one, time, scale):
    optimizer, alpha = one.trial.experiment.optimizer, one.trial.experiment.scaling.alpha
    found = {name: getattr(one, name) for name in ("task", "arm", "phase", "study", "index", "key")}
    return found | {
        "seed": one.trial.experiment.seed,
        "settings": one.settings,
        "edition": one.trial.edition,
        "status": "ok",
        "time": time,
        "fit_time": 10,
        "max_steps": 40,
        "last_step": 60,
        "wall_seconds": 1.0,
        "gradient_evaluations": 60.0,
        "machine": "one",
        "rate_times_decay": optimizer.learning_rate / alpha * optimizer.weight_decay,
        "at_start": {"logit_scale": scale, "weight_norm": 2.0},
        "at_fit": {"logit_scale": scale, "weight_norm": 4.0},
        "at_end": {"final_test_accuracy": 0.9},
    }


@pytest.fixture
def results(tmp_path):
    found = Results(tmp_path, smoke_edition())
    common = {"optimizer.batch_size": None}
    base = {"optimizer.learning_rate": 0.01, "optimizer.weight_decay": 0.5, **common}
    arm = {"optimizer.learning_rate": 0.02, "optimizer.weight_decay": 2.0, **common}
    published(found, "adamw", base, time=30, scale=0.4)
    published(found, "alpha", {**arm, "scaling.alpha": 0.25}, time=10, scale=0.1)
    return found


def test_controls_have_the_product_and_the_scale_that_they_are_to_have(results):
    planned = control_trials(results, TASK, "alpha")
    by_name = {name: [one for one in planned if one.phase == name] for name in CONTROLS}
    same, scaled, kernel = (by_name[name][0].trial for name in CONTROLS)
    optimizer, alpha = same.experiment.optimizer, same.experiment.scaling.alpha
    assert alpha == 0.25
    np.testing.assert_allclose(optimizer.learning_rate / alpha * optimizer.weight_decay, 0.005)
    assert scaled.experiment.scaling.alpha == pytest.approx(0.1 / 0.4)
    assert scaled.experiment.optimizer.learning_rate == 0.01
    assert scaled.experiment.optimizer.learning_rate_rule == "fixed"
    assert kernel.n_kernel_rows == 50
    assert len({one.key for one in planned}) == len(planned)


def test_a_winner_needs_the_interval_and_the_test(results):
    found = summarize(results, TASK)
    assert found["alpha"].speed_up.value == pytest.approx(30.5 / 10.5)
    assert winners(found) == []  # two seeds: p is at least one half
    sure = found["alpha"]._replace(p_value=0.01)
    assert winners({"alpha": sure}) == ["alpha"]
    wide = sure._replace(speed_up=Interval(2.0, 0.9, 3.0))
    assert winners({"alpha": wide}) == []


@pytest.mark.slow
def test_controls_run_and_are_published(results, monkeypatch, tmp_path):
    monkeypatch.setattr("lazyrich.race._controls.winners", lambda found: ["alpha"][: len(found)])
    run_controls(results, store=tmp_path / "store", progress=False)
    found = {one.name: one for one in controls_of(results, TASK, "alpha")}
    assert set(found) >= set(CONTROLS[:2])
    assert len(results.rows("controls", f"{TASK}-alpha")) == 6
