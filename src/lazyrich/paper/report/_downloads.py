"""The data of a figure, small enough to be embedded in the page."""

import base64
import gzip
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from lazyrich._base import open_folder, open_regular

from .._files import read_inside, read_panels

MOST_BYTES = 2_000_000
"""The largest file that goes into the page."""

_MOST_READ = 2**28  # much more than any figure has
_MOST_PLAIN = 200_000  # longer tables are compressed

_KINDS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".nc": "application/x-netcdf",
    ".pdf": "application/pdf",
    ".png": "image/png",
}


_AXES = {
    "seed": "seeds",
    "alpha": "values of α",
    "epsilon": "values of ε",
    "weight_scale": "values of σ",
    "n_train": "values of P",
}


class Download(NamedTuple):
    """A file that the page offers.

    Attributes:
        name: under which it is saved.
        content: what is in it, in a few words.
        n_bytes: its size.
        href: the file itself as a data URI; "" if it is too large for the page.
    """

    name: str
    content: str
    n_bytes: int
    href: str

    @property
    def size(self) -> str:
        """The size for a reader."""
        return size_text(self.n_bytes)


def size_text(n_bytes: int) -> str:
    """A number of bytes for a reader: "94 kB"."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3))} kB"


def data_uri(name: str, content: bytes) -> str:
    """A file as an address that holds all of it."""
    kind = _KINDS[Path(name).suffix]
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def open_panels(path: Path) -> dict[str, xr.Dataset]:
    """The panels of a figure's file; none if it is missing, damaged or a link."""
    return read_panels(read_inside(path.parent, path.name, _MOST_READ) or b"")


def read_png(path: Path) -> bytes:
    """A picture; empty if it is missing, no PNG or a link."""
    pixels = read_inside(path.parent, path.name, _MOST_READ) or b""
    return pixels if pixels.startswith(b"\x89PNG\r\n\x1a\n") else b""


def downloads_of(folder: Path, figure: str, panels: dict[str, xr.Dataset]) -> list[Download]:
    """What one figure offers: dataset, picture as PDF, and the median curves as tables."""
    found = []
    for ending, content in ((".nc", "every run and seed, NetCDF"), (".pdf", "the picture")):
        named = f"{figure}{ending}"
        with suppress(OSError), open_folder(folder) as inside:
            with open_regular(named, inside=inside) as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(MOST_BYTES + 1)
            found.append(_download(named, content, data, max(size, len(data))))
    for name, panel in panels.items():
        table = median_curves(panel)
        if table.empty:
            continue
        text = table.to_csv(float_format="%.6g").encode()
        content = f"median curves of panel {name}" if len(panels) > 1 else "median curves"
        named = f"{figure}_{name}.csv"
        if len(text) > _MOST_PLAIN:
            named, text = f"{named}.gz", gzip.compress(text, mtime=0)
        found.append(_download(named, content, text, len(text)))
    return found


def median_curves(panel: xr.Dataset) -> pd.DataFrame:
    """One row for each setting and evaluation step, one column for each curve: medians over seeds.

    Values that are not finite are left out, as they are from the pictures.

    Args:
        panel: over its axes, ``seed`` and ``step``.
    """
    axes = _axes_of(panel)
    curves = {
        name: _median(values.transpose("seed", *axes))
        for name, values in panel.data_vars.items()
        if set(values.dims) == {"seed", *axes} and values.dtype.kind == "f"
    }
    if "step" not in axes or not curves:
        return pd.DataFrame()
    settings = {name: c for name, c in panel.coords.items() if set(c.dims) <= set(axes)}
    table = xr.Dataset(curves, settings).to_dataframe(dim_order=axes)
    return table.dropna(how="all", subset=list(curves))


def sizes_text(panels: dict[str, xr.Dataset]) -> list[str]:
    """What each panel holds: "runs: 3 seeds × 86 evaluation steps"."""
    said = []
    for name, panel in panels.items():
        counts = [
            f"{panel.sizes[axis]} {_AXES.get(axis, f'values of {axis}')}"
            for axis in panel["status"].dims
        ]
        counts += [f"{panel.sizes['step']} evaluation steps"] if "step" in panel.dims else []
        said.append(f"{name}: {' × '.join(counts)}")
    return said


def _axes_of(panel: xr.Dataset) -> list[str]:
    """The dimensions that every run lies on, evaluation steps last."""
    axes = [str(dim) for dim in panel["status"].dims if dim != "seed"]
    return [*axes, *(["step"] if "step" in panel.dims else [])]


def _median(values: xr.DataArray) -> tuple[Sequence[str], np.ndarray]:
    medians = np.ma.median(np.ma.masked_invalid(values.values), axis=0)
    return [str(dim) for dim in values.dims[1:]], np.ma.filled(medians, np.nan)


def _download(name: str, content: str, data: bytes, n_bytes: int) -> Download:
    href = data_uri(name, data) if n_bytes <= MOST_BYTES else ""
    return Download(name, content, n_bytes, href)
