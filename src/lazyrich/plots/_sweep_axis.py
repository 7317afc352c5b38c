"""A statistic against one or two swept parameters, with censored values marked."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

Value = TypeVar("Value", bound=Hashable)

_HATCH = "////"
_CENSORED = "censored"
_MOST_LABELS = 6


def sweep_colors(values: Sequence[Value]) -> dict[Value, tuple[float, float, float, float]]:
    """A colour for each value of a swept parameter, dark to light (colour-blind safe).

    Args:
        values: of the parameter, in the order of the shades.

    Returns:
        Red, green, blue and opacity by value.

    Example:
        >>> len(set(sweep_colors([0.5, 1.0, 2.0]).values()))
        3
    """
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(values)))
    return {value: (r, g, b, a) for value, (r, g, b, a) in zip(values, shades, strict=True)}


def plot_sweep(
    axes: Axes,
    values: ArrayLike,
    measured: ArrayLike,
    *,
    color: ColorType,
    label: str,
    marker: str = "o",
) -> None:
    """Draw a number along a swept parameter: median over seeds, every seed, censored ones apart.

    Infinite values (a test loss that never fell) are open triangles above all finite ones,
    and the median line ends where most seeds are censored.

    Args:
        axes: where; its scales are the caller's.
        values: of the parameter.
        measured: one row for each seed; infinite where censored, NaN where missing.
        color: of all.
        label: for the legend.
        marker: of finite values.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_sweep(axes, [1.0, 2.0], [[3.0, np.inf], [5.0, np.inf]], color="k", label="delay")
        >>> axes.lines[0].get_ydata().tolist()  # the second median is censored
        [3.0, nan]
    """
    x, table = np.asarray(values, float), np.atleast_2d(np.asarray(measured, float))
    with np.errstate(invalid="ignore"):
        median = np.quantile(table, 0.5, axis=0, method="inverted_cdf")
    axes.plot(x, np.where(np.isfinite(median), median, np.nan), color=color, label=label)
    for row in table:
        is_finite = np.isfinite(row)
        axes.plot(x[is_finite], row[is_finite], marker, color=color, markersize=3, alpha=0.6)
    n_censored = np.isinf(table).sum(axis=0)
    if n_censored.any():
        _plot_censored(axes, x[n_censored > 0], n_censored[n_censored > 0], color)


def _plot_censored(axes: Axes, places: np.ndarray, counts: np.ndarray, color: ColorType) -> None:
    """Open triangles above everything, each with its number of seeds; a row for each curve."""
    rows = [line for line in axes.get_lines() if line.get_gid() == _CENSORED]
    height = 0.97 - 0.09 * len(rows)
    across = axes.get_xaxis_transform()
    label = "_" if rows else "never, in so many seeds"
    axes.plot(
        places,
        np.full(len(places), height),
        "^",
        color=color,
        markerfacecolor="none",
        markersize=5,
        transform=across,
        label=label,
        gid=_CENSORED,
    )
    for place, n in zip(places, counts, strict=True):
        axes.annotate(
            f"{n}",
            (place, height),
            xycoords=across,
            textcoords="offset points",
            xytext=(0, -9),
            ha="center",
            fontsize=6,
            color=color,
        )


def plot_path(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    color: ColorType,
    label: str,
    marks: Sequence[Sequence[float]] = (),
) -> None:
    """Draw the path of one run in the plane of two measured quantities.

    Args:
        axes: where; its scales are the caller's.
        x: across, in the order of the records.
        y: up.
        color: of all.
        label: for the legend.
        marks: points with a dot, the last filled and the others open; those that are
            not finite (an event that did not happen) are left out.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_path(axes, [0, 1], [1, 0], color="k", label="run", marks=[(0.0, 1.0)])
        >>> len(axes.lines)
        2
    """
    axes.plot(np.asarray(x), np.asarray(y), color=color, label=label)
    for k, (across, up) in enumerate(marks):
        if np.isfinite([across, up]).all():
            face = color if k == len(marks) - 1 else "white"
            axes.plot(across, up, "o", color=color, markerfacecolor=face, markersize=4.5, zorder=3)


def sweep_axis(axes: Axes, *, title: str, xlabel: str, ylabel: str) -> None:
    """Label a panel whose x axis is a swept parameter: log scales, space for censored values.

    Call it when everything is drawn.

    Args:
        axes: where ``plot_sweep`` drew; also if all that it drew is censored.
        title: of the panel.
        xlabel: name of the parameter.
        ylabel: what was measured, with its unit.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_sweep(axes, [1.0, 10.0], [[3.0, 5.0]], color="k", label="delay")
        >>> sweep_axis(axes, title="a", xlabel="α", ylabel="delay / steps")
        >>> axes.get_xscale(), axes.get_yscale()
        ('log', 'log')
    """
    if axes.dataLim.y0 > axes.dataLim.y1:  # no finite value: a log scale needs limits
        axes.set_ylim(1, 10)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.12, 0.25)
    for axis, (low, high) in [(axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())]:
        if high < 100 * low:  # powers of ten alone would be too few
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)


def plot_map(
    axes: Axes,
    across: ArrayLike,
    up: ArrayLike,
    cells: ArrayLike,
    *,
    label: str,
    log: bool = True,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a map over two swept parameters: colours, and hatching where censored.

    Args:
        axes: where.
        across: values of the parameter along x, such as ε; both scales are logarithmic.
        up: values of the parameter along y, such as α.
        cells: (up, across); infinite where censored, NaN where there is nothing.
        label: of the colour bar, with its unit.
        log: colours on a log scale.
        limits: lowest and highest colour; None takes the finite cells'.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> plot_map(axes, [0.1, 1.0], [1.0, 2.0], [[3.0, 5.0], [4.0, np.inf]], label="delay")
        >>> len(axes.patches)  # the censored cell
        1
    """
    values = np.asarray(cells, float)
    finite = values[np.isfinite(values)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (1.0, 10.0))
    norm = LogNorm(max(low, 1e-12), max(high, 2e-12)) if log else Normalize(low, high)
    edges = [_edges(np.asarray(centres, float)) for centres in (across, up)]
    mesh = axes.pcolormesh(
        *edges, np.ma.masked_invalid(values), norm=norm, cmap="cividis", rasterized=True
    )
    axes.figure.colorbar(mesh, ax=axes, label=label)
    for row, column in zip(*np.nonzero(np.isinf(values)), strict=True):
        box = (edges[0][column], edges[1][row])
        size = (edges[0][column + 1] - box[0], edges[1][row + 1] - box[1])
        axes.add_patch(
            Rectangle(box, *size, facecolor="0.93", edgecolor="0.6", hatch=_HATCH, linewidth=0)
        )
    sweep_ticks(axes.xaxis, across)
    sweep_ticks(axes.yaxis, up)


def sweep_ticks(axis: Axis, values: ArrayLike) -> None:
    """Label a logarithmic axis at values of a parameter, as plain numbers that do not overlap.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``.
        values: of the parameter, increasing; those too close to the last label get none. Without
            any, the axis has its usual labels.

    Example:
        >>> from lazyrich.plots import new_figure
        >>> _, [axes] = new_figure(1, 1)
        >>> sweep_ticks(axes.xaxis, [0.5, 0.501, 4.0])
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['0.5', '4']
    """
    ticks = np.asarray(values, float)
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    if not len(ticks):
        return
    least_ratio = (
        max((ticks[-1] / ticks[0]) ** (1 / _MOST_LABELS), 1.01) if len(ticks) > 1 else 1.01
    )
    labelled = [ticks[0]]
    for value in ticks[1:]:
        if value >= 0.99 * least_ratio * labelled[-1]:
            labelled.append(value)
    axis.set_ticks(labelled, [f"{value:.4g}" for value in labelled])
    axis.set_ticks([], minor=True)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders between cells, halfway in log."""
    if len(centres) == 1:
        return centres[0] * np.array([0.8, 1.25])
    logs = np.log(centres)
    inner = (logs[1:] + logs[:-1]) / 2
    ends = [logs[0] - (inner[0] - logs[0]), logs[-1] + (logs[-1] - inner[-1])]
    return np.exp(np.concatenate([ends[:1], inner, ends[1:]]))
