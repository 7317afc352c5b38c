"""Figure 8: α and the delay of a student's accuracy, counted within a threshold."""

from collections.abc import Sequence

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
from lazyrich.sweeps import grid
from lazyrich.training import Experiment
from lazyrich.training import preset as training_preset

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, concordances, each_run
from .._seed_values import caption_above

LEVEL = 0.9
"""Share of points at which an accuracy counts as risen."""

THRESHOLD = 1e-3
"""Squared error up to which a point counts as right in Figure 8."""

BASE = training_preset("teacher").changed({"n_evals": 160})
# By preset α with the number of steps that it needs: the authors' 10⁴ are not enough to see
# the test accuracy rise from α = 0.5 on. α = 1 is also the run of Figures 17 and 18.
SWEEPS = {
    "paper": (
        (0.1, 40_000),
        (0.25, 40_000),
        (0.5, 40_000),
        (0.75, 40_000),
        (1.0, 100_000),
        (3.0, 100_000),
    ),
    "quick": ((0.03, 10_000), (0.1, 10_000), (0.3, 20_000), (1.0, 30_000)),
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """A sweep over α."""
    sweep = grid(BASE, {("alpha", "n_steps"): SWEEPS[preset], "seed": seeds})
    return {"sweep": Panel(sweep, ("alpha",))}


def runs(preset: str, seeds: Sequence[int]) -> list[Experiment]:
    """The runs at α = 1: Omnigrok's student, and Figures 17 and 18."""
    n_steps = dict(SWEEPS[preset])[1.0]
    return grid(BASE.changed({"n_steps": n_steps}), {"seed": seeds})


def at_threshold(panel: xr.Dataset, threshold: float) -> xr.Dataset:
    """The panel with ``train_accuracy`` and ``test_accuracy`` within one threshold, if recorded."""
    if "test_threshold_accuracy" not in panel:
        return panel
    parts = ("train", "test")
    names = {f"{part}_threshold_accuracy": f"{part}_accuracy" for part in parts}
    return panel.sel(threshold=threshold, method="nearest").rename(names)


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    sweep = at_threshold(panels["sweep"], THRESHOLD)
    return {
        "delay in accuracy grows with alpha": concordances(sweep, "alpha", _delay),
        "delay vanishes at small alpha": each_run(sweep, ratio, alpha=sweep.alpha.values.min()),
    }


def _delay(run: Run) -> float:
    return run.accuracy_delay(LEVEL, LEVEL).delay


def ratio(run: Run) -> float:
    """Test step over train step.

    Infinite if the test accuracy never rose; NaN if the train accuracy did not, or had
    risen before the first step: from step 0 every later step is infinitely late.
    """
    return run.accuracy_delay(LEVEL, LEVEL).ratio


def plot(panels: Panels, caption: str) -> Figure:
    """Accuracy over α as printed; when each is reached, and the losses of the same runs."""
    sweep = at_threshold(panels["sweep"], THRESHOLD)
    figure, (accuracy, steps, losses) = new_figure(1, 3)
    for alpha, color in sweep_colors(sweep.alpha.values.tolist()).items():
        one, label = sweep.sel(alpha=alpha), rf"$\alpha$ = {alpha:g}"
        plot_losses(accuracy, one, color=color, label=label, name="{}_accuracy")
        plot_losses(losses, one, color=color, label=label)
    title = "accuracy (dashed: train)"
    step_axis(accuracy, sweep, title=title, ylabel=rf"share with $(f-y)^2 \leq$ {THRESHOLD:g}")
    accuracy.set_ylim(0, 1.03)
    title = "not in the paper: loss (dashed: train)"
    step_axis(losses, sweep, title=title, ylabel="mean squared error")
    losses.set_yscale("log")
    _plot_steps(steps, sweep)
    for axes in (accuracy, steps, losses):
        legend_below(axes)
    caption_above(figure, caption)
    return figure


def _plot_steps(axes: Axes, sweep: xr.Dataset) -> None:
    for part, color, marker in [("train", "linearized", "s"), ("test", "net", "o")]:

        def risen(run: Run, name: str = f"{part}_step") -> float:
            return float(getattr(run.accuracy_delay(LEVEL, LEVEL), name))

        steps = along(sweep, "alpha", risen)
        label = f"{part} accuracy {100 * LEVEL:g} %"
        plot_sweep(axes, sweep.alpha, steps, color=COLORS[color], label=label, marker=marker)
    title = "not in the paper: steps of fit and generalisation"
    sweep_axis(axes, title=title, xlabel=r"output scale $\alpha$", ylabel="optimizer steps")


FIG8 = FigureSpec(
    name="fig8",
    statement="On a student and its teacher, α makes the delay of an accuracy within a "
    "threshold vanish or grow.",
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "5-100-100-5 tanh, weights ×2, 100 points, AdamW, η=3·10⁻⁴, decay 0.05, αf",
        "paper": "5-100-100-5 tanh, weights ×2, 100 points, AdamW, η=3·10⁻⁴, decay 0.05, αf; "
        "the authors stopped at step 10⁴",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
