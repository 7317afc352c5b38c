"""Write tables as CSV or Parquet, atomically, replacing only tables that this package wrote."""

import os
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._base import FileKind, InputError, write_file

if TYPE_CHECKING:
    import pandas as pd

FACTS = ("status", "wall_seconds", "key")
"""Columns that every table has, in this order, before ``step``."""

_MOST_BYTES = 2**16


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table; the ending says in which format.

    Args:
        table: with the columns ``FACTS`` and ``step``.
        path: where to; ``.csv``, or ``.parquet``, which needs pyarrow.

    Raises:
        InputError: if the ending is another, pyarrow is missing, the file cannot be
            written, or a file is there that is no such table.
    """
    if path.suffix not in _KINDS:
        raise InputError(f"{path} is not the name of a table; end it in .csv or .parquet.")
    try:
        if path.suffix == ".csv":
            content = table.to_csv(index=False).encode()
        else:
            content = table.convert_dtypes().to_parquet(index=False)
    except ImportError:
        raise InputError(
            "Parquet needs pyarrow; install it with `pip install 'lazyrich[parquet]'`, or write "
            "a .csv."
        ) from None
    cure = "make room, move it away or choose another place"
    write_file(path, content, kind=_KINDS[path.suffix], cure=cure, make_folder=False)


def _is_csv(file: BufferedIOBase) -> bool:
    names = file.readline(_MOST_BYTES).decode("utf-8", "replace").strip().split(",")
    wanted = [*FACTS, "step"]
    return any(names[k : k + len(wanted)] == wanted for k in range(len(names)))


def _is_parquet(file: BufferedIOBase) -> bool:
    if file.read(4) != b"PAR1":
        return False
    file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
    end = file.read()  # the names of the columns stand at the end
    return end[-4:] == b"PAR1" and all(name.encode() in end for name in (*FACTS, "step"))


_KINDS = {".csv": FileKind("a table", _is_csv), ".parquet": FileKind("a table", _is_parquet)}
