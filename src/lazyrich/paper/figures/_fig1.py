"""Figure 1(b, c): grokking without weight decay, its linearised twin, norm and alignment."""

import jax.numpy as jnp
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.measures import grokking_delay, leave_step, peak_before, value_at
from lazyrich.plots import (
    COLORS,
    draw_curve,
    draw_line,
    legend_below,
    new_figure,
    step_axis,
)

from .._committee_run import CommitteeSettings, committee_run
from .._recipe import Preset, Recipe

# "paper" has the authors' settings; "quick" the same with five of their steps in one.
PRESETS = {
    "paper": Preset(
        CommitteeSettings(
            dim=100,
            width=500,
            n_train=550,
            alpha=1.0,
            epsilon=0.02,
            learning_rate=1.0,
            n_steps=100_000,
            n_saves=160,
        ),
        n_seeds=5,
    ),
    "quick": Preset(
        CommitteeSettings(
            dim=100,
            width=500,
            n_train=550,
            alpha=1.0,
            epsilon=0.02,
            learning_rate=5.0,
            n_steps=20_000,
            n_saves=100,
        ),
        n_seeds=3,
    ),
}


def _statistics_of_seed(run: xr.Dataset) -> dict[str, float]:
    steps = jnp.asarray(run.step.values)
    curve = {name: jnp.asarray(values) for name, values in run.items() if values.ndim}
    train, test = curve["train_loss"], curve["test_loss"]
    delay = grokking_delay(steps, train, test)
    peak, _ = peak_before(steps, test, delay.test_step, where=train <= 0.9 * train[0])
    left = leave_step(steps, test, curve["twin_test_loss"])
    train_left = value_at(steps, train, left) / train[0]
    norm, alignment = curve["weight_norm"], curve["alignment"]
    debiased, chance = curve["debiased_alignment"], curve["chance_alignment"]
    exact = curve["population_centered_alignment"]
    statistics = {
        "train falls first": delay.ratio,
        "test loss rises": peak / test[0],
        "lazy at first": 1 - train_left,
        "lazy until fitted": train_left,
        "beats the kernel": test[-1] / run.kernel_regression_loss.item(),
        "weight norm grows": norm[-1] / norm[0],
        "weight norm never falls": jnp.mean(jnp.diff(norm) >= 0),
        "alignment grows": alignment[-1] / alignment[0],
        "debiased alignment grows": debiased[-1] / debiased[0],
        "alignment beats chance": alignment[-1] / chance[-1],
        "exact alignment grows": exact[-1] / exact[0],
    }
    return {name: float(value) for name, value in statistics.items()}


def statistics(dataset: xr.Dataset) -> dict[str, list[float]]:
    """The statistic of each claim, one value for each seed."""
    of_seeds = [_statistics_of_seed(dataset.sel(seed=seed)) for seed in dataset.seed.values]
    return {name: [of_seed[name] for of_seed in of_seeds] for name in of_seeds[0]}


def draw(dataset: xr.Dataset, caption: str) -> Figure:
    """Losses; norm and alignment as printed; below, what the print could not show."""
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
    # Seeds differ in the size of their target: each is measured by its own start.
    relative = dataset / dataset.test_loss.isel(step=0)
    for name, who, color in [("", "network", "net"), ("twin_", "linearised twin", "twin")]:
        for part, dashed in [("train", True), ("test", False)]:
            draw_curve(
                axes,
                relative,
                f"{name}{part}_loss",
                color=COLORS[color],
                label=f"{who}, {part}",
                dashed=dashed,
            )
    draw_line(
        axes, relative.kernel_regression_loss, color="black", label="regression with $K_0$, test"
    )
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
        ("alignment", "alignment (paper)", False),
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
    presets=PRESETS,
    run=committee_run,
    statistics=statistics,
    draw=draw,
)
