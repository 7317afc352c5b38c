"""Figure 19: eigenvector labels of growing difficulty, with growing amounts of data."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.measures import ordered_share
from lazyrich.plots import (
    COLORS,
    dial_colors,
    draw_dial,
    draw_line,
    draw_losses,
    new_figure,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.training import KernelRegression, WeightNorm

from .._recipe import Panel, Panels, Recipe
from .._runs import Run, along, table
from ._fig5 import AUTHORS, PRINTED, WIDE

# Figure 5's machines, without its kernel. The wide one has a kernel of 230 modes here: P = 240
# is the first of these that could know them all.
_PROBES = {"probes": (WeightNorm(), KernelRegression()), "linearized": True}
QUICK = WIDE.changed({"dim": 20, "learning_rate": 60.0, "n_steps": 3000, "n_saves": 40}).model_copy(
    update=_PROBES
)
PAPER = AUTHORS.changed({"n_saves": 60}).model_copy(update=_PROBES)
DRAWN = PRINTED.changed({"n_saves": 60}).model_copy(update=_PROBES)
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
    gains = table(runs, ("n_train", "index"), _gain_where_the_kernel_fails)
    return {
        "more data helps": [ordered_share(one, 0, trend="falling") for one in ends],
        "larger j is harder": [ordered_share(one, 1, trend="rising") for one in ends],
        "enough data generalises": [float(one[-1].max()) for one in ends],
        "rich learning beats the kernel": [_smallest(one) for one in gains],
    }


def _gain_where_the_kernel_fails(run: Run) -> float:
    """Final test loss over the lazy solution's, where that is no answer; else NaN.

    The better of regression with K₀ and the twin: near as many points as modes regression
    fits the noise of small modes, where a twin has not come to them.
    """
    lazy = min(run.end(LINE), run.end("twin_test_loss"))
    fails = lazy >= 0.1 * run.start("test_loss")
    return run.end("test_loss") / lazy if fails else float("nan")


def _smallest(values: np.ndarray) -> float:
    return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")


def draw(panels: Panels, caption: str) -> Figure:
    """Learning curves, points across and index down as printed; the ends in a last column."""
    runs = panels["runs"]
    sizes, indices = runs.n_train.values, runs.index.values
    n_rows, n_columns = len(indices), len(sizes) + 1
    figure, axes = new_figure(n_rows, n_columns)
    figure.set_size_inches(2.7 * n_columns, 2.3 * n_rows)
    for row, index in enumerate(indices):
        for column, size in enumerate(sizes):
            place = axes[row * n_columns + column]
            _draw_cell(place, runs.sel(n_train=size, index=index))
            place.set_title(f"$P$ = {size}, $j$ = {index}")
            place.set_ylabel("loss / initial test loss" if column == 0 else "")
            place.set_xlabel("optimizer steps" if row == n_rows - 1 else "")
        axes[(row + 1) * n_columns - 1].remove()
    # Two rows high: the second of them under the first, where there are two panels.
    cells = axes[0].get_gridspec()
    assert cells is not None
    for k, (name, dataset) in enumerate(panels.items()):
        place = figure.add_subplot(cells[2 * k : 2 * k + 2, -1])
        _draw_ends(place, dataset, "final loss" if name == "runs" else f"final loss, {name}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(caption, fontsize=7.5, color="0.35")
    return figure


def _draw_cell(axes: Axes, dataset: xr.Dataset) -> None:
    curves = dataset[["train_loss", "test_loss", LINE]]
    # Seeds differ in the size of their labels: each is measured by its own start.
    relative = curves / dataset.test_loss.isel(save_step=0)
    draw_losses(axes, relative, color=COLORS["net"], label="network (dashed: train)")
    line = relative[LINE].isel(save_step=0)
    draw_line(axes, line, color="black", label="regression with $K_0$, test")
    step_axis(axes, dataset, title="", ylabel="")
    axes.set_yscale("log")
    axes.set_ylim(*LIMITS)


def _draw_ends(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    """Final test loss along the index: the net's, and regression's as crosses."""
    colors = dial_colors([int(n) for n in dataset.n_train.values])
    for size, color in colors.items():
        one = dataset.sel(n_train=size)
        indices = one.index.values
        ends = along(one, "index", lambda run: run.relative("test_loss"))
        draw_dial(axes, indices, ends, color=color, label=f"$P$ = {size}")
        lines = along(one, "index", lambda run: run.start(LINE) / run.start("test_loss"))
        axes.plot(indices, np.median(lines, axis=0), "x", color=color, markersize=6)
    axes.set_yscale("log")
    axes.set_ylim(*LIMITS)
    axes.set_xlabel("index $j$ (crosses: regression with $K_0$)")
    axes.set_title(title)
    axes.legend()


FIG19 = Recipe(
    name="fig19",
    statement="More data rescues labels that are made from smaller eigenvectors.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=100, N=2, ε=0.25, α=1, η=0.5·N/α², "
        "as many test as training points, centred",
        "quick": "D=20, N=200, ε=0.5, α=1, η=0.3·N/α², trained readouts, centred",
        "paper": "D=100, N=2, ε=0.25, α=1, η=0.5·N/α², as many test as training points, centred",
    },
    panels=panels,
    statistics=statistics,
    draw=draw,
)
