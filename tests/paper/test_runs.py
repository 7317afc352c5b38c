"""Oracle: panels made by hand, of curves whose crossings, peaks and ends are known."""

import numpy as np
import pytest

from lazyrich._ground import Status
from lazyrich.paper._panels import _over_axes, with_changes
from lazyrich.paper._recipe import Panel
from lazyrich.paper._runs import all_at, all_delays, along, each_run, run_at, table
from lazyrich.sweeps import grid, outcome_of, to_dataset
from lazyrich.training import CommitteeExperiment, History, Record

STEPS = np.array([0, 1, 10, 100, 1000])
BASE = CommitteeExperiment(dim=3, width=4, n_train=5, n_steps=1000)


def history(experiment):
    """Train falls at step α, test at 10 α; the second seed's test loss never falls."""
    fell = (experiment.alpha <= STEPS) & (STEPS > 0)
    late = (10 * experiment.alpha <= STEPS) & (STEPS > 0) & (experiment.seed == 0)
    train = np.where(fell, 0.0, 1.0)
    test = np.where(late, 0.0, 1.0 + 0.5 * (STEPS == 1))
    status = Status.diverged if experiment.alpha == 100 else Status.ok
    if status == Status.diverged:
        train = np.where(STEPS < 10, train, np.nan)
    records = {
        "train_loss": Record(train, "label units²"),
        "test_loss": Record(test, "label units²"),
    }
    return History(experiment, STEPS, records, status, None, 0.0)


def panel(axes, **dials):
    experiments = grid(BASE, {**dials, "seed": [0, 1]})
    made = Panel(experiments, axes)
    return _over_axes(to_dataset([outcome_of(history(one)) for one in experiments]), made)


def test_delays_peaks_and_ends_of_a_run():
    runs = panel(("alpha",), alpha=[1.0, 10.0])
    run = run_at(runs, alpha=10.0, seed=0)
    delay = run.delay()
    # Linear in log step between 1 and 10: a tenth is reached at 10^0.9 of the way.
    assert delay.train_step == pytest.approx(10**0.9)
    assert delay.ratio == pytest.approx(10)
    assert run.peak() == pytest.approx(1.5)
    assert run.end("test_loss") == 0
    assert run.at("test_loss", 100.0) == 0
    assert np.isnan(run.at("test_loss", np.inf))
    assert each_run(runs, lambda one: one.delay().ratio, alpha=1.0)[1] == np.inf


def test_a_diverged_run_has_no_end_but_keeps_its_start():
    run = run_at(panel(("alpha",), alpha=[100.0, 1.0]), alpha=100.0, seed=0)
    assert run.status == "diverged"
    np.testing.assert_array_equal(run.steps, [0, 1])
    assert run.start("test_loss") == 1
    assert np.isnan(run.end("test_loss"))


def test_axes_stay_axes_with_one_value_and_when_another_setting_follows_them():
    one = panel(("alpha",), alpha=[1.0])
    assert one.train_loss.dims == ("alpha", "seed", "save_step")
    assert one.alpha.values == [1.0]
    experiments = grid(BASE, {("n_train", "alpha"): [(5, 1.0), (7, 10.0)], "seed": [0, 1]})
    found = _over_axes(
        to_dataset([outcome_of(history(e)) for e in experiments]), Panel(experiments, ("alpha",))
    )
    assert found.train_loss.dims == ("alpha", "seed", "save_step")
    assert found.alpha.values.tolist() == [1.0, 10.0]


def test_tables_have_a_row_for_each_seed_and_nan_where_no_run_is():
    experiments = grid(BASE, {"alpha": [1.0, 10.0], "epsilon": [0.1, 0.2], "seed": [0, 1]})[:-1]
    outcomes = [outcome_of(history(one)) for one in experiments]
    runs = _over_axes(to_dataset(outcomes), Panel(experiments, ("alpha", "epsilon")))

    def ends(run):
        return run.end("test_loss")

    maps = table(runs, ("alpha", "epsilon"), ends)
    np.testing.assert_array_equal(maps, [[[0, 0], [0, 0]], [[1, 1], [1, np.nan]]])
    np.testing.assert_array_equal(along(runs, "epsilon", ends, alpha=10.0), maps[:, 1])


def test_changes_reach_every_experiment_that_has_the_setting_and_merge_equal_ones():
    panels = {"a": Panel(grid(BASE, {"alpha": [1.0, 2.0], "seed": [0, 1]}), ("alpha",))}
    changed, unknown = with_changes(panels, {"alpha": "3", "beta": "1"})
    assert unknown == {"beta"}
    assert [(one.alpha, one.seed) for one in changed["a"].experiments] == [(3.0, 0), (3.0, 1)]


def test_all_runs_at_once_are_the_runs_one_by_one():
    runs = panel(("alpha",), alpha=[1.0, 10.0, 100.0])
    found = all_delays(runs)
    for name in found._fields:
        one_by_one = along(runs, "alpha", lambda run, name=name: getattr(run.delay(), name)).T
        np.testing.assert_array_equal(getattr(found, name), one_by_one, err_msg=name)
    steps = np.array([[3.0, np.inf], [50.0, 1.0], [0.0, 1.0]])
    values = all_at(runs, "test_loss", steps)
    for i, alpha in enumerate(runs.alpha.values):
        for j in (0, 1):
            wanted = run_at(runs, alpha=alpha, seed=j).at("test_loss", steps[i, j])
            np.testing.assert_array_equal(values[i, j], wanted)
