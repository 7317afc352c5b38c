"""Curves over steps: median over seeds and a band."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ._style import COLORS


def draw_curve(
    axes: Axes,
    dataset: xr.Dataset,
    name: str,
    *,
    color: Any,
    label: str | None = None,
    dashed: bool = False,
) -> None:
    """Draw the median of a curve over seeds, with a band from lowest to highest.

    Args:
        axes: where.
        dataset: with the dimensions ``seed`` and ``save_step``; step 0 has no place on a
            log axis and is left out, and so are save points that no seed has.
        name: the variable.
        color: of line and band.
        label: for the legend; None leaves the curve out of it.
        dashed: train is dashed, test is solid.
    """
    curve = dataset[name].sel(save_step=dataset.save_step > 0).transpose("seed", "save_step")
    values = np.ma.masked_invalid(curve.values)
    has_any = ~np.ma.getmaskarray(values).all(axis=0)
    steps, values = curve.save_step.values[has_any], values[:, has_any]
    style: dict[str, Any] = {"color": color, "label": "_" if label is None else label}
    axes.plot(steps, np.ma.median(values, axis=0), linestyle="--" if dashed else "-", **style)
    if curve.sizes["seed"] > 1:
        axes.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.18, linewidth=0
        )


def draw_losses(
    axes: Axes, dataset: xr.Dataset, *, color: Any, label: str, name: str = "{}_loss"
) -> None:
    """Draw a train curve (dashed) and its test curve (solid), named once in the legend.

    Args:
        axes: where.
        dataset: as for ``draw_curve``.
        color: of both.
        label: for the legend.
        name: of the two variables, with {} for "train" and "test".
    """
    draw_curve(axes, dataset, name.format("train"), color=color, dashed=True)
    draw_curve(axes, dataset, name.format("test"), color=color, label=label)


def draw_line(axes: Axes, values: xr.DataArray, *, color: str, label: str) -> None:
    """Draw a number that does not depend on the step: median over seeds, and a band."""
    axes.axhline(float(values.median()), color=color, linestyle=":", label=label, linewidth=1.2)
    if values.size > 1:
        axes.axhspan(float(values.min()), float(values.max()), color=color, alpha=0.08, linewidth=0)


def draw_net_and_twin(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw the losses of net and linearised twin, and the line of regression with K₀.

    Every seed is measured by its own test loss at the start: seeds differ in the size of
    their labels.

    Args:
        axes: where.
        dataset: with train and test loss of both, and ``kernel_regression_loss``, over
            ``seed`` and ``save_step``.
    """
    start = dataset.test_loss.isel(save_step=0)
    for prefix, who, color in [("", "network", "net"), ("twin_", "linearised twin", "twin")]:
        for part in ("train", "test"):
            name = f"{prefix}{part}_loss"
            relative = (dataset[name] / start).to_dataset(name=name)
            style = {"color": COLORS[color], "label": f"{who}, {part}"}
            draw_curve(axes, relative, name, **style, dashed=part == "train")
    line = dataset.kernel_regression_loss.isel(save_step=0) / start
    draw_line(axes, line, color="black", label="regression with $K_0$, test")


def step_axis(
    axes: Axes, dataset: xr.Dataset, *, title: str, ylabel: str, xlabel: str = "optimizer steps"
) -> None:
    """Label a panel whose x axis counts steps, on a log scale."""
    axes.set_xscale("log")
    axes.set_xlim(1, float(dataset.save_step.max()))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
