"""Figure 16: accuracy and loss are two views of one run, that of Figure 2(a, b)."""

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import COLORS, legend_below, new_figure

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, each_run, run_at
from .._seed_values import caption_above
from ._fig2 import marks, plot_accuracy, plot_loss, runs

ABOVE_CHANCE = 0.05


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The runs of Figure 2(a, b)."""
    return {"runs": Panel(runs(preset, seeds))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    dataset = panels["runs"]
    level = _chance(dataset) + ABOVE_CHANCE
    return {
        "test loss changes while accuracy is constant": each_run(
            dataset, lambda run: _flat_movement(run, level)
        ),
        "test loss does not vanish": each_run(dataset, lambda run: run.relative("test_loss")),
        "train accuracy is 99.9 % at a loss of .06": each_run(
            dataset, lambda run: run.at("train_loss", marks(run).fitted)
        ),
    }


def _chance(dataset: xr.Dataset) -> float:
    return 1 / json.loads(dataset.attrs["common"])["task.modulus"]


def _flat_movement(run: Run, level: float) -> float:
    """Largest relative move of the test loss while the test accuracy is below a level."""
    # A few dozen test pairs may be right by luck at first: it leaves chance for good only
    # after the last record below the level.
    is_flat = run["test_accuracy"] < level
    last = np.flatnonzero(is_flat)[-1:]
    if not len(last):
        return np.nan
    loss = run["test_loss"][: last[0] + 1]
    return float(np.abs(loss / loss[0] - 1).max())


def plot(panels: Panels, caption: str) -> Figure:
    """Accuracy, loss, and the one against the other."""
    dataset = panels["runs"]
    figure, (accuracy, losses, both) = new_figure(1, 3)
    plot_accuracy(accuracy, dataset, title="accuracy")
    legend_below(accuracy)
    plot_loss(losses, dataset, title="loss of the same runs")
    _plot_both(both, dataset)
    caption_above(figure, caption)
    return figure


def _plot_both(axes: Axes, dataset: xr.Dataset) -> None:
    """Every seed's way through the plane of loss and accuracy, from right to left."""
    for k, seed in enumerate(dataset.seed.values):
        run = run_at(dataset, seed=seed)
        for part, style in [("train", "--"), ("test", "-")]:
            label = part if k == 0 else "_"
            curve = run[f"{part}_loss"], run[f"{part}_accuracy"]
            axes.plot(*curve, style, color=COLORS["net"], alpha=0.7, linewidth=1, label=label)
    axes.set(xscale="log", ylim=(0, 1.03))
    axes.set(xlabel="mean squared error", ylabel="share of pairs that are right")
    axes.set_title("not in the paper: accuracy against loss, each seed")
    legend_below(axes)


FIG16 = FigureSpec(
    name="fig16",
    statement="Accuracy and loss of one run differ: the test loss changes while the test "
    "accuracy is constant, and is not zero where the accuracy is perfect.",
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "p=23, 90 %, N=100, f=αW₂(W₁x)²/(2pN), α=23, η=100, no weight decay",
        "paper": "p=23, 90 %, N=100, f=αW₂(W₁x)²/(2pN), α=1, η=100, no weight decay",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
