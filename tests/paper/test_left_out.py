"""Oracle: the recorded results themselves: a value is what it was, or NaN that says why."""

import math
from pathlib import Path

import numpy as np
import pytest

from lazyrich.paper import CLAIMS, FIGURES
from lazyrich.paper._files import read_panels
from lazyrich.paper._reproduce import _judged
from lazyrich.paper._verdict import LEFT_OUT

RESULTS = Path(__file__).parents[2] / "results"
ALWAYS = {"train_loss", "test_loss", "status", "wall_seconds", "key"}
CHEAP = {"fig1", "fig4", "fig8", "fig14", "fig16", "fig17", "fig18"}
FIGURE = pytest.mark.parametrize(
    "figure",
    [name if name in CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES],
)


def recorded(figure, preset="paper", *, n_seeds=1):
    """The recorded panels of a figure, of the first seeds."""
    found = read_panels((RESULTS / preset / f"{figure}.nc").read_bytes())
    order = FIGURES[figure].panels(preset, (0,))
    return {name: as_measured(found[name].isel(seed=slice(n_seeds))) for name in order}


def as_measured(panel):
    """In double precision; the files hold single."""
    single = [name for name in panel.data_vars if panel[name].dtype == np.float32]
    return panel.assign({name: panel[name].astype(float) for name in single})


def values_of(figure, panels, *, is_one_draw=False):
    """Values, reasons and outcomes by claim; no statistic may fail."""
    n_seeds = max(panel.sizes["seed"] for panel in panels.values())
    verdicts, faults = _judged(FIGURES[figure], panels, range(n_seeds), is_one_draw=is_one_draw)
    assert faults == []
    assert [one.claim.name for one in verdicts] == [c.name for c in CLAIMS if c.figure == figure]
    for verdict in verdicts:
        for value, reason in zip(verdict.values, verdict.reasons, strict=True):
            assert reason or not math.isnan(value), verdict.claim.name
    return {one.claim.name: one for one in verdicts}


def changed(panels, change):
    return {name: change(panel) for name, panel in panels.items()}


def bare(panel):
    """Without metrics, the losses alone are recorded."""
    return panel.drop_vars([name for name in panel.data_vars if name not in ALWAYS])


@FIGURE
def test_without_its_records_a_claim_is_not_computed_and_the_others_are_as_they_were(figure):
    """One record that was left out cost every verdict of the figure."""
    panels = recorded(figure)
    before, after = values_of(figure, panels), values_of(figure, changed(panels, bare))
    for name, verdict in after.items():
        [now], [then] = verdict.values, before[name].values
        assert math.isnan(now) or now == pytest.approx(then, rel=1e-6), name
        if math.isnan(now) and not math.isnan(then):
            assert verdict.reasons[0].startswith(("no record of ", "without ", "the ")), verdict


@FIGURE
def test_cut_short_failed_or_never_run_no_claim_is_decided_and_each_says_why(figure):
    panels = recorded(figure)

    def cut(panel):
        return panel.isel(step=slice(2)) if "step" in panel.dims else panel

    def failed(panel, status="failed"):
        kept = panel.where(False).drop_vars(["status", "key"], errors="ignore")
        return kept.assign(status=panel.status.copy(data=np.full(panel.status.shape, status)))

    values_of(figure, changed(panels, cut))
    for verdict in values_of(figure, changed(panels, failed)).values():
        assert all(math.isnan(value) for value in verdict.values)
        assert verdict.outcome == "undecided", verdict
    never = changed(panels, lambda panel: failed(panel, "missing"))
    for verdict in values_of(figure, never).values():
        assert verdict.outcome in LEFT_OUT, verdict


@FIGURE
def test_one_value_along_an_axis_is_measured_or_is_nothing_to_compare_with(figure):
    """``--set`` on the setting that a figure varies leaves one value of it."""
    panels = recorded(figure)
    for axis in {str(dim) for panel in panels.values() for dim in panel.status.dims} - {"seed"}:

        def one(panel, axis=axis):
            return panel.isel({axis: [0]}) if axis in panel.status.dims else panel

        values_of(figure, changed(panels, one))


@pytest.mark.slow
@pytest.mark.parametrize("figure", [name for name in FIGURES if "authors" in FIGURES[name].n_seeds])
def test_the_printed_runs_alone_judge_every_claim_that_they_show(figure):
    panels = recorded(figure, "authors")
    for verdict in values_of(figure, panels, is_one_draw=True).values():
        assert verdict.outcome in ("met", "not met", "no printed run"), verdict
    left = values_of(figure, changed(panels, bare), is_one_draw=True)
    assert {one.outcome for one in left.values()} <= {
        "met",
        "not met",
        "no printed run",
        "not computed",
        "undecided",
    }
