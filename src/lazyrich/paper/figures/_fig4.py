"""Figure 4: learning curves, and the three terms that the test loss is made of."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lazyrich.measures import rank_correlation
from lazyrich.plots import (
    COLORS,
    draw_curve,
    draw_line,
    legend_below,
    new_figure,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._recipe import Panel, Panels, Recipe
from .._runs import Run, by_claim
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
    n_saves=160,
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
    return by_claim(panels["runs"], _statistics)


def _statistics(run: Run) -> dict[str, float]:
    steps, linear = run.steps, run["linear_term"]
    delay = run.delay()
    top, linear_top = _top(run), int(np.argmax(linear))
    return {
        "three terms are the loss": terms_gap(run),
        "the peaks coincide": steps[linear_top] / steps[top] if top else _NO_RISE,
        "linear power is the rise": linear_share_of_rise(run),
        "alignment improves": run.relative("misalignment_term"),
        "misalignment falls as alignment grows": rank_correlation(
            run["misalignment_term"], run["population_alignment"]
        ),
        "linear power goes": run.end("linear_term") / linear[linear_top],
        "train falls first": delay.ratio,
    }


# Where the test loss never rose there is no peak to explain.
_NO_RISE = missing("the test loss never rose")


def _top(run: Run) -> int:
    """The record at which the test loss is highest before it falls."""
    before = run.steps <= run.delay().test_step
    return int(np.argmax(np.where(before, run["test_loss"], -np.inf)))


def linear_share_of_rise(run: Run) -> float:
    """How much the linear term grows while the test loss rises, over that rise."""
    top, test, linear = _top(run), run["test_loss"], run["linear_term"]
    rise = test[top] - test[0]
    return (linear[top] - linear[0]) / rise if rise > 0 else _NO_RISE


def terms_gap(run: Run) -> float:
    """Largest gap between the test loss and the sum of its terms, in standard errors."""
    total = sum(run[name] for name in TERMS)
    return float(np.max(np.abs(run["test_loss"] - total) / run["test_loss_error"]))


def draw(panels: Panels, caption: str) -> Figure:
    """Learning curves on the left; the terms, their sum and the measured loss on the right."""
    dataset = panels["runs"]
    figure, (losses, terms) = new_figure(1, 2)
    # Seeds differ in the size of their target: each is measured by its own start.
    relative = dataset[[*CURVES]] / dataset.test_loss.isel(save_step=0)
    relative["total"] = sum(relative[name] for name in TERMS)
    ylabel = "mean squared error / initial test loss"
    for part, dashed in [("train", True), ("test", False)]:
        draw_curve(losses, relative, f"{part}_loss", color=COLORS["net"], label=part, dashed=dashed)
    line = relative.kernel_regression_loss.isel(save_step=0)
    draw_line(
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
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=40, P=120, N=2, ε=0.25, α=1, η=0.5·N/α², not centred",
        "quick": "D=50, P=400, N=500, ε=0.06, α=1, η=2·N/α², centred",
        "paper": "D=40, P=120, N=2, ε=0.25, α=1, η=0.5·N/α², not centred",
    },
    panels=panels,
    statistics=statistics,
    draw=draw,
)
