"""Oracle: panels written down by hand, whose falls, ends and gaps are known."""

import json

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper._value import reason_of
from lazyrich.paper.figures._fig3 import FIG3, plot, statistics
from lazyrich.plots import figure_style

INF, NAN = float("inf"), float("nan")
STEPS = np.array([0, *(2**k for k in range(13))])  # at rest over the last third
ALPHAS, EPSILONS, SEEDS = [0.1, 1.0, 10.0, 100.0], [0.01, 0.1, 1.0], [0, 1, 2]


def falling(at, end):
    """A loss of one that falls to a tenth at a record, and ends where it is told."""
    return np.where(STEPS >= 128, end, np.where(at <= STEPS, 0.1, 1.0))


def panel(axes, train_falls, test_falls, ends, **more):
    """Panels whose runs fall at given records; every seed has the same curves."""
    shape = tuple(len(values) for values in axes.values())
    curves = {name: np.empty((*shape, len(SEEDS), len(STEPS))) for name in ("train", "test")}
    for place in np.ndindex(shape):
        curves["train"][place] = falling(train_falls[place], 0.0)
        curves["test"][place] = falling(test_falls[place], ends[place])
    dims = (*axes, "seed")
    records = {f"{name}_loss": curve for name, curve in curves.items()}
    records |= {name: np.broadcast_to(v, curves["test"].shape).copy() for name, v in more.items()}
    return xr.Dataset(
        {name: ((*dims, "step"), values) for name, values in records.items()}
        | {"status": (dims, np.full((*shape, len(SEEDS)), "ok", dtype=object))},
        {**axes, "seed": SEEDS, "step": STEPS},
        {"common": json.dumps({"dynamics": "flow"})},
    )


MOVED = {"change_inside": STEPS / 100, "change_outside": STEPS / 200}
LEAVES = np.array([2, 4, 8])
LINEARIZED = {"linearized_train_loss": 1.0, "kernel_regression_loss": 0.5}


@pytest.fixture
def panels():
    along_alpha = panel(
        {"alpha": ALPHAS},
        np.array([2, 2, 2, 2]),
        np.array([2, 4, 16, INF]),
        np.array([0.01, 0.02, 0.05, 0.55]),
        linearized_test_loss=1.0,
        **LINEARIZED,
        **MOVED,
    )
    # The train loss falls at 8 in all runs, so that ratios have the order of delays.
    along_epsilon = panel(
        {"alpha": [0.5, 1.0], "epsilon": EPSILONS},
        np.full((2, 3), 8),
        np.array([[64, 32, 16], [64, 32, 16]]),
        np.array([[0.01, 0.02, 0.05], [0.05, 0.02, 0.01]]),
        # Left by 0.1 at step 2, 4 and 8 of the three ε; its train loss there is below.
        linearized_test_loss=np.where(LEAVES[:, None] <= STEPS, 1.1, 1.0)[None, :, None, :],
        population_centered_alignment=np.array([0.1, 0.2, 0.3])[None, :, None, None],
        difficulty=np.array([30.0, 20.0, 10.0])[None, :, None, None],
        kernel_distance=np.array([3.0, 4.0, 1.0])[None, :, None, None],
        **LINEARIZED,
        **MOVED,
    )
    along_epsilon["train_loss"].loc[{"epsilon": EPSILONS[0], "step": 2}] = 0.9
    along_epsilon["train_loss"].loc[{"epsilon": EPSILONS[1], "step": 4}] = 0.8
    along_epsilon["train_loss"].loc[{"epsilon": EPSILONS[2], "step": 8}] = 0.05
    # Rows: α; columns: ε. One cell is censored, one neighbour in ε is out of order.
    test_falls = np.array([[16, 8, 4], [32, 16, 32], [64, 32, INF], [128, 64, INF]])
    over_both = panel(
        {"alpha": ALPHAS, "epsilon": EPSILONS},
        np.full((4, 3), 2),
        test_falls,
        np.where(np.isinf(test_falls), 0.5, 0.1),
        kernel_distance=STEPS / np.array(ALPHAS)[:, None, None, None],
    )
    return {"alpha": along_alpha, "epsilon": along_epsilon, "map": over_both}


def test_each_statistic_is_the_one_written_down(panels):
    found = statistics(panels)
    expected = {
        "delay grows with alpha": 1.0,
        "delay grows with alpha at half": 1.0,
        "delay vanishes at small alpha": 0.0,
        "ratio vanishes at small alpha": 1.0,
        "final loss grows with alpha": 1.0,
        "large alpha approaches kernel regression": 1.1,
        "small epsilon delays longer": -1.0,
        "small epsilon delays longer relative to training": -1.0,
        "small epsilon has a lower final loss": 1.0,
        "epsilon sets the lazy plateau": 1.0,
        "small epsilon delays longer, alpha 1": -1.0,
        "small epsilon delays longer relative to training, alpha 1": -1.0,
        "small epsilon has a lower final loss, alpha 1": -1.0,
        "epsilon sets the lazy plateau, alpha 1": 1.0,
        "epsilon increases the initial alignment": 1.0,
        # Of difficulties 30, 20, 10 and distances 3, 4, 1 two pairs agree, one does not.
        "kernel change grows with difficulty": 1 / 3,
        "map ordered in alpha": 1.0,
        # 4 rows of 2 pairs; the second, third and fourth row have a wrong last pair.
        "map ordered in epsilon": 5 / 8,
        "kernel change at the fit falls with alpha": 1.0,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx([value] * 3, abs=1e-6, nan_ok=True), name


def test_a_missing_run_is_left_out_and_the_others_are_not(panels):
    gone = {"alpha": 10.0, "seed": 1}
    for name in ("train_loss", "test_loss"):
        panels["alpha"][name].loc[gone] = NAN
    panels["alpha"].status.loc[gone] = "missing"
    found = statistics(panels)
    assert found["delay grows with alpha"] == [1.0, 1.0, 1.0]
    assert "1 no such run" in reason_of(found["final loss grows with alpha"][1])


def test_a_loss_that_has_not_come_to_rest_has_no_final_value(panels):
    """The order of ends was read off runs that were still falling."""
    late = STEPS[-1] == STEPS
    panels["epsilon"]["train_loss"] = np.maximum(panels["epsilon"].train_loss, 1e-6)
    moving = panels["epsilon"].test_loss
    moving.loc[{"seed": 2}] = np.where(late, 0.9, 1) * moving.sel(seed=2)
    found = statistics(panels)["small epsilon has a lower final loss"]
    assert found[:2] == [1.0, 1.0]
    assert np.isnan(found[2])
    assert reason_of(found[2]) == "without 3 of 3 runs (3 not converged)"


def test_the_ratio_of_a_run_that_is_there_is_measured(panels):
    found = statistics(panels)
    assert found["ratio vanishes at small alpha"] == [1.0, 1.0, 1.0]


def test_a_preset_without_the_unknown_panel_has_every_claim_and_is_drawn(panels):
    del panels["epsilon"]
    found = statistics(panels)
    assert np.isnan(found["small epsilon delays longer"]).all()
    assert found["map ordered in alpha"] == [1.0] * 3
    with figure_style():
        assert len(plot(panels, "caption").axes) >= 6


def test_a_map_of_fewer_seeds_gives_as_many_values(panels):
    panels["map"] = panels["map"].sel(seed=[0, 2])
    assert statistics(panels)["map ordered in alpha"] == [1.0, 1.0]


def test_censored_cells_are_hatched_and_counted(panels):
    with figure_style():
        figure = plot(panels, "caption")
    (e,) = (axes for axes in figure.axes if axes.get_title(loc="left") == "(e) time to grok")
    assert sum(patch.get_hatch() is not None for patch in e.patches) == 2
    assert any("6 of 36 runs" in text.get_text() for text in e.texts)
    curves = figure.axes[0].get_legend_handles_labels()[1]
    assert "α = 0.1" in curves
    assert "regression with $K_0$" in curves


def test_the_map_of_the_paper_is_large_and_of_five_seeds():
    whole = FIG3.panels("paper", range(24))
    runs = whole["map"].experiments
    assert len(runs) == 14 * 14 * 5
    assert {one.model_dump()["alpha"] for one in runs} == {round(0.4 * k, 1) for k in range(1, 15)}
    assert {one.model_dump()["seed"] for one in whole["alpha"].experiments} == set(range(24))
