"""Figure 1: grokking without weight decay: paths, losses, norm and alignment."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_curve,
    plot_network_and_linearized,
    plot_path,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, by_claim, each_run, run_at
from .._seed_values import caption_above
from .._value import missing

AUTHORS = CommitteeExperiment(
    dim=100,
    width=500,
    n_train=550,
    epsilon=0.02,
    n_steps=100_000,
    n_probe=1000,
    n_evals=80,
    has_printed_alignment=True,
    has_split=True,
)
PRINTED = AUTHORS.changed({"printed": PrintedDraw(), "n_evals": 300})
PRESETS = {
    "authors": PRINTED,
    "paper": AUTHORS,
    # Five of the authors' steps in one: a tenth of the largest stable step at the start.
    "quick": AUTHORS.changed({"learning_rate": 5.0, "n_steps": 20_000, "n_evals": 100}),
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """One run a seed."""
    return {"runs": Panel(grid(PRESETS[preset], {"seed": seeds}))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    claims = claims_of("fig1")

    def over_kernel(run: Run) -> float:
        line = run.end("kernel_regression_loss")
        return run.settled("test_loss", claims["final loss below kernel regression"], over=line)

    return by_claim(
        panels["runs"],
        {
            "train loss falls first": lambda run: run.delay().ratio,
            "test loss rises": _rise,
            "lazy at first": lazy_share,
            "lazy until fitted": lambda run: 1 - lazy_share(run),
            "train loss is low when the test loss falls": _train_loss_at_the_fall,
            "final loss below kernel regression": over_kernel,
            "weight norm grows": lambda run: run.relative("weight_norm"),
            "weight norm never falls": lambda run: _share_rising(run["weight_norm"]),
            "alignment grows": lambda run: run.relative("printed_alignment"),
            "debiased alignment grows": lambda run: run.relative("debiased_alignment"),
            "alignment over random labels grows": lambda run: (
                run.relative("alignment") / run.relative("chance_alignment")
            ),
            "exact alignment grows": lambda run: run.relative("population_centered_alignment"),
        },
    )


def lazy_share(run: Run) -> float:
    """Share of the initial train loss that is lost when the network leaves its linearization."""
    return 1 - run.at("train_loss", run.departure_step()) / run.start("train_loss")


def _rise(run: Run) -> float:
    train = run["train_loss"]
    return run.peak(where=train <= 0.9 * train[0])


def _train_loss_at_the_fall(run: Run) -> float:
    return run.at("train_loss", run.delay().test_step) / run.start("train_loss")


def _share_rising(norm: np.ndarray) -> float:
    """Share of the records at which the norm has not fallen; of a norm that moves at all."""
    if abs(norm[-1] / norm[0] - 1) < 0.01:
        return missing("the norm moved by less than 1 %")
    return float(np.mean(np.diff(norm) >= 0))


def plot(panels: Panels, caption: str) -> Figure:
    """The three printed panels; below, what the paper could not show."""
    dataset = panels["runs"]
    figure, (paths, losses, printed, unbiased, features, empty) = new_figure(2, 3)
    empty.remove()
    _plot_paths(paths, dataset)
    _plot_losses(losses, dataset)
    _plot_printed(printed, dataset)
    for name, color, label in [
        ("debiased_alignment", "debiased", "debiased, test points"),
        ("population_centered_alignment", "population", "exact, over all inputs"),
    ]:
        plot_curve(unbiased, dataset, name, color=COLORS[color], label=label)
    unbiased.axhline(0, color="0.7", linewidth=0.8)
    title = "not in the paper: debiased alignment"
    step_axis(unbiased, dataset, title=title, ylabel="centred alignment of $K_t$")
    legend_below(unbiased)
    plot_curve(
        features,
        dataset,
        "target_moment",
        color=COLORS["net"],
        label=r"$\beta^\top M\beta/\|\beta\|^2$",
    )
    title = "not in the paper: weights along the target"
    step_axis(features, dataset, title=title, ylabel="second moment along the target")
    features.set_yscale("log")
    legend_below(features)
    caption_above(figure, caption)
    return figure


def _plot_paths(axes: Axes, dataset: xr.Dataset) -> None:
    """Where both runs go, inside the affine space of the linearised network and off it."""
    for k, seed in enumerate(dataset.seed.values):
        run = run_at(dataset, seed=seed)
        inside, off = run["change_inside"], run["change_outside"]
        # Open where the train loss is low, filled where the test loss is.
        delay = run.delay()
        marks = [
            [run.at(name, step) for name in ("change_inside", "change_outside")]
            for step in (delay.train_step, delay.test_step)
        ]
        label = "network" if k == 0 else "_"
        plot_path(axes, inside, off, color=COLORS["net"], label=label, marks=marks)
        label = "linearized network" if k == 0 else "_"
        plot_path(axes, run["linearized_change"], 0 * off, color=COLORS["linearized"], label=label)
    axes.plot([], [], "o", color=COLORS["net"], markerfacecolor="white", label="train loss low")
    axes.plot([], [], "o", color=COLORS["net"], label="test loss low")
    axes.set(
        title="(a) displacement of the parameters, measured",
        xlabel=r"along the initial tangent space, $\|\Pi(\theta-\theta_0)\|/\|\theta_0\|$",
        ylabel=r"orthogonal to it, $\|(1-\Pi)(\theta-\theta_0)\|/\|\theta_0\|$",
    )
    axes.set_xlim(left=0)
    legend_below(axes)


def _plot_losses(axes: Axes, dataset: xr.Dataset) -> None:
    plot_network_and_linearized(axes, dataset)
    left = np.median(each_run(dataset, Run.departure_step))
    if np.isfinite(left):
        axes.axvline(left, color="0.6", linewidth=0.8, label=f"departs from it, step {left:.0f}")
    step_axis(axes, dataset, title="(b) loss", ylabel="mean squared error / initial test loss")
    axes.set_ylim(bottom=0)
    legend_below(axes)


def _plot_printed(axes: Axes, dataset: xr.Dataset) -> None:
    plot_curve(axes, dataset, "weight_norm", color=COLORS["norm"], label=r"weight norm $\|w\|$")
    step_axis(axes, dataset, title="(c) norm and alignment", ylabel=r"weight norm $\|w\|$")
    axes.set_ylim(bottom=0)
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    for name, label, dashed in [
        ("printed_alignment", "alignment, columns and labels centred", False),
        ("chance_alignment", "the same for random labels", True),
    ]:
        plot_curve(right, dataset, name, color=COLORS["alignment"], label=label, dashed=dashed)
    right.set_ylabel("alignment of $K_t$, test points")
    right.set_ylim(bottom=0)
    legend_below(axes, right)


FIG1 = FigureSpec(
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
    plot=plot,
)
