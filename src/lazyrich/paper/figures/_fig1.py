"""Figure 1(b, c): grokking without weight decay, its linearised twin, norm and alignment."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import (
    COLORS,
    draw_curve,
    draw_net_and_twin,
    legend_below,
    new_figure,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._recipe import Panel, Panels, Recipe
from .._runs import Run, by_claim, each_run

AUTHORS = CommitteeExperiment(
    dim=100,
    width=500,
    n_train=550,
    epsilon=0.02,
    n_steps=100_000,
    n_probe=1000,
    n_saves=160,
    has_printed_alignment=True,
)
PRINTED = AUTHORS.changed({"printed": PrintedDraw(), "n_saves": 300})
PRESETS = {
    "authors": PRINTED,
    "paper": AUTHORS,
    # Five of the authors' steps in one: a tenth of the largest stable step at the start.
    "quick": AUTHORS.changed({"learning_rate": 5.0, "n_steps": 20_000, "n_saves": 100}),
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """One run a seed."""
    return {"runs": Panel(grid(PRESETS[preset], {"seed": seeds}))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    return by_claim(panels["runs"], _statistics)


def _statistics(run: Run) -> dict[str, float]:
    train = run["train_loss"]
    train_left = run.at("train_loss", run.leave_step()) / run.start("train_loss")
    norm = run["weight_norm"]
    return {
        "train falls first": run.delay().ratio,
        "test loss rises": run.peak(where=train <= 0.9 * train[0]),
        "lazy at first": 1 - train_left,
        "lazy until fitted": train_left,
        "beats the kernel": run.end("test_loss") / run.end("kernel_regression_loss"),
        "weight norm grows": run.relative("weight_norm"),
        "weight norm never falls": float(np.mean(np.diff(norm) >= 0)),
        "alignment grows": run.relative("alignment"),
        "debiased alignment grows": run.relative("debiased_alignment"),
        "alignment beats chance": run.end("alignment") / run.end("chance_alignment"),
        "exact alignment grows": run.relative("population_centered_alignment"),
    }


def draw(panels: Panels, caption: str) -> Figure:
    """Losses; norm and alignment as printed; below, what the print could not show."""
    dataset = panels["runs"]
    figure, (losses, printed, unbiased, features) = new_figure(2, 2)
    _draw_losses(losses, dataset)
    _draw_printed(printed, dataset)
    for name, color, label in [
        ("debiased_alignment", "debiased", "debiased, test points"),
        ("population_centered_alignment", "population", "exact, over all inputs"),
    ]:
        draw_curve(unbiased, dataset, name, color=COLORS[color], label=label)
    unbiased.axhline(0, color="0.7", linewidth=0.8)
    title = "beyond the print: alignment without its floor"
    step_axis(unbiased, dataset, title=title, ylabel="centred alignment of $K_t$")
    legend_below(unbiased)
    draw_curve(
        features,
        dataset,
        "target_moment",
        color=COLORS["net"],
        label=r"$\beta^\top M\beta/\|\beta\|^2$",
    )
    title = "beyond the print: weights along the target"
    step_axis(features, dataset, title=title, ylabel="second moment along the target")
    features.set_yscale("log")
    legend_below(features)
    figure.suptitle(caption, fontsize=7.5, color="0.35")
    return figure


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    draw_net_and_twin(axes, dataset)
    left = np.median(each_run(dataset, Run.leave_step))
    if np.isfinite(left):
        axes.axvline(left, color="0.6", linewidth=0.8, label=f"leaves its twin, step {left:.0f}")
    step_axis(axes, dataset, title="(b) loss", ylabel="mean squared error / initial test loss")
    axes.set_ylim(bottom=0)
    legend_below(axes)


def _draw_printed(axes: Axes, dataset: xr.Dataset) -> None:
    draw_curve(axes, dataset, "weight_norm", color=COLORS["norm"], label=r"weight norm $\|w\|$")
    step_axis(axes, dataset, title="(c) norm and alignment", ylabel=r"weight norm $\|w\|$")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    for name, label, dashed in [
        ("printed_alignment", "alignment, columns and labels centred", False),
        ("chance_alignment", "a random label's", True),
    ]:
        draw_curve(right, dataset, name, color=COLORS["alignment"], label=label, dashed=dashed)
    right.set_ylabel("alignment of $K_t$, test points")
    right.set_ylim(bottom=0)
    legend_below(axes, right)


FIG1 = Recipe(
    name="fig1",
    statement="A two-layer network groks polynomial regression without weight decay: lazy "
    "first, then features align while the weight norm grows.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=100, P=550, N=500, ε=0.02, α=1, η=N/α², centred",
        "quick": "D=100, P=550, N=500, ε=0.02, α=1, η=5·N/α², centred",
        "paper": "D=100, P=550, N=500, ε=0.02, α=1, η=N/α², centred",
    },
    panels=panels,
    statistics=statistics,
    draw=draw,
)
