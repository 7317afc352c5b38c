"""Files that are written whole or not at all, and read back only if they are sound."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._ground import InputError


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
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise InputError(
            f"The output folder {folder} cannot be written ({reason}); choose another with "
            f"{option}."
        ) from error


def write_whole(path: Path, write: Callable[[Path], Any], *, option: str = "--out") -> None:
    """Write under a temporary name, then rename: half a file is no file.

    Args:
        path: the file.
        write: writes to the path that it is given.
        option: by which another place can be chosen.

    Raises:
        InputError: if the disk refuses, with what was there before left as it was.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error.strerror or error}); make room or choose "
            f"another place with {option}, then run again: finished runs are kept."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_panels(
    path: Path, panels: Mapping[str, xr.Dataset], attributes: Mapping[str, str]
) -> None:
    """Write panels as the groups of one NetCDF file; ``xarray.open_datatree`` reads it."""
    with np.errstate(over="ignore"):  # what a diverged run left becomes infinite
        packed = {
            name: panel.assign(
                {key: panel[key].astype("f4") for key in panel if panel[key].dtype == np.float64}
            )
            for name, panel in panels.items()
        }
    tree = xr.DataTree.from_dict(packed)
    tree.attrs = dict(attributes)

    def write(to: Path) -> None:
        compress = {"zlib": True, "complevel": 4}
        encoding = {
            f"/{name}": {key: compress for key in panel if panel[key].dtype.kind == "f"}
            for name, panel in packed.items()
        }
        tree.to_netcdf(to, engine="h5netcdf", encoding=encoding)

    write_whole(path, write)


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda to: to.write_text(text, encoding="utf-8"))
