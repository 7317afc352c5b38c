"""Oracle: curves whose crossings, peaks and shares are known by hand (Figures 9, 10, 14)."""

import json

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper._claims import claims_of
from lazyrich.paper.figures import _fig9, _fig10, _fig14

STEPS = np.array([0, 1, 10, 100, 1000])
SEEDS = (0, 1)


def panel(axis, values, records, **common):
    """Equal seeds; ``records`` gives from a value along the axis the curves by name."""
    curves = [records(value) for value in values]
    dims = (axis, "seed", "step")
    stacked = {
        name: (dims, np.stack([np.stack([np.asarray(one[name], float)] * 2) for one in curves]))
        for name in curves[0]
    }
    status = (dims[:2], np.full((len(values), 2), "ok"))
    coords = {axis: list(values), "seed": list(SEEDS), "step": STEPS}
    return xr.Dataset(
        stacked | {"status": status}, coords=coords, attrs={"common": json.dumps(common)}
    )


def falling(train_step, test_step, *, peak=1.0, end=0.0):
    """Losses of one that fall to nothing at a evaluation step, a tenth of the way in between."""
    train = np.where(train_step <= STEPS, 0.0, 1.0)
    test = np.where(test_step <= STEPS, end, 1.0)
    test[1] = peak
    return {"train_loss": train, "test_loss": test}


# ------------------------------------------------------------------------- Figure 9

# By P: at which steps the losses fall, the final loss, that of the kernel, the linear share.
SIZES = {
    50: (10, np.inf, 0.8, 1.0, 0.5),
    100: (10, 1000, 0.02, 0.5, 0.2),
    200: (10, 10, 0.0, 0.0, 0.1),
}


def goldilocks(size):
    train_step, test_step, end, kernel, linear = SIZES[size]
    run = falling(train_step, test_step, end=end)
    run["test_loss"][-1] = end
    total = np.where(run["test_loss"] > 0, run["test_loss"], 1e-3)
    return run | {
        "test_loss_error": np.full(5, 0.5),
        "kernel_regression_loss": np.full(5, kernel),
        "linear_term": linear * total,
        "misalignment_term": 0.5 * total,
        "variance_term": (0.5 - linear) * total + np.where(STEPS == 1, 1.0, 0.0),
    }


def goldilocks_panels():
    one = panel("n_train", SIZES, goldilocks, dim=10, epsilon=0.1)
    printed = one.assign_coords(n_train=list(_fig9.PRINTED))
    return {"runs": printed, "range": one} | {f"kernel, D {dim}": kernels(dim) for dim in (10, 25)}


def kernels(dim):
    """Regression with K₀ halves its error at 0.3·D² points."""
    shares = {0.1: 1.0, 0.2: 0.75, 0.4: 0.25}
    at = {round(share * dim**2): error for share, error in shares.items()}

    def run(size):
        return falling(np.inf, np.inf) | {"kernel_regression_loss": np.full(5, at[size])}

    return panel("n_train", at, run)


def test_the_three_regimes_and_their_edges():
    found = _fig9.statistics(goldilocks_panels())
    assert found.keys() == claims_of("fig9").keys()
    assert {len(values) for values in found.values()} == {2}
    first = {name: values[0] for name, values in found.items()}
    assert first["no generalisation with too little data"] == pytest.approx(0.8)
    # Both cross at 0.9 of the way, in log step, between the records around them.
    assert first["late generalisation with intermediate data"] == pytest.approx(
        10 ** (2 + 0.9 / 0.98 - 0.9), rel=1e-5
    )
    assert first["worse than random with too little data"] == pytest.approx(0.8)
    assert first["generalisation with intermediate data"] == pytest.approx(0.02)
    # Halfway, in log size, from 0.2 to 0.4 of D²: nearly the same share at both D.
    assert first["kernel regression needs D squared points"] == pytest.approx(2.0, abs=0.02)
    assert first["no delay with plenty of data"] == pytest.approx(1.0)
    assert first["linear power dominates the failure"] == pytest.approx(0.5)
    assert first["failure has more linear power"] == pytest.approx(0.4)
    # The terms are one too many at step 1, two of the standard errors of one half.
    assert first["terms sum to the loss"] == pytest.approx(2.0, abs=0.01)
    # 0.8 at P = 50 and 0.02 at 100: a tenth after 0.7/0.78 of the octave; D = 10.
    edge = 50 * 2 ** (0.7 / 0.78)
    assert first["generalises from the predicted size"] == pytest.approx(edge / 10, rel=1e-5)
    # The kernel's 0.5 at 100 and 0 at 200; the delay, above 1.2 at 100, is 1 at 200.
    upper = _fig9._predicted(goldilocks_panels()["range"])[1]
    kernel = first["kernel regression generalises from the predicted size"] * upper
    assert kernel == pytest.approx(100 * 2**0.8, rel=1e-4)
    delay = first["delay ends at the predicted size"] * upper
    assert 100 < delay <= 200


def test_the_predicted_range_is_that_of_a_direction_of_any_length():
    lower, upper = _fig9._predicted(panel("n_train", SIZES, goldilocks, dim=10, epsilon=0.1))
    assert lower == 10
    # Below the kernel's rank, D(D + 3)/2, and above the linear functions' number.
    assert 10 < upper < 65


def test_what_never_generalises_has_no_edge_and_is_drawn():
    panels = goldilocks_panels()
    panels["range"] = panels["range"].sel(n_train=[50, 50]).assign_coords(n_train=[50, 100])
    found = _fig9.statistics(panels)
    assert found["generalises from the predicted size"] == [np.inf, np.inf]
    assert found["delay ends at the predicted size"] == [np.inf, np.inf]
    figure = _fig9.plot(panels, "caption")
    assert len(figure.axes) == 10
    assert not any("no delay" in str(line.get_label()) for line in figure.axes[8].get_lines())


def test_a_diverged_run_is_not_measured():
    panels = goldilocks_panels()
    panels["runs"]["status"][0, 0] = "diverged"
    found = _fig9.statistics(panels)
    assert np.isnan(found["no generalisation with too little data"][0])
    assert found["no generalisation with too little data"][1] == pytest.approx(0.8)


def test_the_picture_shows_both_edges():
    figure = _fig9.plot(goldilocks_panels(), "caption")
    legend = [text.get_text() for text in figure.axes[8].get_legend().get_texts()]
    assert any(text.startswith("generalises from P = ") for text in legend)
    assert any(text.startswith("predicted range, 10 to ") for text in legend)
    legend = [text.get_text() for text in figure.axes[9].get_legend().get_texts()]
    assert legend == ["P that halves it, slope 2", "slope 2"]


# ------------------------------------------------------------------------ Figure 10


def mixed(part):
    """More of the solution: a lower peak, an earlier fall, more alignment."""
    at = {0.0: 1000, 0.1: 100, 0.2: 10}[part]
    return falling(1, at, peak=1.2 - part) | {"population_alignment": np.full(5, 0.1 + part)}


def test_more_of_the_solution_lowers_peak_and_delay():
    panels = {"runs": panel("mixed", (0.0, 0.1, 0.2), mixed)}
    found = _fig10.statistics(panels)
    assert found.keys() == claims_of("fig10").keys()
    assert found["alignment lowers the peak"] == [-1.0, -1.0]
    assert found["alignment grows with the solution's share"] == [1.0, 1.0]
    assert found["peak falls with alignment"] == [-1.0, -1.0]
    assert found["alignment shortens the delay"] == [-1.0, -1.0]
    assert found["rise of the test loss vanishes"] == pytest.approx([1.0, 1.0])
    figure = _fig10.plot(panels, "caption")
    peaks = [line for line in figure.axes[1].get_lines() if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in peaks] == pytest.approx([1.2, 1.1, 1.0])


def test_a_delay_that_never_ends_is_the_longest_and_a_triangle():
    panels = {"runs": panel("mixed", (0.0, 0.1, 0.2), mixed)}
    panels["runs"]["test_loss"][0] = 1.0
    assert _fig10.statistics(panels)["alignment shortens the delay"] == [-1.0, -1.0]
    axes = _fig10.plot(panels, "caption").axes[2]
    triangles = [line for line in axes.get_lines() if line.get_marker() == "^"]
    assert [len(line.get_xdata()) for line in triangles] == [2, 0, 0]


# ------------------------------------------------------------------------ Figure 14


def test_the_ratio_of_each_number_of_directions():
    at = {1: 10, 2: 100, 3: np.inf}
    panels = {"runs": panel("n_directions", (1, 2, 3), lambda k: falling(10, at[k]))}
    found = _fig14.statistics(panels)
    assert found.keys() == claims_of("fig14").keys()
    assert found["grokking with one direction"] == pytest.approx([1.0, 1.0])
    assert found["grokking with two directions"] == pytest.approx([10.0, 10.0], rel=1e-5)
    assert found["grokking with three directions"] == [np.inf, np.inf]
    figure = _fig14.plot(panels, "caption")
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == ["2"]
