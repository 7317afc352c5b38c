"""What all runs of a panel have in common."""

import json
import textwrap
from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich._base import Json
from lazyrich.plots import has_bands, legend_below, sweep_axis, sweep_colors

from ._claims import claims_of
from ._figure_spec import Panels
from ._run import run_at
from ._value import NO_PRINTED_RUN, missing

_LETTERS_AN_INCH = 17


def shared_number(panel: xr.Dataset, name: str) -> float:
    """A number that all runs of a panel have as this setting."""
    value = shared_setting(panel, name)
    assert isinstance(value, int | float)
    return float(value)


def shared_setting(panel: xr.Dataset, name: str) -> Json:
    """A setting that is the same in all runs of a panel, by its name or the end of its path.

    Returns:
        The value; None if the runs differ in it, or have none such.
    """
    common = json.loads(panel.attrs["common"])
    return next((v for path, v in common.items() if path.rsplit(".", 1)[-1] == name), None)


def caption_above(figure: Figure, caption: str) -> None:
    """The settings above the panels, in as many lines as the width of the figure asks for.

    Where bands are drawn, it says what they are.
    """
    if has_bands(figure):
        caption += "; bands: from the lowest to the highest seed, with a line at the median"
    width = int(_LETTERS_AN_INCH * figure.get_figwidth())
    lines = [line for text in caption.splitlines() for line in textwrap.wrap(text, width)]
    figure.suptitle("\n".join(lines), fontsize=7.5, color="0.35")


def widths_of(panel: xr.Dataset) -> list[float]:
    """The widths of networks with one hidden layer, which name them as lists."""
    return [float(str(text).strip("[](),")) for text in panel.widths.values]


def plot_movement(axes: Axes, panel: xr.Dataset, swept: str, symbol: str, **where: object) -> None:
    """How far the kernel moves against how hard the task is for it, a colour a value."""
    for value, color in sweep_colors(list(panel[swept].values)).items():
        runs = [run_at(panel, seed=s, **where, **{swept: value}) for s in panel.seed.values]
        pairs = [(run.start("difficulty"), run.end("kernel_distance")) for run in runs]
        label = f"{symbol} = {value:g}"
        axes.plot(*zip(*pairs, strict=True), "o", color=color, markersize=3, label=label)
    sweep_axis(
        axes,
        title="§10: kernel movement by difficulty",
        xlabel=r"difficulty $y^\top K_0^{-1}y$",
        ylabel=r"$\|K-K_0\|/\|K_0\|$ at the last step",
    )
    legend_below(axes)


def steps_label(panel: xr.Dataset) -> str:
    """What the evaluation steps of a panel count."""
    is_flow = shared_setting(panel, "dynamics") == "flow"
    return "steps of gradient flow" if is_flow else "optimizer steps"


def with_all_claims(
    figure: str, panels: Panels, found: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """Statistics with those added that the paper has no runs for: NaN, one for each seed."""
    n_seeds = max(panel.sizes["seed"] for panel in panels.values())
    return {
        name: list(found[name]) if name in found else [missing(NO_PRINTED_RUN)] * n_seeds
        for name in claims_of(figure)
    }
