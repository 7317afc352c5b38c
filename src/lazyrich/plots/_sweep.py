"""A sweep: the losses of many runs, coloured by one axis."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ._curves import has_bands, plot_band
from ._style import figure_style, new_figure

_MOST_LEGEND_ROWS = 12


def plot_sweep_losses(dataset: xr.Dataset, *, title: str) -> Figure:
    """Losses of a sweep: a colour for each place along its first axis, other axes as a band.

    Train is dashed, test is solid: the median over all other axes, with a band from
    lowest to highest. Steps are on a log scale, so step 0 is left out.

    Args:
        dataset: with ``train_loss`` and ``test_loss`` over the axes of the sweep and
            ``step``.
        title: of the picture.

    Returns:
        The figure.

    Example:
        >>> losses = (("alpha", "step"), np.ones((3, 2)))
        >>> sweep = xr.Dataset(
        ...     {"train_loss": losses, "test_loss": losses},
        ...     {"alpha": [0.5, 1.0, 2.0], "step": [0, 1]},
        ... )
        >>> [axes] = plot_sweep_losses(sweep, title="three α").axes
        >>> len(axes.lines)
        6
    """
    first = str(dataset.train_loss.dims[0])
    grouped = dataset if first != "step" else dataset.expand_dims(run=["run"])
    first = str(grouped.train_loss.dims[0])
    values = grouped[first].values if first in grouped.coords else np.arange(grouped.sizes[first])
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.92, len(values)))
    with figure_style():
        figure, (axes,) = new_figure(1, 1)
        for index, (value, shade) in enumerate(zip(values, shades, strict=True)):
            color = to_rgba(shade)
            has_label = index % -(-len(values) // _MOST_LEGEND_ROWS) == 0
            one = grouped.isel({first: index})
            for name, style in (("train_loss", "--"), ("test_loss", "-")):
                label = _label(first, value) if has_label and style == "-" else "_"
                plot_band(axes, _as_table(one[name]), color=color, linestyle=style, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("optimizer steps")
        unit = dataset.test_loss.attrs.get("units", "")
        axes.set_ylabel(f"loss / {unit}" if unit else "loss")
        bands = "\nbands: lowest to highest run, line: median" if has_bands(figure) else ""
        axes.set_title(f"{title} (dashed: train, solid: test){bands}")
        if len(values) > 1:
            axes.legend()
    return figure


def _as_table(curves: xr.DataArray) -> xr.DataArray:
    """Curves over one dimension of runs and the steps."""
    others = [dim for dim in curves.dims if dim != "step"]
    table = curves.stack(run=others) if others else curves.expand_dims(run=[0])
    return table.transpose("run", "step")


def _label(name: str, value: object) -> str:
    return (
        f"{name} = {value:.4g}" if isinstance(value, float | np.floating) else f"{name} = {value}"
    )
