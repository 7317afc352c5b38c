"""Figure 4: learning curves, and the three terms of the test loss."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import rank_correlation
from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_curve,
    plot_line,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, by_claim, run_at
from .._seed_values import caption_above
from .._value import missing

# "paper" has the authors' settings; more test points than theirs, so that Eq. 6 is
# held against a sharper measurement.
AUTHORS = CommitteeExperiment(
    dim=40,
    width=2,
    n_train=120,
    epsilon=0.25,
    learning_rate=0.5,
    n_steps=50_000,
    center=False,
    n_test=10_000,
    n_evals=160,
)
PRINTED = AUTHORS.changed({"printed": PrintedDraw(), "n_test": 1000, "precision": "float64"})
PRESETS = {
    "authors": PRINTED,
    "paper": AUTHORS,
    "quick": CommitteeExperiment(
        dim=50,
        width=500,
        n_train=400,
        epsilon=0.06,
        learning_rate=2.0,
        n_steps=10_000,
        n_test=10_000,
    ),
}
TERMS = ("variance_term", "misalignment_term", "linear_term")
CURVES = ("train_loss", "test_loss", "kernel_regression_loss", *TERMS)


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """One run a seed."""
    return {"runs": Panel(grid(PRESETS[preset], {"seed": seeds}))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    claims = claims_of("fig4")
    return by_claim(
        panels["runs"],
        {
            "three terms sum to the loss": terms_gap,
            "the peaks coincide": _peaks_ratio,
            "linear power explains the rise": linear_share_of_rise,
            "alignment improves": lambda run: run.settled(
                "misalignment_term",
                claims["alignment improves"],
                over=run.start("misalignment_term"),
            ),
            "misalignment falls as alignment grows": lambda run: rank_correlation(
                run["misalignment_term"], run["population_alignment"]
            ),
            "linear power vanishes": lambda run: run.settled(
                "linear_term", claims["linear power vanishes"], over=float(run["linear_term"].max())
            ),
            "train loss falls first": lambda run: run.delay().ratio,
        },
    )


# Where the test loss never rose there is no peak to explain.
_NO_RISE = missing("the test loss never rose")


def _top(run: Run) -> int:
    """The record at which the test loss is highest before it falls."""
    before = run.steps <= run.delay().test_step
    return int(np.argmax(np.where(before, run["test_loss"], -np.inf)))


def _peaks_ratio(run: Run) -> float:
    """When the linear term is highest, over when the test loss is."""
    top, linear_top = _top(run), int(np.argmax(run["linear_term"]))
    return float(run.steps[linear_top] / run.steps[top]) if top else _NO_RISE


def linear_share_of_rise(run: Run) -> float:
    """How much the linear term grows while the test loss rises, over that rise."""
    top, test, linear = _top(run), run["test_loss"], run["linear_term"]
    rise = test[top] - test[0]
    return float((linear[top] - linear[0]) / rise) if rise > 0 else _NO_RISE


def terms_gap(run: Run) -> float:
    """Largest gap between the test loss and the sum of its terms, in standard errors."""
    total = sum(run[name] for name in TERMS)
    return float(np.max(np.abs(run["test_loss"] - total) / run["test_loss_error"]))


def plot(panels: Panels, caption: str) -> Figure:
    """Learning curves; the terms, their sum and the measured loss; misalignment and alignment."""
    dataset = panels["runs"]
    has_alignment = "population_alignment" in dataset
    figure, (losses, terms, *rest) = new_figure(1, 3 if has_alignment else 2)
    # Seeds differ in the size of their target: each is measured by its own start.
    relative = dataset[[*CURVES]] / dataset.test_loss.isel(step=0)
    relative["total"] = sum(relative[name] for name in TERMS)
    ylabel = "mean squared error / initial test loss"
    for part, dashed in [("train", True), ("test", False)]:
        plot_curve(losses, relative, f"{part}_loss", color=COLORS["net"], label=part, dashed=dashed)
    # Some seeds generalise and some never do: the median alone would be neither.
    for k, seed in enumerate(relative.seed.values if relative.sizes["seed"] > 1 else ()):
        curve, label = relative.test_loss.sel(seed=seed), "test, each seed" if k == 0 else "_"
        losses.plot(curve.step, curve, color=COLORS["net"], linewidth=0.5, label=label)
    line = relative.kernel_regression_loss.isel(step=0)
    plot_line(
        losses,
        line,
        color="black",
        label="regression with $K_0$, test",
    )
    step_axis(losses, dataset, title="learning curves", ylabel=ylabel)
    for name, color, label, dashed in [
        ("test_loss", "net", "test loss, measured", False),
        ("total", "sum", "sum of the terms (Eq. 6)", True),
        ("linear_term", "linear", "power in linear modes", False),
        ("misalignment_term", "misalignment", "misalignment error", False),
        ("variance_term", "variance", "variance error", False),
    ]:
        plot_curve(terms, relative, name, color=COLORS[color], label=label, dashed=dashed)
    step_axis(terms, dataset, title="terms of the test loss", ylabel=ylabel)
    for axes in (losses, terms):
        axes.set_ylim(bottom=0)
        legend_below(axes)
    for axes in rest:
        _plot_misalignment(axes, dataset)
    caption_above(figure, caption)
    return figure


def _plot_misalignment(axes: Axes, dataset: xr.Dataset) -> None:
    """Every seed's way through the plane of alignment and misalignment error."""
    for k, seed in enumerate(dataset.seed.values):
        run = run_at(dataset, seed=seed)
        across, up = run["population_alignment"], run["misalignment_term"]
        up = up / run.start("misalignment_term")
        label = "one line a seed, from the open circle" if k == 0 else "_"
        axes.plot(across, up, color=COLORS["misalignment"], linewidth=1, alpha=0.7, label=label)
        axes.plot(across[0], up[0], "o", color=COLORS["misalignment"], markerfacecolor="white")
    axes.set(xscale="log", yscale="log", xlabel="alignment of $K_t$ over all inputs")
    axes.set_ylim(bottom=max(1e-6, axes.get_ylim()[0]))
    axes.set_ylabel("misalignment error / its start")
    axes.set_title("§5.3: misalignment against alignment")
    legend_below(axes)


FIG4 = FigureSpec(
    name="fig4",
    statement="The early rise of the test loss is power in linear modes; it falls when the "
    "features align.",
    n_seeds={"quick": 6, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=40, P=120, N=2, ε=0.25, α=1, η=0.5·N/α², not centred",
        "quick": "D=50, P=400, N=500, ε=0.06, α=1, η=2·N/α², centred",
        "paper": "D=40, P=120, N=2, ε=0.25, α=1, η=0.5·N/α², not centred",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
