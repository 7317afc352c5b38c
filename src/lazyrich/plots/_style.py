"""The common look, and writing a picture whole or not at all."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with any common colour blindness, and in grey.
COLORS = {
    "net": "#0072B2",
    "twin": "#009E73",
    "norm": "#D55E00",
    "alignment": "#555555",
    "debiased": "#CC79A7",
    "population": "#56B4E9",
    "linear": "#000000",
    "misalignment": "#009E73",
    "variance": "#E69F00",
    "sum": "#D55E00",
}

_STYLE: Any = {
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
}


@contextlib.contextmanager
def house_style() -> Generator[None]:
    """Fonts, lines and legends of every figure, without touching the caller's settings."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(n_rows: int, n_columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels, outside of matplotlib's global state.

    Args:
        n_rows: rows of panels.
        n_columns: columns of panels.

    Returns:
        The figure and its axes, row by row.
    """
    figure = Figure(figsize=(3.8 * n_columns, 3.4 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(n_rows, n_columns, squeeze=False).flat)


def legend_below(*axes: Axes) -> None:
    """One legend for panels that share a frame, under it, where it covers no curve."""
    found = [one.get_legend_handles_labels() for one in axes]
    handles = [handle for one in found for handle in one[0]]
    labels = [label for one in found for label in one[1]]
    axes[0].legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def write_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.pdf, each whole or not at all.

    Args:
        figure: what to write.
        folder: an existing folder.
        name: file name without its ending.

    Returns:
        The two paths.
    """
    paths = []
    for ending in ("png", "pdf"):
        path = folder / f"{name}.{ending}"
        unfinished = folder / f".{name}.{os.getpid()}.{ending}"
        try:
            # A fixed creation date: equal data give equal files.
            metadata = {"CreationDate": None} if ending == "pdf" else None
            figure.savefig(unfinished, metadata=metadata)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        paths.append(path)
    return paths
