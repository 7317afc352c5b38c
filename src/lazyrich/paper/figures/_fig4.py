"""Figure 4: learning curves, and the three terms that the test loss is made of."""

import jax.numpy as jnp
import xarray as xr
from matplotlib.figure import Figure

from lazyrich.measures import grokking_delay, peak_before, value_at
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

# "paper" has the authors' settings; more test points than theirs, so that Eq. 6 is
# held against a sharper measurement.
PRESETS = {
    "paper": Preset(
        CommitteeSettings(
            dim=40,
            width=2,
            n_train=120,
            alpha=1.0,
            epsilon=0.25,
            learning_rate=0.5,
            n_steps=50_000,
            centered=False,
            n_test=10_000,
            n_probe=0,
            n_saves=160,
        ),
        n_seeds=5,
    ),
    "quick": Preset(
        CommitteeSettings(
            dim=50,
            width=500,
            n_train=400,
            alpha=1.0,
            epsilon=0.06,
            learning_rate=2.0,
            n_steps=10_000,
            n_test=10_000,
            n_probe=0,
        ),
        n_seeds=3,
    ),
}


def _statistics_of_seed(run: xr.Dataset) -> dict[str, float]:
    steps = jnp.asarray(run.step.values)
    curve = {name: jnp.asarray(values) for name, values in run.items() if values.ndim}
    train, test, linear = curve["train_loss"], curve["test_loss"], curve["linear"]
    total = curve["variance"] + curve["misalignment"] + linear
    delay = grokking_delay(steps, train, test)
    peak, peak_step = peak_before(steps, test, delay.test_step)
    linear_peak, linear_peak_step = peak_before(steps, linear, jnp.inf)
    rise = peak - test[0]
    linear_rise = value_at(steps, linear, peak_step) - linear[0]
    statistics = {
        "three terms are the loss": jnp.max(jnp.abs(test - total) / curve["test_loss_error"]),
        "the peaks coincide": linear_peak_step / peak_step,
        # Where the test loss never rose there is no rise to explain.
        "linear power is the rise": jnp.where(rise > 0, linear_rise / rise, jnp.nan),
        "alignment improves": curve["misalignment"][-1] / curve["misalignment"][0],
        "linear power goes": linear[-1] / linear_peak,
        "train falls first": delay.ratio,
    }
    return {name: float(value) for name, value in statistics.items()}


def statistics(dataset: xr.Dataset) -> dict[str, list[float]]:
    """The statistic of each claim, one value for each seed."""
    of_seeds = [_statistics_of_seed(dataset.sel(seed=seed)) for seed in dataset.seed.values]
    return {name: [of_seed[name] for of_seed in of_seeds] for name in of_seeds[0]}


def draw(dataset: xr.Dataset, caption: str) -> Figure:
    """Learning curves on the left; the terms, their sum and the measured loss on the right."""
    figure, (losses, terms) = new_figure(1, 2)
    # Seeds differ in the size of their target: each is measured by its own start.
    relative = dataset / dataset.test_loss.isel(step=0)
    relative["total"] = relative.variance + relative.misalignment + relative.linear
    ylabel = "mean squared error / initial test loss"
    for part, dashed in [("train", True), ("test", False)]:
        draw_curve(losses, relative, f"{part}_loss", color=COLORS["net"], label=part, dashed=dashed)
    draw_line(
        losses, relative.kernel_regression_loss, color="black", label="regression with $K_0$, test"
    )
    step_axis(losses, dataset, title="learning curves", ylabel=ylabel)
    for name, color, label, dashed in [
        ("test_loss", "net", "test loss, measured", False),
        ("total", "sum", "sum of the terms (Eq. 6)", True),
        ("linear", "linear", "power in linear modes", False),
        ("misalignment", "misalignment", "misalignment error", False),
        ("variance", "variance", "variance error", False),
    ]:
        draw_curve(terms, relative, name, color=COLORS[color], label=label, dashed=dashed)
    step_axis(terms, dataset, title="what the test loss is made of", ylabel=ylabel)
    for axes in (losses, terms):
        axes.set_ylim(bottom=0)
        legend_below(axes)
    figure.suptitle(caption, fontsize=7.5, color="0.35")
    return figure


FIG4 = Recipe(
    name="fig4",
    statement="The early rise of the test loss is power in linear modes; it falls when the "
    "features align.",
    presets=PRESETS,
    run=committee_run,
    statistics=statistics,
    draw=draw,
)
