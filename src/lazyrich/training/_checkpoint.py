"""Keeping a run's state on disk, so that a stopped run goes on exactly where it was."""

import io
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lazyrich._ground import InputError, field_paths, settings

from ._experiment import Experiment

_FORMAT = 1


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        step: updates made.
        leaves: arrays of the run's state, in the order of its tree; None before the start.
        steps: save points that are done.
        records: what was measured at them.
        wall_seconds: time spent so far.
    """

    step: int
    leaves: list[np.ndarray] | None
    steps: np.ndarray
    records: dict[str, np.ndarray]
    wall_seconds: float


class DamagedCheckpoint(Exception):
    """A file that should be a checkpoint and cannot be read as one."""


def write_checkpoint(path: Path, experiment: Experiment, saved: Saved) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        InputError: if the disk refuses; an earlier checkpoint is left as it was.
    """
    header = {
        "format": _FORMAT,
        "experiment": settings(experiment),
        "numerics": experiment.numerics,
        "step": saved.step,
        "wall_seconds": saved.wall_seconds,
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "steps": saved.steps}
    arrays |= {f"leaf {k}": leaf for k, leaf in enumerate(saved.leaves or [])}
    arrays |= {f"record {name}": values for name, values in saved.records.items()}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(
            f"The checkpoint {path} could not be written ({error.strerror or error}); make room "
            "or choose another place, then run again."
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def read_checkpoint(path: Path, experiment: Experiment) -> Saved | None:
    """What was kept of this experiment; None if there is no such file.

    Raises:
        InputError: if the file belongs to another experiment or version.
        DamagedCheckpoint: if it is cut off, or no checkpoint at all.
    """
    try:
        # NumPy leaves a file that it cannot read open; it cannot do so with bytes.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files}
        form, kept, numerics = header["format"], header["experiment"], header["numerics"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedCheckpoint(str(path)) from error
    if form != _FORMAT or numerics != experiment.numerics:
        raise InputError(
            f"The checkpoint {path} was written by another version of lazyrich, whose numbers "
            "differ; move it away, or go on with that version."
        )
    wanted = settings(experiment)
    if kept != wanted:
        raise InputError(
            f"The checkpoint {path} is of another experiment ({_difference(kept, wanted)}); "
            "choose another file, or take its settings."
        )
    leaves = [arrays[f"leaf {k}"] for k in range(sum(name[:5] == "leaf " for name in arrays))]
    records = {name[7:]: values for name, values in arrays.items() if name[:7] == "record "}
    return Saved(header["step"], leaves, arrays["steps"], records, header["wall_seconds"])


def set_aside(path: Path) -> Path:
    """Rename a damaged file out of the way; it is not deleted.

    Returns:
        Its new name.
    """
    aside = path.with_name(f"{path.name}.damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    path.replace(aside)
    return aside


def _difference(kept: dict[str, Any], wanted: dict[str, Any]) -> str:
    def flat(tree: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for path in field_paths(tree):
            node: Any = tree
            for name in path.split("."):
                node = node[name]
            if not isinstance(node, dict):
                found[path] = node
        return found

    old, new = flat(kept), flat(wanted)
    paths = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path)]
    return "; ".join(
        f"{path} is {old.get(path)!r} there and {new.get(path)!r} here" for path in sorted(paths)
    )
