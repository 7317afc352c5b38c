"""Oracle: panels written down by hand, and direct training for the pairs that are one run."""

import json

import numpy as np
import pytest
import xarray as xr

from lazyrich.paper._value import reason_of
from lazyrich.paper.figures._fig7 import FIG7, WIDTHS, cells_of, plot, statistics
from lazyrich.plots import figure_style
from lazyrich.training import train_committee

STEPS = np.array([0, 1, 10, 100])
ALPHAS, SIGMAS, SEEDS = [0.5, 2.0, 8.0], [0.5, 1.0, 2.0], [0, 1, 2]


def panel(axes, ends, change=None):
    """Losses that fall by even factors to an end, one for each place and seed."""
    shape = (*(len(values) for values in axes.values()), len(SEEDS))
    ends = np.broadcast_to(np.asarray(ends, float)[..., None], shape)
    test = 3.0 * ends[..., None] ** (np.arange(4) / 3)
    # At the end nothing is left that could move the test loss.
    records = {"train_loss": test / 2 * np.array([1, 1, 1, 1e-15]), "test_loss": test}
    if change is not None:
        moved = np.broadcast_to(np.asarray(change)[..., None, None], (*shape, 4))
        records["parameter_change"] = moved * np.arange(4) / 3
    dims = (*axes, "seed")
    return xr.Dataset(
        {name: ((*dims, "step"), values.copy()) for name, values in records.items()}
        | {"status": (dims, np.full(shape, "ok", dtype=object))},
        {**axes, "seed": SEEDS, "step": STEPS},
        {"common": json.dumps({"learning_rate": 0.5, "dynamics": "flow"})},
    )


def wide():
    """Twins whose largest gap goes with one over the width."""
    widths = WIDTHS["paper"]
    found = panel({"widths": list(widths)}, np.full(len(widths), 0.5))
    gap = (8 / np.array(widths))[:, None, None] * np.array([0, 0.5, 1, 0.2])
    return found.assign(linearized_test_loss=found.test_loss + gap * 3.0)


@pytest.fixture
def panels():
    both = np.outer(ALPHAS, np.square(SIGMAS))  # σ²α
    off = np.ones((3, 3))
    off[0, 2] = 1.1  # one run of the cell σ²α = 2 lies apart
    return {
        "map": panel({"alpha": ALPHAS, "weight_scale": SIGMAS}, both * off / 1e3, off**0.5 / both),
        "weights": panel({"weight_scale": [0.3, 2.0]}, [0.1, 0.2]),
        "units": panel({"alpha": [0.3, 2.0]}, [0.1, 0.202]),
        "outputs": panel({"alpha": [0.5, 4.0]}, [0.1, 0.2]),
        "labels": panel({"label_scale": [0.5, 4.0]}, [0.2, 0.1]),
        "width": wide(),
    }


def test_each_statistic_is_the_one_written_down(panels):
    found = statistics(panels)
    assert found["data collapse of the final loss"] == pytest.approx([0.1] * 3)
    assert found["data collapse of the change"] == pytest.approx([1.1**0.5 - 1] * 3)
    assert found["exact equivalence"] == pytest.approx([1 - 0.2 / 0.202] * 3)
    # The smallest labels stand for the largest output scale.
    assert found["label scale acts as a third scale"] == pytest.approx([0.0] * 3, abs=1e-12)
    assert found["width reduces the gap to the linearized network"] == pytest.approx([-1.0] * 3)
    assert min(found["final loss grows"]) > 0.95
    assert max(found["change falls"]) < -0.95


def test_runs_of_equal_product_are_one_cell(panels):
    cells = cells_of(panels["map"], 0, lambda run: 1.0)
    assert {place: len(values) for place, values in cells.items()} == {
        0.125: 1,
        0.5: 2,
        2.0: 3,
        8.0: 2,
        32.0: 1,
    }


def test_a_diverged_run_is_not_measured(panels):
    gone = {"alpha": 2.0, "weight_scale": 1.0, "seed": 1}
    panels["map"].status.loc[gone] = "diverged"
    found = statistics(panels)
    for name in ("data collapse of the final loss", "data collapse of the change"):
        assert np.isnan(found[name]).tolist() == [False, True, False]
    assert "(1 diverged)" in reason_of(found["final loss grows"][1])  # of the others' order


def test_every_dial_is_drawn(panels):
    with figure_style():
        figure = plot(panels, "caption")
    assert len(figure.axes) == 9
    assert "slope −1" in figure.axes[4].get_title("left").replace("-", "−")
    assert all(len(axes.lines) for axes in figure.axes)


@pytest.mark.slow
def test_the_pairs_of_the_preset_are_one_run_each():
    small = {
        "dim": 6,
        "width": 20,
        "n_train": 30,
        "n_test": 50,
        "n_steps": 200,
        "learning_rate": 0.02,
    }
    pairs = FIG7.panels("quick", [0])
    for ours, theirs in (("weights", "units"), ("outputs", "labels")):
        runs = [
            one.changed(small) for one in (pairs[ours].experiments[0], pairs[theirs].experiments[0])
        ]
        first, second = (one.test_loss / one.test_loss[0] for one in train_committee(runs))
        assert first[-1] < 0.99
        np.testing.assert_allclose(first, second, rtol=1e-4)


def test_cells_that_were_not_run_do_not_count(panels):
    """The authors' own draw varies α and σ one at a time."""
    one = panels["map"].copy(deep=True)
    off = (one.alpha != 2.0) & (one.weight_scale != 1.0)
    for name in ("train_loss", "test_loss", "parameter_change"):
        one[name] = one[name].where(~off)
    one["status"] = one.status.where(~off, "missing")
    found = statistics({"map": one})
    # σ²α = 0.5, 2 and 8 are met by two runs each: α = 2 with σ = 0.5, 1 and 2.
    assert found["data collapse of the final loss"] == pytest.approx([0.0] * 3, abs=1e-12)
    assert np.isnan(found["exact equivalence"]).all()
    one["test_loss"].loc[{"alpha": 2.0, "weight_scale": 2.0}] *= np.array([1, 1, 1, 1.2])
    one["parameter_change"].loc[{"alpha": 2.0, "weight_scale": 2.0}] *= 1.2
    with figure_style():
        figure = plot({"map": one}, "caption")
    assert [axes.get_title(loc="left") for axes in figure.axes][1] == "(b) weight scale σ, α = 2"
