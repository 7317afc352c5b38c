"""The common look, and writing a picture whole or not at all."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

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


def write_figure(figure: Figure, folder: Path, name: str, *, made_from: str = "") -> list[Path]:
    """Write NAME.png and NAME.pdf, each whole or not at all.

    Args:
        figure: what to write.
        folder: an existing folder.
        name: file name without its ending.
        made_from: a text that stands for all that went into the picture; it is kept in
            the PNG file, where ``find_figure`` looks for it.

    Returns:
        The two paths.
    """
    _give_limits(figure)
    paths = _paths(folder, name)
    unfinished = [path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in paths]
    saved_as: list[dict[str, Any]] = [
        # A tenth larger than the default, in a third of the time.
        {"metadata": {_MADE_FROM: made_from}, "pil_kwargs": {"compress_level": 3}},
        # A fixed creation date: equal data give equal files.
        {"metadata": {"CreationDate": None}},
    ]
    try:
        for path, options in zip(unfinished, saved_as, strict=True):
            figure.savefig(path, **options)
            figure.set_layout_engine("none")  # found for the first file, kept for the second
        # The file that says what it is made from comes last: then both are of one kind.
        for path, to in zip(reversed(unfinished), reversed(paths), strict=True):
            path.replace(to)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)
    return paths


def _give_limits(figure: Figure) -> None:
    """Limits for logarithmic axes on which nothing positive was drawn, which have none."""
    for axes in figure.axes:
        for scale, limits, set_limits in (
            (axes.get_xscale(), axes.get_xlim(), axes.set_xlim),
            (axes.get_yscale(), axes.get_ylim(), axes.set_ylim),
        ):
            if scale == "log" and not 0 < min(limits) <= max(limits) < np.inf:
                set_limits(1, 10)


def find_figure(folder: Path, name: str, made_from: str) -> list[Path]:
    """The two files of a picture if they are there and made from the same; else none.

    Args:
        folder: where ``write_figure`` wrote.
        name: file name without its ending.
        made_from: the text that was given to it.
    """
    paths = _paths(folder, name)
    try:
        with Image.open(paths[0]) as picture:
            is_same = picture.info.get(_MADE_FROM) == made_from
    except OSError:
        return []
    return paths if is_same and paths[1].exists() else []


_MADE_FROM = "made from"


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.{ending}" for ending in ("png", "pdf")]
