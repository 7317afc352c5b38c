"""Curves over steps: the median over seeds with a band from lowest to highest."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from ._style import COLORS

BAND = "_band"
"""The label of what is shaded from the lowest to the highest run; with "_", no legend has it."""


def has_bands(figure: Figure) -> bool:
    """Whether anything in a figure is shaded from the lowest to the highest run.

    Args:
        figure: with panels.

    Returns:
        True if its caption has to say what the bands are.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> figure, [axes] = new_figure(1, 1)
        >>> plot_line(axes, xr.DataArray([0.1, 0.3, 0.2]), color="k", label="$K_0$")
        >>> has_bands(figure)
        True
    """
    return any(
        artist.get_label() == BAND
        for axes in figure.axes
        for artist in (*axes.collections, *axes.patches)
    )


def plot_curve(
    axes: Axes,
    dataset: xr.Dataset,
    name: str,
    *,
    color: ColorType,
    label: str | None = None,
    dashed: bool = False,
) -> None:
    """Draw the median of a curve over seeds, with a band from lowest to highest.

    Args:
        axes: where.
        dataset: with the dimensions ``seed`` and ``step``; step 0 has no place on a
            log axis and is left out, and so are evaluation steps that no seed has.
        name: the variable.
        color: of line and band.
        label: for the legend; None leaves the curve out of it.
        dashed: train is dashed, test is solid.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> coords = {"seed": [0, 1], "step": [0, 1, 10]}
        >>> losses = np.array([[1.0, 0.5, 0.1], [1.0, 0.7, 0.3]])
        >>> dataset = xr.Dataset({"loss": (("seed", "step"), losses)}, coords)
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_curve(axes, dataset, "loss", color="k")
        >>> axes.lines[0].get_ydata().round(3).tolist()
        [0.6, 0.2]
    """
    plot_band(
        axes,
        dataset[name].transpose("seed", "step"),
        color=color,
        linestyle="--" if dashed else "-",
        label=label or "_",
    )


def plot_band(
    axes: Axes, curves: xr.DataArray, *, color: ColorType, linestyle: str, label: str
) -> None:
    """The median over the first dimension, with a band from lowest to highest.

    Args:
        axes: where.
        curves: over any first dimension and ``step``; step 0 has no place on a log axis
            and is left out, and so are evaluation steps at which no curve is finite.
        color: of line and band.
        linestyle: of the line.
        label: for the legend; "_" leaves the curve out of it.
    """
    curves = curves.sel(step=curves.step > 0)
    values = np.ma.masked_invalid(curves.values)
    has_any = ~np.ma.getmaskarray(values).all(axis=0)  # curves may have steps of their own
    steps, values = curves.step.values[has_any], values[:, has_any]
    axes.plot(steps, np.ma.median(values, axis=0), linestyle, color=color, label=label)
    if len(values) > 1:
        axes.fill_between(
            steps,
            values.min(axis=0),
            values.max(axis=0),
            color=color,
            alpha=0.18,
            linewidth=0,
            label=BAND,
        )


def plot_losses(
    axes: Axes, dataset: xr.Dataset, *, color: ColorType, label: str, name: str = "{}_loss"
) -> None:
    """Draw a train curve (dashed) and its test curve (solid), named once in the legend.

    Args:
        axes: where.
        dataset: as for ``plot_curve``.
        color: of both.
        label: for the legend.
        name: of the two variables, with {} for "train" and "test".

    Example:
        >>> from lazyrich.plots import new_figure
        >>> losses = (("seed", "step"), np.ones((1, 2)))
        >>> dataset = xr.Dataset(
        ...     {"train_loss": losses, "test_loss": losses}, {"seed": [0], "step": [0, 1]}
        ... )
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_losses(axes, dataset, color="k", label="network")
        >>> [line.get_linestyle() for line in axes.lines]
        ['--', '-']
    """
    plot_curve(axes, dataset, name.format("train"), color=color, dashed=True)
    plot_curve(axes, dataset, name.format("test"), color=color, label=label)


def plot_line(axes: Axes, values: xr.DataArray, *, color: str, label: str) -> None:
    """Draw a number that does not depend on the step: median over seeds, and a band.

    Args:
        axes: where.
        values: the number, over any dimensions.
        color: of line and band.
        label: for the legend.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_line(axes, xr.DataArray([0.1, 0.3, 0.2]), color="k", label="$K_0$")
        >>> float(axes.lines[0].get_ydata()[0])
        0.2
    """
    axes.axhline(float(values.median()), color=color, linestyle=":", label=label, linewidth=1.2)
    if values.size > 1:
        low, high = float(values.min()), float(values.max())
        axes.axhspan(low, high, color=color, alpha=0.08, linewidth=0, label=BAND)


def plot_network_and_linearized(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw the losses of network and linearized network, and that of regression with K₀.

    Each seed's losses are divided by its own test loss at the start: seeds differ in the
    size of their labels.

    Args:
        axes: where.
        dataset: with train and test loss of both, and ``kernel_regression_loss``, over
            ``seed`` and ``step``.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> names = ("train_loss", "test_loss", "linearized_train_loss", "linearized_test_loss")
        >>> losses = (("seed", "step"), np.full((1, 2), 2.0))
        >>> dataset = xr.Dataset(
        ...     dict.fromkeys((*names, "kernel_regression_loss"), losses),
        ...     {"seed": [0], "step": [0, 1]},
        ... )
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_network_and_linearized(axes, dataset)
        >>> len(axes.lines), float(axes.lines[0].get_ydata()[0])
        (5, 1.0)
    """
    start = dataset.test_loss.isel(step=0)
    for prefix, who, color in [
        ("", "network", "net"),
        ("linearized_", "linearized network", "linearized"),
    ]:
        for part in ("train", "test"):
            name = f"{prefix}{part}_loss"
            relative = (dataset[name] / start).to_dataset(name=name)
            style = {"color": COLORS[color], "label": f"{who}, {part}"}
            plot_curve(axes, relative, name, **style, dashed=part == "train")
    line = dataset.kernel_regression_loss.isel(step=0) / start
    plot_line(axes, line, color="black", label="regression with $K_0$, test")


def step_axis(
    axes: Axes, dataset: xr.Dataset, *, title: str, ylabel: str, xlabel: str = "optimizer steps"
) -> None:
    """Label a panel whose x axis counts steps, on a log scale.

    Args:
        axes: where.
        dataset: with the coordinate ``step``; the axis ends at the last of them.
        title: of the panel.
        ylabel: name of what is drawn, with its unit.
        xlabel: name of the steps.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> step_axis(axes, xr.Dataset(coords={"step": [0, 100]}), title="a", ylabel="loss")
        >>> axes.get_xscale(), axes.get_xlim() == (1, 100)
        ('log', True)
    """
    axes.set_xscale("log")
    axes.set_xlim(1, max(2.0, float(dataset.step.max())))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
