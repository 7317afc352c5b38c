"""Figure 14: targets that span one, two and three directions."""

from collections.abc import Callable, Sequence

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
from lazyrich.training import CommitteeExperiment

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, each_run
from .._seed_values import caption_above, steps_label

# The authors' settings are not known; "paper" has their Figure 1's sizes. Gradient flow is
# their rate's limit: at η=N/α² descent follows it closely.
PRESETS = {
    "paper": CommitteeExperiment(
        dim=100,
        width=500,
        n_train=550,
        epsilon=0.02,
        dynamics="flow",
        n_steps=1_000_000,
        n_evals=160,
    ),
    "quick": CommitteeExperiment(
        dim=50,
        width=500,
        n_train=400,
        epsilon=0.06,
        learning_rate=2.0,
        dynamics="flow",
        n_steps=20_000,
    ),
}
COUNTS = {
    1: "grokking with one direction",
    2: "grokking with two directions",
    3: "grokking with three directions",
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Sums of one, two and three squares."""
    experiments = grid(PRESETS[preset], {"n_directions": COUNTS, "seed": seeds})
    return {"runs": Panel(experiments, ("n_directions",))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    return {
        claim: each_run(panels["runs"], lambda run: run.delay().ratio, n_directions=count)
        for count, claim in COUNTS.items()
    }


def plot(panels: Panels, caption: str) -> Figure:
    """Losses by the number of directions; when each loss falls."""
    dataset = panels["runs"]
    figure, (losses, falls) = new_figure(1, 2)
    colors = sweep_colors(dataset.n_directions.values.tolist())
    for count, color in colors.items():
        one = dataset.sel(n_directions=count)
        # More directions make larger labels: each run is measured by its own start.
        relative = one[["train_loss", "test_loss"]] / one.test_loss.isel(step=0)
        plot_losses(losses, relative, color=color, label=f"directions: {count}")
    step_axis(
        losses,
        dataset,
        title=r"targets ½ Σ$_k(\beta_k\cdot x)^2$ (dashed: train)",
        ylabel="mean squared error / initial test loss",
        xlabel=steps_label(dataset),
    )
    losses.set_ylim(bottom=0)
    _plot_falls(falls, dataset, _test_step, label="test loss", color=COLORS["net"])
    _plot_falls(falls, dataset, _train_step, label="train loss", color=COLORS["norm"])
    sweep_axis(
        falls,
        title="not in the paper: the delay grows",
        xlabel="number of directions",
        ylabel="step at 10 % of the initial train loss",
    )
    falls.set_xticks(dataset.n_directions.values)
    for axes in (losses, falls):
        legend_below(axes)
    caption_above(figure, caption)
    return figure


def _test_step(run: Run) -> float:
    return float(run.delay().test_step)


def _train_step(run: Run) -> float:
    return float(run.delay().train_step)


def _plot_falls(
    axes: Axes, dataset: xr.Dataset, read: Callable[[Run], float], *, label: str, color: str
) -> None:
    measured = along(dataset, "n_directions", read)
    plot_sweep(axes, dataset.n_directions.values, measured, color=color, label=label)


FIG14 = FigureSpec(
    name="fig14",
    statement="Grokking persists when the target function spans more than one direction.",
    n_seeds={"quick": 3, "paper": 24},
    captions={
        "quick": "sums of squares; D=50, P=400, N=500, ε=0.06, α=1, gradient flow, centred",
        "paper": "sums of squares; D=100, P=550, N=500, ε=0.02, α=1, gradient flow, centred; "
        "the paper does not give its settings",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
