"""Figure 17: whether one run "groks" in accuracy depends on the threshold of accuracy."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_axis,
    sweep_colors,
)

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import each_run
from .._seed_values import caption_above
from ._fig8 import LEVEL, at_threshold, ratio, runs


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The runs of Figure 8 at α = 1."""
    return {"runs": Panel(runs(preset, seeds))}


def ratios(dataset: xr.Dataset) -> list[tuple[float, ...]]:
    """t(test accuracy 90 %)/t(train accuracy 90 %): a row for each seed, thresholds across."""
    thresholds = dataset.threshold.values if "test_threshold_accuracy" in dataset else (LEVEL,)
    columns = [each_run(at_threshold(dataset, one), ratio) for one in thresholds]
    return list(zip(*columns, strict=True))


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    rows = ratios(panels["runs"])
    return {
        "some threshold shows grokking": [_extreme(row, max) for row in rows],
        "some threshold shows none": [_extreme(row, min) for row in rows],
    }


def _extreme(row: Sequence[float], pick: Callable[[Sequence[float]], float]) -> float:
    # A threshold that the train accuracy does not reach offers no ratio; one that the test
    # accuracy does not reach counts only if there is no other.
    known = [value for value in row if not np.isnan(value)]
    seen = [value for value in known if np.isfinite(value)] or known
    return pick(seen) if seen else row[0]


def plot(panels: Panels, caption: str) -> Figure:
    """Accuracy within each threshold, as printed, and how late the test accuracy is."""
    dataset = panels["runs"]
    figure, (accuracy, late) = new_figure(1, 2)
    for threshold, color in sweep_colors(dataset.threshold.values.tolist()).items():
        one, label = at_threshold(dataset, threshold), rf"$\theta$ = {threshold:g}"
        plot_losses(accuracy, one, color=color, label=label, name="{}_accuracy")
    title = "the same runs, other thresholds (dashed: train)"
    step_axis(accuracy, dataset, title=title, ylabel=r"share with $(f-y)^2 \leq \theta$")
    accuracy.set_ylim(0, 1.03)
    legend_below(accuracy)
    _plot_ratios(late, dataset)
    caption_above(figure, caption)
    return figure


def _plot_ratios(axes: Axes, dataset: xr.Dataset) -> None:
    label = f"at accuracy {100 * LEVEL:g} %"
    plot_sweep(axes, dataset.threshold, np.array(ratios(dataset)), color=COLORS["net"], label=label)
    for name, style, text in [
        ("some threshold shows grokking", "--", "counts as grokking above"),
        ("some threshold shows none", ":", "counts as none below"),
    ]:
        claim = claims_of("fig17")[name]
        bound = claim.high if claim.low is None else claim.low
        if bound is not None:
            axes.axhline(bound, color="0.6", linestyle=style, linewidth=0.8, label=text)
    title, xlabel = (
        "not in the paper: delay against the threshold",
        r"threshold $\theta$ of the squared error",
    )
    sweep_axis(axes, title=title, xlabel=xlabel, ylabel="test step/train step")
    legend_below(axes)


FIG17 = FigureSpec(
    name="fig17",
    statement='One run seems to "grok" in accuracy or not, by the choice of the threshold.',
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "the runs of Figure 8 at α=1, 3·10⁴ steps",
        "paper": "the runs of Figure 8 at α=1, 10⁵ steps",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
