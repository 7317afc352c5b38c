"""Figure 5: labels that are eigenvectors of the initial tangent kernel, easy to impossible."""

from collections.abc import Callable, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.models import CommitteeNet
from lazyrich.plots import (
    COLORS,
    new_figure,
    plot_network_and_linearized,
    plot_sweep,
    step_axis,
    sweep_axis,
)
from lazyrich.sweeps import grid
from lazyrich.tasks import EigenvectorTask
from lazyrich.training import (
    Alignment,
    Difficulty,
    Experiment,
    GradientDescent,
    KernelMovement,
    KernelRegression,
    PrintedDraw,
    WeightNorm,
)

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, concordance_of, concordances, each_run, rows_along
from .._seed_values import caption_above, plot_movement, with_all_claims

INDICES = (1, 70, 100)

# The authors' two units, and eigenvectors of the kernel less its mean entry. They subtract
# f(θ₀); without that the loss is f(θ₀)'s, a hundred times the labels', for every j.
AUTHORS = Experiment(
    task=EigenvectorTask(dim=100, n_train=100, n_test=100, scale="norm", less_mean=True),
    net=CommitteeNet(width=2, epsilon=0.25),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=25_000,
    metrics=(WeightNorm(), KernelMovement(n_points=100), KernelRegression()),
    linearized=True,
)
PRINTED = AUTHORS.changed({"printed": PrintedDraw(), "precision": "float64"})
# A wide machine with trained readouts. Its kernel has 90 modes, so that P = 120 is enough
# for the kernel as well: j = 70 is slow, j = 100 is none of its modes.
WIDE = Experiment(
    task=EigenvectorTask(dim=12, n_train=120, n_test=600),
    net=CommitteeNet(width=200, epsilon=0.5, readouts="normal"),
    optimizer=GradientDescent(learning_rate=30.0),
    n_steps=5000,
    n_evals=60,
    metrics=(WeightNorm(), KernelMovement(n_points=200), KernelRegression()),
    linearized=True,
)
# Harder and harder labels, all of them modes of both machines' kernels.
MORE, MORE_INDICES = "more indices", (1, 10, 30, 50, 70, 90)
_OVER_INDEX = (Alignment(n_points=100, points="train"), Difficulty())
_FLOOR = 1e-6  # of the pictures; a line below it is written as a number
ROWS = {
    "authors": {"runs": PRINTED},
    "quick": {"runs": WIDE},
    "paper": {
        "runs": AUTHORS,
        "not centred": AUTHORS.changed({"scaling.center": False}),
        "wide, trained readouts": WIDE,
    },
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """For each row of the picture a run for each index and seed; and more indices."""
    found = {
        name: Panel(grid(base, {"index": INDICES, "seed": seeds}), axes=("index",))
        for name, base in ROWS[preset].items()
    }
    if preset != "authors":
        base = ROWS[preset]["runs"].changed({"metrics": _OVER_INDEX, "linearized": False})
        found[MORE] = Panel(grid(base, {"index": MORE_INDICES, "seed": seeds}), axes=("index",))
    return found


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim, from the first row."""
    runs = panels["runs"]
    top, middle, last = INDICES
    claims = claims_of("fig5")

    def late(run: Run) -> float:
        return run.delay().ratio

    def end(claim: str, scale: Callable[[Run], float]) -> Callable[[Run], float]:
        return lambda run: run.settled("test_loss", claims[claim], over=scale(run))

    def start(run: Run) -> float:
        return run.start("test_loss")

    def line(run: Run) -> float:
        return run.end("kernel_regression_loss")

    def in_the_middle(function: Callable[[Run], float]) -> list[float]:
        return each_run(runs, function, index=middle)

    found = {
        "top eigenvector without delay": each_run(runs, late, index=top),
        "middle eigenvector with delay": in_the_middle(late),
        "middle eigenvector generalises": in_the_middle(
            end("middle eigenvector generalises", start)
        ),
        "last eigenvector does not generalise": each_run(
            runs, end("last eigenvector does not generalise", start), index=last
        ),
        "middle eigenvector below kernel regression": in_the_middle(
            end("middle eigenvector below kernel regression", line)
        ),
        "middle eigenvector below the linearized network": in_the_middle(
            lambda run: run.end("test_loss") / run.end("linearized_test_loss")
        ),
        "middle eigenvector changes the kernel": in_the_middle(
            lambda run: run.settled(
                "kernel_distance", claims["middle eigenvector changes the kernel"]
            )
        ),
        "kernel regression fails at the middle eigenvector": in_the_middle(
            lambda run: line(run) / start(run)
        ),
    }
    if MORE in panels:
        found |= _over_indices(panels[MORE])
    return with_all_claims("fig5", panels, found)


def _over_indices(more: xr.Dataset) -> dict[str, list[float]]:
    """The statistics of the panel with more indices."""
    pairs = (
        rows_along(more, "index", function)
        for function in (
            lambda run: run.start("difficulty"),
            lambda run: run.converged("kernel_distance", floor=0.0),
        )
    )
    return {
        "alignment falls with j": concordances(
            more, "index", lambda run: run.start("alignment"), untrained=True
        ),
        "kernel change grows with difficulty": [
            concordance_of(*rows) for rows in zip(*pairs, strict=True)
        ],
    }


def plot(panels: Panels, caption: str) -> Figure:
    """An index a column, settings a row: the net, its linearized network, and regression with K₀.

    Below, alignment and movement of the kernel over more indices.
    """
    width = max(panels["runs"].sizes["index"], 2)
    rows = {name: panel for name, panel in panels.items() if name != MORE}
    figure, axes = new_figure(len(rows) + (MORE in panels), width)
    for row, (name, dataset) in enumerate(rows.items()):
        said = "" if name == "runs" else f"{name}: "
        for column, index in enumerate(dataset.index.values):
            place = axes[row * width + column]
            _plot_index(place, dataset.sel(index=index), f"{said}$j$ = {index}")
            place.set_xlabel("optimizer steps" if row == len(rows) - 1 else "")
    if MORE in panels:
        _plot_more(*axes[len(rows) * width :][:2], panels[MORE])
    for unused in axes:
        if not unused.has_data():
            unused.remove()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    caption_above(figure, caption)
    return figure


def _plot_index(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    plot_network_and_linearized(axes, dataset)
    line = dataset.kernel_regression_loss.isel(step=0) / dataset.test_loss.isel(step=0)
    moved = dataset.kernel_distance.isel(step=-1).median().item()
    said = r"$\|K-K_0\|/\|K_0\|$" + f" ends at {moved:.2g}"
    if line.median() < _FLOOR:
        said += f"; regression with $K_0$: {line.median().item():.0e}"
    ylabel = "mean squared error / initial test loss"
    step_axis(axes, dataset, title=f"{title}\n{said}", ylabel=ylabel)
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(_FLOOR, axes.get_ylim()[0]))


def _plot_more(alignment: Axes, movement: Axes, panel: xr.Dataset) -> None:
    """How aligned the kernel starts over the index, and how far it moves over the difficulty."""
    indices = panel.index.values
    color = COLORS["alignment"]
    starts = along(panel, "index", lambda run: run.start("alignment"), untrained=True)
    plot_sweep(alignment, indices, starts, color=color, label="all seeds")
    title = "§6.1: alignment with the $j$-th eigenvector"
    sweep_axis(alignment, title=title, xlabel="index $j$", ylabel="alignment of $K_0$")
    plot_movement(movement, panel, "index", "j")


FIG5 = FigureSpec(
    name="fig5",
    statement="Labels made from eigenvectors of the initial kernel: the first generalises without "
    "delay, a middle one late, a last one not at all.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=100, P=100, N=2, ε=0.25, α=1, η=0.5·N/α², centred",
        "quick": "D=12, P=120, N=200, ε=0.5, α=1, η=0.15·N/α², trained readouts, centred",
        "paper": "D=100, P=100, N=2, ε=0.25, α=1, η=0.5·N/α², centred; "
        "wide: D=12, P=120, N=200, ε=0.5, η=0.15·N/α²",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
