"""Files that are written whole or not at all, and read back only if they are sound."""

import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from io import BufferedIOBase
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from lazyrich._base import (
    FileKind,
    InputError,
    has_seal,
    open_folder,
    read_file,
    reason_of,
    require_writable,
    seal,
    unseal,
    write_file,
)
from lazyrich.plots import require_figure_place

_CURE = "make room, move it away or choose another place with --out, then run again"
CURE = f"{_CURE}: finished runs are kept"
_SEAL = "figure data"
MOST_JSON = 2**26


def writable_folder(folder: Path, *, option: str = "--out") -> Path:
    """The folder, made if it was not there, after a test that it can be written.

    Args:
        folder: which.
        option: by which another can be chosen.

    Raises:
        InputError: if it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, ValueError) as error:
        raise InputError(
            f"The output folder {folder} cannot be written ({reason_of(error)}); choose another "
            f"with {option}."
        ) from error


def require_places(folder: Path, figures: Iterable[str], claims: Path) -> None:
    """Refuse files of others that stand where figures' files are to be written.

    Args:
        folder: of the figures.
        figures: such as "fig1".
        claims: the claims file, which may lie in another folder.

    Raises:
        InputError: naming the file.
    """
    for figure in figures:
        require_writable(folder / f"{figure}.nc", kind=_PANELS, cure=_CURE)
        require_figure_place(folder, figure, cure=_CURE)
    # What the claims file holds is judged when it is read; here it is to be a file at all.
    any_file = FileKind("a claims file", lambda file: True)
    require_writable(claims, kind=any_file, cure=_CURE)


def write_panels(
    path: Path, panels: Mapping[str, xr.Dataset], attributes: Mapping[str, str]
) -> None:
    """Write panels as the groups of one NetCDF file; ``xarray.open_datatree`` reads it.

    It is made in memory: HDF5 ends the process on a disk that is full.
    """
    with np.errstate(over="ignore"):  # what a diverged run left becomes infinite
        packed = {
            name: panel.assign(
                {key: panel[key].astype("f4") for key in panel if panel[key].dtype == np.float64}
            )
            for name, panel in panels.items()
        }
    tree = xr.DataTree.from_dict(packed)
    tree.attrs = dict(attributes)
    compress = {"zlib": True, "complevel": 4}
    encoding = {
        f"/{name}": {key: compress for key in panel if panel[key].dtype.kind == "f"}
        for name, panel in packed.items()
    }
    content = io.BytesIO()
    tree.to_netcdf(content, engine="h5netcdf", encoding=encoding)
    write_file(path, seal(content.getvalue(), _SEAL), kind=_PANELS, cure=CURE)


def read_panels(content: bytes) -> dict[str, xr.Dataset]:
    """The panels of a figure's file; none if it is damaged.

    Args:
        content: of the file; the first version wrote files without a checksum.
    """
    try:
        content = unseal(content, _SEAL) if has_seal(io.BytesIO(content), _SEAL) else content
        with xr.open_datatree(io.BytesIO(content), engine="h5netcdf") as tree:
            return {
                name: node.to_dataset().load()
                for name, node in tree.children.items()
                if "status" in node.data_vars
            }
    except Exception:  # HDF5 and xarray meet damage with any of a dozen errors
        return {}


def read_inside(folder: Path, name: str, most_bytes: int) -> bytes | None:
    """A regular file that lies in the folder itself; None if there is none, or only a link.

    Args:
        folder: where.
        name: of the file.
        most_bytes: a larger file counts as none.
    """
    try:
        with open_folder(folder) as inside:
            return read_file(name, most_bytes, inside=inside)
    except OSError:
        return None


def write_json(path: Path, content: object) -> None:
    """Write the claims file."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_file(path, text.encode("utf-8", "backslashreplace"), kind=_CLAIMS, cure=CURE)


def _is_panels(file: BufferedIOBase) -> bool:
    if has_seal(file, _SEAL):
        return True
    try:
        file.seek(0)
        with h5py.File(file, "r") as found:  # the first version wrote no seal
            return {"title", "lazyrich"} <= found.attrs.keys()
    except Exception:  # HDF5 meets what it cannot read with any of a dozen errors
        return False


def _is_claims(file: BufferedIOBase) -> bool:
    try:
        return isinstance(json.loads(file.read(MOST_JSON))["figures"], dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


_PANELS = FileKind("a figure's data", _is_panels)
_CLAIMS = FileKind("a claims file", _is_claims)
