"""The common style of figures, and writing a picture whole or not at all."""

import contextlib
import io
import os
from collections.abc import Generator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lazyrich._base import FileKind, InputError, read_file, require_writable, write_file

# Okabe and Ito (2008): told apart with any common colour blindness, and in grey.
COLORS = {
    "net": "#0072B2",
    "linearized": "#009E73",
    "norm": "#D55E00",
    "alignment": "#555555",
    "debiased": "#CC79A7",
    "population": "#56B4E9",
    "linear": "#000000",
    "misalignment": "#009E73",
    "variance": "#E69F00",
    "sum": "#D55E00",
}

_STYLE: Any = {  # matplotlib wants its literal names of settings
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
def figure_style() -> Generator[None]:
    """Fonts, lines and legends of every figure, without changing the caller's settings.

    Returns:
        A context manager; figures that are made inside have the style.

    Example:
        >>> with figure_style():
        ...     mpl.rcParams["font.size"]
        9.0
    """
    with mpl.rc_context(_STYLE):
        yield


def new_figure(n_rows: int, n_columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels, outside of matplotlib's global state.

    Args:
        n_rows: rows of panels.
        n_columns: columns of panels.

    Returns:
        The figure and its axes, row by row.

    Example:
        >>> figure, axes = new_figure(1, 2)
        >>> len(axes)
        2
    """
    figure = Figure(figsize=(3.8 * n_columns, 3.4 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(n_rows, n_columns, squeeze=False).flat)


_MOST_LETTERS = 60


def legend_below(*axes: Axes) -> None:
    """One legend for panels that share a frame, under it, where it covers no curve.

    Args:
        *axes: with labelled curves; the legend belongs to the first.

    Example:
        >>> _, [axes] = new_figure(1, 1)
        >>> _ = axes.plot([1, 2], label="train")
        >>> legend_below(axes)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['train']
    """
    legends = [one.get_legend_handles_labels() for one in axes]
    handles = [handle for one in legends for handle in one[0]]
    labels = [label for one in legends for label in one[1]]
    # Longer ones, side by side, would reach into the legend of the next panel.
    n_columns = 2 if 2 * max(map(len, labels), default=0) <= _MOST_LETTERS else 1
    axes[0].legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=n_columns)


CURE = "make room, move it away or choose another name, then run again"


def require_figure_place(folder: Path, name: str, *, cure: str = CURE) -> None:
    """Refuse a place where ``write_figure`` would fail, before anything is computed for it.

    Args:
        folder: where the picture is to be; made if it is not there.
        name: file name without its ending.
        cure: the end of the sentence: what to do.

    Raises:
        InputError: if a file is there that is not a picture of this package, or the folder
            cannot be written.

    Example:
        >>> require_figure_place(Path("pictures"), "..")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: The picture has no name; name a file, such as
        pictures/losses.png.
    """
    if name in ("", ".", ".."):
        raise InputError(f"The picture has no name; name a file, such as {folder / 'losses.png'}.")
    for path, kind in zip(_paths(folder, name), _KINDS, strict=True):
        require_writable(path, kind=kind, cure=cure)


def write_figure(
    figure: Figure, folder: Path, name: str, *, made_from: str = "", cure: str = CURE
) -> list[Path]:
    """Write NAME.png and NAME.pdf, each whole or not at all.

    Args:
        figure: what to write.
        folder: where; made if it is not there.
        name: file name without its ending.
        made_from: a text that stands for all that went into the picture; it is kept in
            the PNG file, where ``find_figure`` looks for it.
        cure: the end of the sentence if they cannot be written: what to do.

    Returns:
        The two paths.

    Raises:
        InputError: if a file is there that is not a picture of this package, or the disk
            refuses; what was there is left as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = write_figure(new_figure(1, 1)[0], Path(folder), "empty")
        >>> [path.name for path in paths]
        ['empty.png', 'empty.pdf']
    """
    require_figure_place(folder, name, cure=cure)
    _give_limits(figure)
    png, pdf = io.BytesIO(), io.BytesIO()
    # A tenth larger than the default, in a third of the time.
    options = {"compress_level": 3}
    figure.savefig(png, format="png", metadata={_MADE_FROM: made_from}, pil_kwargs=options)
    figure.set_layout_engine("none")  # the layout of the first file is kept for the second
    # A fixed creation date: equal data give equal files.
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Keywords": _MARK})
    paths, contents = _paths(folder, name), [png.getvalue(), pdf.getvalue()]
    # The file that says what it is made from comes last: then both are of one kind.
    for path, content, kind in reversed(list(zip(paths, contents, _KINDS, strict=True))):
        write_file(path, content, kind=kind, cure=cure)
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

    Returns:
        The two paths, or an empty list.

    Example:
        >>> find_figure(Path("nowhere"), "losses", "a text")
        []
    """
    paths = _paths(folder, name)
    try:
        png = read_file(paths[0], _MOST_BYTES)
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            is_same = picture.info.get(_MADE_FROM) == made_from
    except (OSError, ValueError, SyntaxError):
        return []
    return paths if is_same and os.path.isfile(paths[1]) else []


_MADE_FROM = "made from"
_MARK = "made by lazyrich"
_MOST_BYTES = 2**28


def _is_our_png(file: BufferedIOBase) -> bool:
    """Whether it says what it is made from, as matplotlib writes it: before the pixels."""
    start = file.read(4096)
    return start[:8] == b"\x89PNG\r\n\x1a\n" and f"tEXt{_MADE_FROM}\0".encode() in start


def _is_our_pdf(file: BufferedIOBase) -> bool:
    """Whether it has our mark, or has no date, as those of the first version had none."""
    content = file.read(_MOST_BYTES)
    is_dateless = b"/Creator (Matplotlib" in content and b"/CreationDate" not in content
    return content[:5] == b"%PDF-" and (f"/Keywords ({_MARK})".encode() in content or is_dateless)


_KINDS = (FileKind("a picture", _is_our_png), FileKind("a picture", _is_our_pdf))


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.{ending}" for ending in ("png", "pdf")]
