"""Figure 2: modular addition groks without weight decay, its weight norm, and a sweep over α."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import fall_step
from lazyrich.plots import (
    BAND,
    COLORS,
    legend_below,
    new_figure,
    plot_curve,
    plot_line,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_axis,
    sweep_colors,
)
from lazyrich.sweeps import grid
from lazyrich.training import Experiment
from lazyrich.training import preset as training_preset

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, concordances, each_run, least_of, rows_along, run_at
from .._seed_values import caption_above, widths_of
from .._verdict import Claim

_fall_step = jax.jit(fall_step)

TRAIN_LEVEL, TEST_LEVEL = 0.999, 0.95
"""Shares at which the train and the test accuracy count as risen."""

# α multiplies W₂(W₁x)²/(2pN) everywhere; every weight starts as N(0, 1), times σ.
BASE = training_preset("modular").changed({"scaling.alpha": 1.0, "n_evals": 160})
AUTHORS = BASE.changed({"learning_rate_rule": "inverse", "n_steps": 50_000})
RUNS = {
    "paper": AUTHORS,
    # At α = 23 the output is W₂(W₁x)²/(2N): the steps are those of the text of §16.1.
    "quick": BASE.changed({"scaling.alpha": 23.0, "n_steps": 8000}),
}
# The authors' scale s enters the output twice, and they divide the loss by s² and the rate
# by s²: with α = s² that is η = 100/α² on the mean squared error.
SWEPT = {
    "paper": BASE.changed({"learning_rate_rule": "inverse_square", "n_steps": 100_000}),
    "quick": BASE.changed(
        {
            "scaling.center": True,
            "scaling.weight_scale": 0.5,
            "learning_rate": 2e5,
            "learning_rate_rule": "inverse_square",
            "n_steps": 5000,
        }
    ),
}
# §8.3: "any of" these moduli, and "a wide range of" widths.
MODULI, WIDTHS = (13, 17, 19, 23, 29, 31), (50, 100, 200, 400)
# Nothing after both accuracies have risen is looked at.
_UNTIL_SOLVED = {
    "stop.solved_accuracy": TEST_LEVEL,
    "stop.solved_train_accuracy": TRAIN_LEVEL,
}
OTHERS = {
    "paper": AUTHORS.changed({"n_steps": 100_000} | _UNTIL_SOLVED),
    "quick": RUNS["quick"].changed(_UNTIL_SOLVED),
}
# Of all but (a, b), which take minutes a seed.
_N_OTHER_SEEDS = 10
ALPHAS = {"paper": (0.25, 1.0, 2.25, 4.0), "quick": (10.0, 20.0, 40.0, 80.0)}


def runs(preset: str, seeds: Sequence[int]) -> list[Experiment]:
    """The runs of Figures 2(a, b) and 16, one a seed."""
    return grid(RUNS[preset], {"seed": seeds})


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """One run a seed, and a sweep over α."""
    base, some = OTHERS[preset], seeds[:_N_OTHER_SEEDS]
    sweep = grid(SWEPT[preset], {"alpha": ALPHAS[preset], "seed": some})
    # αW₂(W₁x)²/(2pN): α goes with p where the output is to stay as it is.
    moduli = [(p, base.scaling.alpha * (p / 23 if preset == "quick" else 1)) for p in MODULI]
    others = grid(base, {("modulus", "alpha"): moduli, "seed": some})
    widths = grid(base, {"net.widths": [(width,) for width in WIDTHS], "seed": some})
    return {
        "runs": Panel(runs(preset, seeds)),
        "sweep": Panel(sweep, ("alpha",)),
        "moduli": Panel(others, ("modulus",)),
        "widths": Panel(widths, ("widths",)),
    }


class Marks(NamedTuple):
    """Steps at which a run gets somewhere; inf if it never does.

    Attributes:
        fitted: the train accuracy is at 99.9 %.
        crossed: the test loss is down to what the train loss was when fitted.
        generalised: the test accuracy is at 95 %.
    """

    fitted: float
    crossed: float
    generalised: float


def marks(run: Run) -> Marks:
    """When the train accuracy, the test loss and the test accuracy get there."""
    found = run.accuracy_delay(TRAIN_LEVEL, TEST_LEVEL)
    fitted, generalised = found.train_step, found.test_step
    level = run.at("train_loss", fitted)
    return Marks(fitted, float(_fall_step(run.steps, run["test_loss"], level)), generalised)


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    runs, sweep = panels["runs"], panels["sweep"]
    return {
        "test accuracy rises late": each_run(runs, _ratio),
        "weight norm grows": each_run(runs, _norm_growth),
        "weight norm does not decrease": each_run(runs, _norm_dip),
        "losses cross when accuracy rises": each_run(runs, _crossing),
        "delay grows with alpha": concordances(sweep, "alpha", _delay),
        "delay vanishes at small alpha": each_run(sweep, _ratio, alpha=sweep.alpha.values.min()),
        "weight norm decreases nowhere in the sweep": [
            least_of(row) for row in rows_along(sweep, "alpha", _norm_dip)
        ],
        "delay at every modulus": _least_along(panels["moduli"], "modulus"),
        "delay at every width": _least_along(panels["widths"], "widths"),
    }


def _least_along(panel: xr.Dataset, axis: str) -> list[float]:
    """The smallest ratio of each seed along an axis; never or NaN if one of them is."""
    return [least_of(row) for row in rows_along(panel, axis, _ratio)]


def _delay(run: Run) -> float:
    return run.accuracy_delay(TRAIN_LEVEL, TEST_LEVEL).delay


def _ratio(run: Run) -> float:
    return run.accuracy_delay(TRAIN_LEVEL, TEST_LEVEL).ratio


def _norm_growth(run: Run) -> float:
    norms = run["weight_norms"].sum(axis=1)
    return float(norms[-1] / norms[0]) if np.isfinite(run.end("weight_norm")) else np.nan


def _norm_dip(run: Run) -> float:
    norms = run["weight_norms"].sum(axis=1)
    return float(norms.min() / norms[0])


def _crossing(run: Run) -> float:
    found = marks(run)
    return found.crossed / found.generalised if np.isfinite(found.generalised) else np.nan


def plot(panels: Panels, caption: str) -> Figure:
    """Accuracy with the norm, and loss, of one run a seed; below, the sweep over α; on the right
    other moduli and widths.
    """
    dataset, sweep = panels["runs"], panels["sweep"]
    figure, axes = new_figure(2, 4)
    accuracy, losses, norms, moduli, swept, swept_losses, steps, widths = axes
    plot_accuracy(accuracy, dataset, title="(a) accuracy and weight norm")
    right = accuracy.twinx()
    right.spines["right"].set_visible(True)
    plot_curve(right, _norms(dataset), "norm", color=COLORS["norm"], label="weight norm")
    right.set_ylabel("sum of the layers' norms")
    right.set_ylim(bottom=0)
    legend_below(accuracy, right)
    plot_loss(losses, dataset, title="(b) loss of the same runs")
    _plot_norms(norms, dataset, sweep)
    for axes, name, title, ylabel in [
        (swept, "accuracy", r"(c) accuracy over $\alpha$", "share of pairs that are right"),
        (swept_losses, "loss", r"not in the paper: loss over $\alpha$", "mean squared error"),
    ]:
        for alpha, color in sweep_colors(sweep.alpha.values.tolist()).items():
            one, label = sweep.sel(alpha=alpha), rf"$\alpha$ = {alpha:g}"
            plot_losses(axes, one, color=color, label=label, name=f"{{}}_{name}")
        step_axis(axes, sweep, title=f"{title} (dashed: train)", ylabel=ylabel)
        axes.set_ylim(bottom=0)
        legend_below(axes)
    _plot_steps(steps, sweep)
    for axes, name, axis, claim, xlabel in [
        (moduli, "moduli", "modulus", "delay at every modulus", "modulus p"),
        (widths, "widths", "widths", "delay at every width", "hidden width N"),
    ]:
        _plot_ratios(axes, panels[name], axis, claims_of("fig2")[claim], xlabel)
    caption_above(figure, caption)
    return figure


def _norms(dataset: xr.Dataset) -> xr.Dataset:
    """The sum of the layers' Frobenius norms, which the authors plot, and it over its start."""
    norm = dataset.weight_norms.sum("parameter", skipna=False)
    return xr.Dataset({"norm": norm, "growth": norm / norm.isel(step=0)})


def _plot_norms(axes: Axes, dataset: xr.Dataset, sweep: xr.Dataset) -> None:
    plot_curve(axes, _norms(dataset), "growth", color=COLORS["norm"], label="runs of (a, b)")
    growth = _norms(sweep)
    for alpha, color in sweep_colors(sweep.alpha.values.tolist()).items():
        label = rf"(c), $\alpha$ = {alpha:g}"
        plot_curve(axes, growth.sel(alpha=alpha), "growth", color=color, label=label)
    axes.axhline(1, color="0.6", linewidth=0.8)
    title = "not in the paper: does the weight norm decrease?"
    step_axis(axes, growth, title=title, ylabel="weight norm/its start")
    legend_below(axes)


def plot_accuracy(axes: Axes, dataset: xr.Dataset, *, title: str) -> None:
    """Train and test accuracy, with the marks; the legend is the caller's."""
    for part, dashed in [("train", True), ("test", False)]:
        color = COLORS["net"]
        plot_curve(axes, dataset, f"{part}_accuracy", color=color, label=part, dashed=dashed)
    step_axis(axes, dataset, title=title, ylabel="share of pairs that are right")
    axes.set_ylim(0, 1.03)
    _plot_marks(axes, dataset)


def plot_loss(axes: Axes, dataset: xr.Dataset, *, title: str) -> None:
    """Train and test loss, with the marks and the level at which the losses cross."""
    for part, dashed in [("train", True), ("test", False)]:
        color = COLORS["net"]
        plot_curve(axes, dataset, f"{part}_loss", color=color, label=part, dashed=dashed)
    levels = each_run(dataset, lambda run: run.at("train_loss", marks(run).fitted))
    label = "train loss when fitted"
    if np.isfinite(levels).all():
        plot_line(axes, xr.DataArray(levels), color="black", label=label)
    step_axis(axes, dataset, title=title, ylabel="mean squared error")
    axes.set_ylim(bottom=0)
    _plot_marks(axes, dataset)
    legend_below(axes)


def _plot_marks(axes: Axes, dataset: xr.Dataset) -> None:
    """A line at the median step of each mark, and a band over the seeds."""
    table = np.array([marks(run_at(dataset, seed=seed)) for seed in dataset.seed.values])
    for steps, color, name in zip(
        table.T,
        ("0.6", COLORS["debiased"], "0.2"),
        ("train accuracy 99.9 %", "test loss crosses", "test accuracy 95 %"),
        strict=True,
    ):
        middle = np.quantile(steps, 0.5, method="inverted_cdf")
        if not np.isfinite(middle):
            continue
        axes.axvline(middle, color=color, linewidth=0.8, label=f"{name}: {middle:.0f}")
        seen = steps[np.isfinite(steps)]
        axes.axvspan(seen.min(), seen.max(), color=color, alpha=0.15, linewidth=0, label=BAND)


def _plot_steps(axes: Axes, sweep: xr.Dataset) -> None:
    for name, color, marker, label in [
        ("fitted", "linearized", "s", "train accuracy 99.9 %"),
        ("generalised", "net", "o", "test accuracy 95 %"),
    ]:
        steps = along(sweep, "alpha", lambda run, name=name: getattr(marks(run), name))
        plot_sweep(axes, sweep.alpha, steps, color=COLORS[color], label=label, marker=marker)
    title = "not in the paper: steps of fit and generalisation"
    sweep_axis(axes, title=title, xlabel=r"output scale $\alpha$", ylabel="optimizer steps")
    legend_below(axes)


def _plot_ratios(axes: Axes, panel: xr.Dataset, axis: str, claim: Claim, xlabel: str) -> None:
    """How late the test accuracy is along an axis, beside the least that counts as late."""
    values = widths_of(panel) if axis == "widths" else panel[axis].values
    ratios = along(panel, axis, _ratio)
    plot_sweep(axes, values, ratios, color=COLORS["net"], label="$t$(test 95 %)/$t$(train 99.9 %)")
    if claim.low is not None:
        axes.axhline(claim.low, color="0.6", linestyle="--", linewidth=0.8, label="late above")
    sweep_axis(axes, title=f"§8.3: every {xlabel.split()[-2]}?", xlabel=xlabel, ylabel="ratio")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    legend_below(axes)


FIG2 = FigureSpec(
    name="fig2",
    statement="Modular addition groks without weight decay while the weight norm grows; the "
    "output scale α makes the delay vanish or grow.",
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "p=23, 90 %, N=100, f=αW₂(W₁x)²/(2pN); (a, b) α=23, σ=1, η=100; "
        "(c) σ=0.5, centred, η=2·10⁵/α²",
        "paper": "p=23, 90 %, N=100, f=αW₂(W₁x)²/(2pN); (a, b) α=1, η=100; (c) η=100/α²; "
        "10 seeds but for (a, b)",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
