"""What a number does along a dial, and over two of them: delays with their censored ones."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

_HATCH = "////"
_CENSORED = "censored"
_MOST_LABELS = 6


def dial_colors(values: Sequence[Any]) -> dict[Any, tuple[float, ...]]:
    """A colour for each value of a dial, dark to light in their order (colour-blind safe).

    Example:
        >>> len(set(dial_colors([0.5, 1.0, 2.0]).values()))
        3
    """
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(values)))
    return {value: tuple(shade) for value, shade in zip(values, shades, strict=True)}


def draw_dial(
    axes: Axes,
    values: ArrayLike,
    measured: ArrayLike,
    *,
    color: Any,
    label: str,
    marker: str = "o",
) -> None:
    """Draw what was measured along a dial: median over seeds, every seed, censored ones apart.

    Infinite values (a test loss that never fell) stand as open triangles above all that
    was seen, and where most seeds are censored the median line ends.

    Args:
        axes: where; its scales are the caller's.
        values: of the dial.
        measured: one row for each seed; infinite where censored, NaN where missing.
        color: of all.
        label: for the legend.
        marker: of finite values.
    """
    x, table = np.asarray(values, float), np.atleast_2d(np.asarray(measured, float))
    with np.errstate(invalid="ignore"):
        median = np.quantile(table, 0.5, axis=0, method="inverted_cdf")
    axes.plot(x, np.where(np.isfinite(median), median, np.nan), color=color, label=label)
    for row in table:
        seen = np.isfinite(row)
        axes.plot(x[seen], row[seen], marker, color=color, markersize=3, alpha=0.6)
    n_censored = np.isinf(table).sum(axis=0)
    if n_censored.any():
        _draw_censored(axes, x[n_censored > 0], n_censored[n_censored > 0], color)


def _draw_censored(axes: Axes, places: np.ndarray, counts: np.ndarray, color: Any) -> None:
    """Open triangles above everything, each with its number of seeds; a row for each curve."""
    rows = [line for line in axes.get_lines() if line.get_gid() == _CENSORED]
    height = 0.97 - 0.09 * len(rows)
    across = axes.get_xaxis_transform()
    style: dict[str, Any] = {"color": color, "markerfacecolor": "none", "markersize": 5}
    label = "_" if rows else "never, in so many seeds"
    axes.plot(
        *(places, np.full(len(places), height), "^"),
        **style,
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


def draw_path(
    axes: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    color: Any,
    label: str,
    marks: Sequence[Sequence[float]] = (),
) -> None:
    """Draw where one run goes in a plane of two measured quantities.

    Args:
        axes: where; its scales are the caller's.
        x: across, in the order of the records.
        y: up.
        color: of all.
        label: for the legend.
        marks: places worth a dot, the last filled and the others open; those that are
            not finite (a moment that never came) are left out.
    """
    axes.plot(np.asarray(x), np.asarray(y), color=color, label=label)
    for k, (across, up) in enumerate(marks):
        if np.isfinite([across, up]).all():
            face = color if k == len(marks) - 1 else "white"
            axes.plot(across, up, "o", color=color, markerfacecolor=face, markersize=4.5, zorder=3)


def dial_axis(axes: Axes, *, title: str, xlabel: str, ylabel: str) -> None:
    """Label a panel whose x axis is a dial: log scales, and room for what is censored.

    Call it when everything is drawn.

    Args:
        axes: where ``draw_dial`` drew; also if all that it drew is censored.
        title: of the panel.
        xlabel: name of the dial.
        ylabel: what was measured, with its unit.
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


def draw_map(
    axes: Axes,
    across: ArrayLike,
    up: ArrayLike,
    cells: ArrayLike,
    *,
    label: str,
    log: bool = True,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw a map over two dials: colour where it was measured, hatching where censored.

    Args:
        axes: where.
        across: values of the dial along x, such as ε; both scales are logarithmic.
        up: values of the dial along y, such as α.
        cells: (up, across); infinite where censored, NaN where there is nothing.
        label: of the colour bar, with its unit.
        log: colours on a log scale.
        limits: lowest and highest colour; None takes the finite cells'.
    """
    values = np.asarray(cells, float)
    finite = values[np.isfinite(values)]
    low, high = limits or ((finite.min(), finite.max()) if finite.size else (1.0, 10.0))
    norm = LogNorm(max(low, 1e-12), max(high, 2e-12)) if log else Normalize(low, high)
    edges = [_edges(np.asarray(dial, float)) for dial in (across, up)]
    shown = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(*edges, shown, norm=norm, cmap="cividis", rasterized=True)
    axes.figure.colorbar(mesh, ax=axes, label=label)
    for row, column in zip(*np.nonzero(np.isinf(values)), strict=True):
        box = (edges[0][column], edges[1][row])
        size = (edges[0][column + 1] - box[0], edges[1][row + 1] - box[1])
        axes.add_patch(
            Rectangle(box, *size, facecolor="0.93", edgecolor="0.6", hatch=_HATCH, linewidth=0)
        )
    dial_ticks(axes.xaxis, across)
    dial_ticks(axes.yaxis, up)


def dial_ticks(axis: Axis, values: ArrayLike) -> None:
    """Label a logarithmic axis at values of a dial, as plain numbers that do not collide.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``.
        values: of the dial, increasing; those too close to the last label get none. Without
            any, the axis has its usual labels.
    """
    dial = np.asarray(values, float)
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    if not len(dial):
        return
    apart = max((dial[-1] / dial[0]) ** (1 / _MOST_LABELS), 1.01) if len(dial) > 1 else 1.01
    shown = [dial[0]]
    for value in dial[1:]:
        if value >= 0.99 * apart * shown[-1]:
            shown.append(value)
    axis.set_ticks(shown, [f"{value:.4g}" for value in shown])
    axis.set_ticks([], minor=True)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders between cells, halfway in log."""
    if len(centres) == 1:
        return centres[0] * np.array([0.8, 1.25])
    logs = np.log(centres)
    inner = (logs[1:] + logs[:-1]) / 2
    ends = [logs[0] - (inner[0] - logs[0]), logs[-1] + (logs[-1] - inner[-1])]
    return np.exp(np.concatenate([ends[:1], inner, ends[1:]]))
