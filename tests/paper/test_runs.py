"""Oracle: panels made by hand, of curves whose crossings, peaks and ends are known."""

import dataclasses

import numpy as np
import pytest

from lazyrich._base import Status
from lazyrich.curves import accuracy_delay, value_at
from lazyrich.paper import _run as paper_run
from lazyrich.paper._figure_spec import Panel
from lazyrich.paper._panels import _over_axes, with_changes
from lazyrich.paper._run_statistics import (
    Run,
    all_at,
    all_delays,
    along,
    by_claim,
    concordances,
    each_run,
    log_slope,
    run_at,
    table,
)
from lazyrich.paper._value import missing, reason_of
from lazyrich.paper._verdict import Claim
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


def panel(axes, **hyperparameters):
    experiments = grid(BASE, {**hyperparameters, "seed": [0, 1]})
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
    assert one.train_loss.dims == ("alpha", "seed", "step")
    assert one.alpha.values == [1.0]
    experiments = grid(BASE, {("n_train", "alpha"): [(5, 1.0), (7, 10.0)], "seed": [0, 1]})
    found = _over_axes(
        to_dataset([outcome_of(history(e)) for e in experiments]), Panel(experiments, ("alpha",))
    )
    assert found.train_loss.dims == ("alpha", "seed", "step")
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
    settings = [one.model_dump() for one in changed["a"].experiments]
    assert [(one["alpha"], one["seed"]) for one in settings] == [(3.0, 0), (3.0, 1)]


def test_all_runs_at_once_are_the_runs_one_by_one():
    runs = panel(("alpha",), alpha=[1.0, 10.0, 100.0])
    found = all_delays(runs)
    for name in found._fields:
        one_by_one = [
            [getattr(run_at(runs, alpha=alpha, seed=seed).delay(), name) for seed in (0, 1)]
            for alpha in (1.0, 10.0, 100.0)
        ]
        np.testing.assert_array_equal(getattr(found, name), one_by_one, err_msg=name)
    steps = np.array([[3.0, np.inf], [50.0, 1.0], [0.0, 1.0]])
    values = all_at(runs, "test_loss", steps)
    for i, alpha in enumerate(runs.alpha.values):
        for j in (0, 1):
            wanted = run_at(runs, alpha=alpha, seed=j).at("test_loss", steps[i, j])
            np.testing.assert_array_equal(values[i, j], wanted)


STEADY = np.ones(5)


def run_of(train, test=STEADY, *, status="ok", steps=STEPS):
    records = {"train_loss": np.asarray(train, float), "test_loss": np.asarray(test, float)}
    return Run(np.asarray(steps), records, status)


def test_where_the_train_loss_never_falls_there_is_no_delay():
    """The ratio was infinite, which met "ratio ≥ 1.5"."""
    untrained = run_of(STEADY)
    assert np.isnan(untrained.delay().ratio)
    assert untrained.delay().ratio.reason == "the train loss did not fall to 0.1 of its start"
    assert untrained.untrained == "the train loss did not fall to 0.9 of its start"
    assert np.isnan(untrained.peak())
    memorised = run_of([1, 1, 1, 0, 0])
    assert memorised.untrained == ""
    assert memorised.delay().ratio == np.inf
    diverged = run_of([1, 1, 1, 0, 0], status="diverged")
    assert diverged.delay().delay.reason == "diverged"


def test_an_accuracy_that_was_there_before_the_first_step_has_no_ratio():
    run = run_of(STEADY)
    run.records.update(train_accuracy=STEADY, test_accuracy=np.array([0, 0, 0, 0, 1.0]))
    assert np.isnan(run.accuracy_delay(0.9, 0.9).ratio)
    assert run.accuracy_delay(0.9, 0.9).delay > 100


@pytest.mark.parametrize(
    "curve, steps, is_at_rest",
    [
        (lambda t: 1 / (1 + t), np.geomspace(1, 1000, 30), False),  # halves, and halves again
        (lambda t: 0.3 + 0.7 / (1 + t), np.geomspace(1, 1000, 30), False),  # 2.3 % at 100
        (lambda t: 0.3 + 0.7 / (1 + t), np.geomspace(1, 10_000, 30), True),  # 0.5 % at 464
        (lambda t: np.exp(-t / 5), np.geomspace(1, 1000, 30), True),  # far below 1 % of its start
        (lambda t: 1 - t / 4, [0, 1, 2], False),  # two steps do not converge
    ],
)
def test_only_a_loss_that_rests_over_the_last_third_of_log_time_has_a_final_value(
    curve, steps, is_at_rest
):
    values = curve(np.asarray(steps, float))
    found = run_of(values, values, steps=steps).converged("test_loss")
    if is_at_rest:
        assert found == values[-1]
    else:
        assert np.isnan(found)
        assert reason_of(found) == "not converged"


LATE = np.geomspace(1, 1000, 30)
AT_MOST = Claim("fig1", "low", "", "", "", high=0.5)
AT_LEAST = Claim("fig1", "high", "", "", "", low=0.5)
BETWEEN = Claim("fig1", "between", "", "", "", low=0.5, high=2.0)


@pytest.mark.parametrize(
    "curve, claim, value",
    [
        (lambda t: 1.0 + 0 * t, AT_MOST, 1.0),  # at rest on either side
        (lambda t: 0.2 + 0 * t, AT_MOST, 0.2),
        (lambda t: t**-0.3, AT_MOST, 1000**-0.3),  # below, and falls on
        (lambda t: t**-0.05, AT_MOST, None),  # above, and may get there
        (lambda t: t**-0.3, AT_LEAST, 1000**-0.3),  # below for good
        (lambda t: t**-0.05, AT_LEAST, None),  # not "never" while it falls
        (lambda t: t**0.1, AT_LEAST, 1000**0.1),  # above, and rises on
        (lambda t: t**0.1, AT_MOST, 1000**0.1),
        (lambda t: 0.1 * t**0.1, AT_LEAST, None),
        (lambda t: t**-0.05, BETWEEN, None),
        (lambda t: t**-0.3, BETWEEN, 1000**-0.3),
        (lambda t: t**0.3, BETWEEN, 1000**0.3),
        (lambda t: 0.3 - 0.1 * np.sin(4 * np.log(t)), AT_MOST, None),  # up and down
    ],
)
def test_a_run_that_still_moves_settles_a_claim_only_where_going_on_cannot_change_it(
    curve, claim, value
):
    """Continued ten thousand times as long, a power law stays on the side that it settled."""
    found = run_of(LATE**-0.01 * 0.9, curve(LATE), steps=LATE).settled("test_loss", claim)
    if value is None:
        assert np.isnan(found)
        assert reason_of(found) == "not converged"
        return
    assert found == pytest.approx(value)
    assert claim.is_met(found) == claim.is_met(float(curve(1e7)))
    moves = curve(LATE)[-1] != curve(LATE)[-2]
    assert reason_of(found).startswith("still ") == moves


def test_a_printed_draw_is_judged_where_the_print_ends():
    run = dataclasses.replace(run_of(LATE**-0.1, LATE**-0.05, steps=LATE), is_printed=True)
    assert run.converged("test_loss") == run.settled("test_loss", AT_MOST) == run.end("test_loss")
    own = panel(("alpha",), alpha=[1.0, 2.0]).assign_attrs(common='{"printed.input_key": 0}')
    assert run_at(own, alpha=1.0, seed=0).is_printed
    assert not run_at(panel(("alpha",), alpha=[1.0, 2.0]), alpha=1.0, seed=0).is_printed


def test_what_was_not_recorded_is_named_and_nothing_else_is_lost():
    runs = panel((), alpha=[1.0]).squeeze()
    found = by_claim(
        runs,
        {
            "end": lambda run: run.end("test_loss"),
            "norm": lambda run: run.relative("weight_norm") / 2,
            "accuracy": lambda run: run.accuracy_delay(0.9, 0.9).ratio,
        },
    )
    assert found["end"] == [0.0, 1.0]
    assert {reason_of(value) for value in found["norm"]} == {"no record of weight_norm"}
    assert {reason_of(value) for value in found["accuracy"]} == {"no record of train_accuracy"}
    rows = concordances(panel(("alpha",), alpha=[1.0, 2.0, 5.0]), "alpha", lambda r: r.end("norm"))
    assert {reason_of(value) for value in rows} == {"no record of norm"}


def test_no_order_is_asked_of_two_runs():
    [first, _] = concordances(panel(("alpha",), alpha=[1.0, 2.0]), "alpha", lambda r: r.steps[-1])
    assert reason_of(first) == "nothing to compare with"


def test_a_slope_needs_values_above_zero():
    assert log_slope([1, 10, 100], [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert reason_of(log_slope([1, 10, 100], [2.0, missing("diverged"), 0.0])) == "diverged"
    assert np.isnan(log_slope([1, 10, 100], [2.0, np.inf, 1.0]))
    assert reason_of(log_slope([1], [2.0])) == "nothing to compare with"


def test_what_was_not_trained_gives_nan_with_a_reason_and_is_left_out_of_orders():
    runs = panel(("alpha",), alpha=[1.0, 2.0, 5.0, 10.0, 100.0])
    found = each_run(runs, lambda run: run.delay().ratio, alpha=100.0)
    assert [reason_of(value) for value in found] == ["diverged", "diverged"]
    [first, second] = concordances(runs, "alpha", lambda run: run.delay().delay)
    assert first == 1.0
    assert reason_of(first) == "without 1 of 5 runs (1 diverged)"
    assert np.isnan(second)  # the second seed's test loss never falls: nothing is in known order
    [_, starts] = concordances(runs, "alpha", lambda run: run.start("test_loss"), untrained=True)
    assert reason_of(starts).startswith("without 1 of 5 runs")


def test_several_statistics_of_a_run_that_failed_are_nan_with_its_reason():
    """One failed seed was an IndexError in Figures 1 and 4."""
    runs = panel((), alpha=[1.0])
    runs.train_loss.loc[{"seed": 1}] = np.nan
    runs["status"] = runs.status.astype("U8")
    runs.status.loc[{"seed": 1}] = "failed"

    several = {"first": lambda run: run["train_loss"][0], "peak": Run.peak}
    found = by_claim(runs.squeeze(), several)
    assert found["first"][0] == 1
    assert found["peak"][0] == pytest.approx(1.5)
    assert {reason_of(found[name][1]) for name in found} == {"failed"}
    alone = run_at(runs.squeeze(), seed=1)
    assert np.isnan(alone.delay().delay)
    assert np.isnan([alone.start("train_loss"), alone.end("train_loss")]).all()


def test_a_value_that_no_run_has_is_a_missing_run():
    run = run_at(panel(("alpha",), alpha=[1.0, 2.0]), alpha=3.0, seed=0)
    assert run.status == "missing"
    assert np.isnan(run.end("test_loss"))
    assert reason_of(run.end("test_loss")) == "no such run"


def test_what_is_read_off_a_run_is_what_its_own_records_give_and_few_lengths_are_compiled():
    """Every length of a run that ended early was a program of its own to compile."""
    random = np.random.default_rng(0)
    before = paper_run._accuracy_delay._cache_size()  # ty: ignore[missing-attribute]
    for n in (*range(2, 11), 63, 64, 65, 100, 101, 127, 128):
        steps = np.unique(np.geomspace(1, 1e4, 2 * n).round())[: n - 1]
        steps = np.concatenate([[0], steps]).astype(int)
        rising = np.sort(random.uniform(0.3, 1, (2, len(steps))), axis=1)
        falling = np.sort(random.uniform(0.01, 1, (2, len(steps))), axis=1)[:, ::-1]
        records = dict(zip(("train_accuracy", "test_accuracy"), rising, strict=True))
        records |= dict(zip(("train_loss", "test_loss"), falling, strict=True))
        run = Run(steps, records, "ok")
        found = run.accuracy_delay(0.5, 0.9)
        wanted = accuracy_delay(steps, *rising, train_level=0.5, test_level=0.9)
        assert found.train_step == pytest.approx(float(wanted.train_step), rel=1e-6)
        assert found.test_step == pytest.approx(float(wanted.test_step), rel=1e-6)
        assert run.at("test_loss", float(steps[-1])) == pytest.approx(falling[1, -1], rel=1e-6)
        assert run.at("test_loss", 1e9) == pytest.approx(falling[1, -1], rel=1e-6)
        assert run.at("test_loss", 0.5) == pytest.approx(
            float(value_at(steps, falling[1], 0.5)), rel=1e-6
        )
    after = paper_run._accuracy_delay._cache_size()  # ty: ignore[missing-attribute]
    assert after - before <= 2
