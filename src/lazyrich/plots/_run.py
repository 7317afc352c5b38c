"""One run: its curves in a picture, and its losses in a few lines of text."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._curves import step_axis
from ._style import COLORS, figure_style, legend_below, new_figure

_LOWER = {  # record: label, colour
    "alignment": ("alignment (paper's)", "alignment"),
    "debiased_alignment": ("alignment, debiased", "debiased"),
    "kernel_distance": ("kernel movement", "linearized"),
    "parameter_change": ("relative parameter change", "norm"),
}


def plot_run(dataset: xr.Dataset, *, title: str) -> Figure:
    """Losses, accuracies if there are any, and the change of kernel and weights.

    Train is dashed, test is solid; steps are on a log scale, so step 0 is left out.

    Args:
        dataset: one run, with the dimension ``step`` and its records as variables.
        title: of the picture.

    Returns:
        The figure.

    Example:
        >>> losses = ("step", np.array([1.0, 0.5, 0.1]))
        >>> run = xr.Dataset(
        ...     {"train_loss": losses, "test_loss": losses}, {"step": [0, 1, 10]}
        ... )
        >>> len(plot_run(run, title="a run").axes)
        2
    """
    has_accuracy = "test_accuracy" in dataset or "test_threshold_accuracy" in dataset
    with figure_style():
        figure, axes = new_figure(1, 2 + has_accuracy)
        _plot_losses(axes[0], dataset, title)
        if has_accuracy:
            _plot_accuracies(axes[1], dataset)
        _plot_movement(axes[-1], dataset)
    return figure


def _plot_losses(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    unit = dataset.test_loss.attrs.get("units", "")
    _pair(axes, dataset, "{}_loss", color=COLORS["net"], label="{}")
    if "linearized_test_loss" in dataset:
        _pair(
            axes,
            dataset,
            "linearized_{}_loss",
            color=COLORS["linearized"],
            label="{}, linearized network",
        )
    axes.set_yscale("log")
    step_axis(axes, dataset, title=title, ylabel=f"loss / {unit}" if unit else "loss")
    legend_below(axes)


def _plot_accuracies(axes: Axes, dataset: xr.Dataset) -> None:
    if "test_accuracy" in dataset:
        _pair(axes, dataset, "{}_accuracy", color=COLORS["net"], label="{}")
    else:
        shades = np.linspace(0.25, 1, dataset.sizes["threshold"])
        for threshold, shade in zip(dataset.threshold.values, shades, strict=True):
            one = dataset.sel(threshold=threshold)
            name = "{}_threshold_accuracy"
            _pair(axes, one, name, color=COLORS["net"], label=f"{{}}, {threshold:g}", alpha=shade)
    axes.set_ylim(-0.02, 1.02)
    step_axis(axes, dataset, title="accuracy", ylabel="share of points that are right")
    legend_below(axes)


def _plot_movement(axes: Axes, dataset: xr.Dataset) -> None:
    records = dataset.sel(step=dataset.step > 0)
    for name, (label, color) in _LOWER.items():
        if name in dataset:
            axes.plot(records.step, records[name], color=COLORS[color], label=label)
    if "weight_norm" in dataset:
        relative = records.weight_norm / float(dataset.weight_norm[0])
        axes.plot(records.step, relative, color=COLORS["net"], label="weight norm / its start")
    step_axis(axes, dataset, title="lazy or rich?", ylabel="dimensionless")
    if axes.lines:
        legend_below(axes)


def _pair(
    axes: Axes, dataset: xr.Dataset, name: str, *, color: str, label: str, alpha: float = 1.0
) -> None:
    records = dataset.sel(step=dataset.step > 0)
    for part, style in (("train", "--"), ("test", "-")):
        values = np.ma.masked_invalid(records[name.format(part)].values)
        text = label.format(part)
        axes.plot(records.step, values, style, color=color, label=text, alpha=alpha)


_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille cell by column and row."""
_UPPER = 0x01 | 0x02 | 0x08 | 0x10


def text_curve(
    steps: Sequence[int] | Real[np.ndarray, " s"],
    curves: Sequence[Real[np.ndarray, " s"]],
    *,
    width: int = 60,
    height: int = 8,
    has_braille: bool = True,
) -> list[str]:
    """Curves on log axes as lines of braille dots, for a terminal.

    Args:
        steps: increasing step numbers; step 0 is left out.
        curves: values above zero; others leave a gap.
        width: characters of a line.
        height: number of lines.
        has_braille: False draws with ``'`` (upper half of a line), ``.`` (lower half) and
            ``:`` (both), for terminals that show ASCII alone.

    Returns:
        The lines, highest values first; empty if there is nothing to draw.

    Example:
        >>> lines = text_curve([1, 10, 100], [np.array([1.0, 0.1, 0.01])], width=6, height=3)
        >>> [len(line) for line in lines]  # a straight line goes down from left to right
        [2, 4, 6]
    """
    steps = np.asarray(steps, float)
    stacked = np.array(curves, float)[:, steps > 0]
    steps = steps[steps > 0]
    is_shown = np.isfinite(stacked) & (stacked > 0)
    if len(steps) < 2 or not is_shown.any():
        return []
    logs = np.log(np.where(is_shown, stacked, np.nan))
    low, high = np.nanmin(logs), np.nanmax(logs)
    across = np.linspace(np.log(steps[0]), np.log(steps[-1]), 2 * width)
    cells = np.zeros((height, width), int)
    for curve in logs:
        between = np.interp(across, np.log(steps), curve)
        for column, value in enumerate(between):
            if np.isfinite(value):
                share = (high - value) / (high - low) if high > low else 0.5
                row = round(share * (4 * height - 1))
                cells[row // 4, column // 2] |= _DOTS[column % 2][row % 4]
    shown = _braille if has_braille else _ascii
    return ["".join(map(shown, line)).rstrip("\u2800 ") for line in cells.tolist()]


def _braille(bits: int) -> str:
    return chr(0x2800 + bits)


def _ascii(bits: int) -> str:
    return " '.:"[bool(bits & _UPPER) + 2 * bool(bits & ~_UPPER)]
