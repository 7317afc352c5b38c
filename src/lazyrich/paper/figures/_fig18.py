"""Figure 18: the losses of the run that "groks" in accuracy are unremarkable."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import COLORS, legend_below, new_figure, plot_curve, step_axis

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, each_run
from .._seed_values import caption_above
from ._fig8 import runs


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The runs of Figure 8 at α = 1."""
    return {"runs": Panel(runs(preset, seeds))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    return {
        "test loss close to train loss": each_run(panels["runs"], _largest_gap),
        "test loss never rises": each_run(panels["runs"], _largest_rise),
    }


def _largest_gap(run: Run) -> float:
    return float(np.max(run["test_loss"] / run["train_loss"]))


def _largest_rise(run: Run) -> float:
    loss = run["test_loss"]
    return float(np.max(loss / np.minimum.accumulate(loss)))


def plot(panels: Panels, caption: str) -> Figure:
    """The losses as printed, on a log scale, and the test loss over the train loss."""
    dataset = panels["runs"]
    figure, (printed, logs, gap) = new_figure(1, 3)
    _plot_losses(printed, dataset, title="loss")
    printed.set_ylim(bottom=0)
    _plot_losses(logs, dataset, title="not in the paper: loss on a log scale")
    logs.set_yscale("log")
    _plot_gap(gap, dataset)
    for axes in (printed, logs, gap):
        legend_below(axes)
    caption_above(figure, caption)
    return figure


def _plot_losses(axes: Axes, dataset: xr.Dataset, *, title: str) -> None:
    for part, dashed in [("train", True), ("test", False)]:
        color = COLORS["net"]
        plot_curve(axes, dataset, f"{part}_loss", color=color, label=part, dashed=dashed)
    step_axis(axes, dataset, title=title, ylabel="mean squared error")


def _plot_gap(axes: Axes, dataset: xr.Dataset) -> None:
    gap = (dataset.test_loss / dataset.train_loss).to_dataset(name="gap")
    plot_curve(axes, gap, "gap", color=COLORS["norm"], label="test loss/train loss")
    bound = claims_of("fig18")["test loss close to train loss"].high
    if bound is not None:
        label = "counts as tracking below"
        axes.axhline(bound, color="0.6", linestyle="--", linewidth=0.8, label=label)
    step_axis(
        axes, dataset, title="not in the paper: ratio of the losses", ylabel="ratio of the losses"
    )
    axes.set_yscale("log")


FIG18 = FigureSpec(
    name="fig18",
    statement="The losses of the student whose accuracy seems to grok show no late generalisation.",
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "the runs of Figure 8 at α=1, 3·10⁴ steps",
        "paper": "the runs of Figure 8 at α=1, 10⁵ steps",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
