"""Oracle: the data that went in: lines drawn, dots set."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from lazyrich.plots import plot_run, text_curve


@pytest.mark.parametrize("kind", ["classes", "thresholds", "plain"])
def test_a_run_is_drawn_from_step_one_on_train_dashed(kind):
    steps = np.array([0, 1, 10, 100])
    of = {"train_loss": [4.0, 3.0, 2.0, 1.0], "test_loss": [5.0, 5.0, np.nan, 2.0]}
    records: dict[str, Any] = {
        name: ("step", values, {"units": "nats"}) for name, values in of.items()
    }
    if kind == "classes":
        for part in ("train", "test"):
            records[f"{part}_accuracy"] = ("step", [0.1, 0.2, 0.9, 1.0])
    if kind == "thresholds":
        for part in ("train", "test"):
            values = np.array([[0, 1.0]] * 4)
            records[f"{part}_threshold_accuracy"] = (("step", "threshold"), values)
    coords = {"step": steps} | ({"threshold": [0.1, 1.0]} if kind == "thresholds" else {})
    figure = plot_run(xr.Dataset(records, coords=coords), title="a run")
    losses = figure.axes[0]
    train, test = losses.lines
    assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
    assert np.asarray(train.get_xdata()).tolist() == [1, 10, 100]
    assert np.asarray(train.get_ydata()).tolist() == [3, 2, 1]
    assert np.ma.getmaskarray(test.get_ydata()).tolist() == [False, True, False]
    assert "nats" in losses.get_ylabel()
    n_lines = {"classes": 2, "thresholds": 4, "plain": 0}[kind]
    assert len(figure.axes) == (2 if kind == "plain" else 3)
    if n_lines:
        assert len(figure.axes[1].lines) == n_lines


def test_dots_follow_the_curve():
    """A straight line on log axes is a diagonal; a constant is one row."""
    steps = np.geomspace(1, 1000, 50)
    lines = text_curve(steps, [1 / steps], width=8, height=4)
    dots = [(r, c) for r, line in enumerate(lines) for c, s in enumerate(line) if s != "\u2800"]
    assert all(abs(c - 2 * r) <= 1 for r, c in dots)
    assert lines[0][0] != "\u2800" != lines[-1][-1]
    flat = text_curve(steps, [np.ones(50)], width=8, height=4)
    assert sum(bool(line) for line in flat) == 1
    assert text_curve([0, 1], [np.array([1.0, np.nan])]) == []
