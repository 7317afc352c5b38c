"""Figure 19: eigenvector labels of growing difficulty, with growing amounts of data."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import ordered_share
from lazyrich.plots import (
    COLORS,
    new_figure,
    plot_line,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_colors,
)
from lazyrich.sweeps import grid
from lazyrich.training import KernelRegression, WeightNorm

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, rows_along, table
from .._seed_values import caption_above
from .._value import NO_CONTRAST, missing, reason_of
from .._verdict import Claim
from ._fig5 import AUTHORS, PRINTED, WIDE

# Figure 5's machines, without its kernel. The wide one has a kernel of 230 modes here: P = 240
# is the first of these that could know them all.
_METRICS = {"metrics": (WeightNorm(), KernelRegression()), "linearized": True}
QUICK = WIDE.changed({"dim": 20, "learning_rate": 60.0, "n_steps": 3000, "n_evals": 40}).model_copy(
    update=_METRICS
)
PAPER = AUTHORS.changed({"n_evals": 60}).model_copy(update=_METRICS)
DRAWN = PRINTED.changed({"n_evals": 60}).model_copy(update=_METRICS)
INDICES, PRINTED_INDICES = (1, 70, 100, 150), (1, 5, 70, 75, 100, 150)
LINE = "kernel_regression_loss"
LIMITS = (1e-5, 1e2)  # of pictures of losses relative to their start


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """A run for each number of points, each index and each seed."""
    wide = grid(QUICK, {"n_train": (60, 120, 240), "index": (1, 30, 70, 100), "seed": seeds})
    if preset == "quick":
        return {"runs": Panel(wide, axes=("n_train", "index"))}
    # As many test points as training points, as the authors have it.
    sizes = [(n, n) for n in (100, 200, 400)]
    base, indices = (DRAWN, PRINTED_INDICES) if preset == "authors" else (PAPER, INDICES)
    authors = grid(base, {("n_train", "n_test"): sizes, "index": indices, "seed": seeds})
    runs = {"runs": Panel(authors, axes=("n_train", "index"))}
    return runs if preset == "authors" else runs | {"wide": Panel(wide, axes=("n_train", "index"))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    runs = panels["runs"]
    ends = table(runs, ("n_train", "index"), lambda run: run.relative("test_loss"))
    generalises, beats = (
        claims_of("fig19")[name]
        for name in ("enough data generalises", "rich network below lazy solutions")
    )

    def at_most_data(run: Run) -> float:
        return run.settled("test_loss", generalises, over=run.start("test_loss"))

    most = runs.n_train.values.max()
    gains = [
        rows_along(runs, "index", lambda run: _gain(run, beats), n_train=size)
        for size in runs.n_train.values
    ]
    return {
        "more data helps": [_order(one, 0, "falling") for one in ends],
        "larger j is harder": [_order(one, 1, "rising") for one in ends],
        "enough data generalises": [
            _largest(row, generalises)
            for row in rows_along(runs, "index", at_most_data, n_train=most)
        ],
        "rich network below lazy solutions": [
            _smallest([value for row in rows for value in row], beats)
            for rows in zip(*gains, strict=True)
        ],
    }


def _order(cells: np.ndarray, axis: int, trend: Literal["rising", "falling"]) -> float:
    return (
        ordered_share(cells, axis, trend=trend) if cells.shape[axis] > 1 else missing(NO_CONTRAST)
    )


def _largest(row: Sequence[float], claim: Claim) -> float:
    """The largest value; NaN if one is, unless another is above the threshold already."""
    top = max((value for value in row if not np.isnan(value)), default=np.nan)
    lost = [value for value in row if np.isnan(value)]
    return lost[0] if lost and not (claim.high is not None and top > claim.high) else top


def _gain(run: Run, claim: Claim) -> float:
    """Final test loss over the lazy solution's, where that is no answer; else NaN.

    The better of regression with K₀ and the linearized network: near as many points as
    modes regression
    fits the noise of small modes, where a linearized network has not come to them.
    """
    lazy = min(run.end(LINE), run.end("linearized_test_loss"))
    if lazy < 0.1 * run.start("test_loss"):
        return missing(_NO_FAILURE)
    return run.settled("test_loss", claim, over=lazy)


_NO_FAILURE = "the lazy solution generalises"


def _smallest(values: Sequence[float], claim: Claim) -> float:
    """The smallest gain; NaN if a run may still make it small enough."""
    undone = [v for v in values if np.isnan(v) and reason_of(v) != _NO_FAILURE]
    least = min((v for v in values if not np.isnan(v)), default=missing(_NO_FAILURE))
    return undone[0] if undone and not claim.is_met(least) else least


def plot(panels: Panels, caption: str) -> Figure:
    """Learning curves, points across and index down as printed; the ends in a last column."""
    runs = panels["runs"]
    sizes, indices = runs.n_train.values, runs.index.values
    n_rows, n_columns = len(indices), len(sizes) + 1
    figure, axes = new_figure(n_rows, n_columns)
    figure.set_size_inches(2.7 * n_columns, 2.3 * n_rows)
    for row, index in enumerate(indices):
        for column, size in enumerate(sizes):
            place = axes[row * n_columns + column]
            _plot_cell(place, runs.sel(n_train=size, index=index))
            place.set_title(f"$P$ = {size}, $j$ = {index}")
            place.set_ylabel("loss / initial test loss" if column == 0 else "")
            place.set_xlabel("optimizer steps" if row == n_rows - 1 else "")
        axes[(row + 1) * n_columns - 1].remove()
    # Two rows high: the second of them under the first, where there are two panels.
    cells = axes[0].get_gridspec()
    assert cells is not None
    for k, (name, dataset) in enumerate(panels.items()):
        place = figure.add_subplot(cells[2 * k : 2 * k + 2, -1])
        _plot_ends(place, dataset, "final loss" if name == "runs" else f"final loss, {name}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption_above(figure, caption)
    return figure


def _plot_cell(axes: Axes, dataset: xr.Dataset) -> None:
    curves = dataset[["train_loss", "test_loss", LINE]]
    # Seeds differ in the size of their labels: each is measured by its own start.
    relative = curves / dataset.test_loss.isel(step=0)
    plot_losses(axes, relative, color=COLORS["net"], label="network (dashed: train)")
    line = relative[LINE].isel(step=0)
    plot_line(axes, line, color="black", label="regression with $K_0$, test")
    step_axis(axes, dataset, title="", ylabel="")
    axes.set_yscale("log")
    axes.set_ylim(*LIMITS)


def _plot_ends(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    """Final test loss along the index: the net's, and regression's as crosses."""
    colors = sweep_colors([int(n) for n in dataset.n_train.values])
    for size, color in colors.items():
        one = dataset.sel(n_train=size)
        indices = one.index.values
        ends = along(one, "index", lambda run: run.relative("test_loss"))
        plot_sweep(axes, indices, ends, color=color, label=f"$P$ = {size}")
        lines = along(one, "index", lambda run: run.start(LINE) / run.start("test_loss"))
        axes.plot(indices, np.median(lines, axis=0), "x", color=color, markersize=6)
    axes.set_yscale("log")
    axes.set_ylim(*LIMITS)
    axes.set_xlabel("index $j$ (crosses: regression with $K_0$)")
    axes.set_title(title)
    axes.legend()


FIG19 = FigureSpec(
    name="fig19",
    statement="With more data, labels made from eigenvectors with smaller eigenvalues "
    "generalise too.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=100, N=2, ε=0.25, α=1, η=0.5·N/α², "
        "as many test as training points, centred",
        "quick": "D=20, N=200, ε=0.5, α=1, η=0.3·N/α², trained readouts, centred",
        "paper": "D=100, N=2, ε=0.25, α=1, η=0.5·N/α², as many test as training points, centred",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
