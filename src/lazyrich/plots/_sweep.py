"""A sweep: the losses of many runs, coloured by one axis."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ._style import house_style, new_figure

_MOST_LEGEND_ROWS = 12


def draw_sweep(dataset: xr.Dataset, *, title: str) -> Figure:
    """Losses of a sweep: a colour for each place along its first axis, other axes as a band.

    Train is dashed, test is solid: the median over all other axes, with a band from
    lowest to highest. Steps are on a log scale, so step 0 is left out.

    Args:
        dataset: with ``train_loss`` and ``test_loss`` over the axes of the sweep and
            ``save_step``.
        title: of the picture.

    Returns:
        The figure.
    """
    first = str(dataset.train_loss.dims[0])
    grouped = dataset if first != "save_step" else dataset.expand_dims(run=["run"])
    first = str(grouped.train_loss.dims[0])
    values = grouped[first].values if first in grouped.coords else np.arange(grouped.sizes[first])
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(values)))
    with house_style():
        figure, (axes,) = new_figure(1, 1)
        for place, (value, color) in enumerate(zip(values, colors, strict=True)):
            shown = place % -(-len(values) // _MOST_LEGEND_ROWS) == 0
            one = grouped.isel({first: place})
            for name, style in (("train_loss", "--"), ("test_loss", "-")):
                label = _label(first, value) if shown and style == "-" else "_"
                _draw(axes, one[name], color=color, linestyle=style, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("optimizer steps")
        unit = dataset.test_loss.attrs.get("units", "")
        axes.set_ylabel(f"loss / {unit}" if unit else "loss")
        axes.set_title(f"{title} (dashed: train, solid: test)")
        if len(values) > 1:
            axes.legend()
    return figure


def _draw(axes: Any, curves: xr.DataArray, *, color: Any, linestyle: str, label: str) -> None:
    others = [dim for dim in curves.dims if dim != "save_step"]
    table = curves.stack(run=others) if others else curves.expand_dims(run=[0])
    table = table.sel(save_step=table.save_step > 0).transpose("run", "save_step")
    values = np.ma.masked_invalid(table.values)
    has_any = ~np.ma.getmaskarray(values).all(axis=0)  # runs may have steps of their own
    steps, values = table.save_step.values[has_any], values[:, has_any]
    axes.plot(steps, np.ma.median(values, axis=0), linestyle, color=color, label=label)
    if table.sizes["run"] > 1:
        axes.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0
        )


def _label(name: str, value: Any) -> str:
    return (
        f"{name} = {value:.4g}" if isinstance(value, float | np.floating) else f"{name} = {value}"
    )
