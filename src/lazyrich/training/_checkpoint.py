"""Checkpoints: the state of a run on disk, from which it resumes exactly."""

import io
import json
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np

from lazyrich._base import (
    BrokenSeal,
    DamagedArchive,
    FileKind,
    InputError,
    Json,
    field_paths,
    has_seal,
    open_regular,
    pack_arrays,
    read_file,
    reason_of,
    require_writable,
    seal,
    settings,
    unpack_arrays,
    unseal,
    write_file,
)

from ._simulation import Simulation

_FORMAT = 2  # format 1 had no checksum
_SEAL = "checkpoint"
_MOST_BYTES = 2**32
_CURE = "make room or choose another place for the checkpoint, then run again"
_OTHER_VERSION = (
    "The checkpoint {} was written by another version of lazyrich, whose numbers differ or which "
    "kept no checksum; move it away, or go on with that version."
)


class _Header(TypedDict):
    format: int
    experiment: dict[str, Json]
    numerics: dict[str, int]
    step: int
    wall_seconds: float
    metrics: NotRequired[list[str] | tuple[str, ...] | None]


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        step: updates made.
        leaves: arrays of the run's state, in the order of its tree; None before the start.
        steps: evaluation steps that are done.
        records: what was measured at them.
        wall_seconds: time spent so far.
        metrics: names of the user's own records; None where they were not noted.
    """

    step: int
    leaves: list[np.ndarray] | None
    steps: np.ndarray
    records: dict[str, np.ndarray]
    wall_seconds: float
    metrics: tuple[str, ...] | None = None


class DamagedCheckpoint(Exception):
    """A checkpoint of ours that was changed or cut off since it was written."""


def write_checkpoint(path: Path, experiment: Simulation, saved: Saved) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        InputError: if the disk refuses, or something else is there; what was there is left
            as it was.
    """
    header: _Header = {
        "format": _FORMAT,
        "experiment": settings(experiment),
        "numerics": experiment.numerics,
        "step": saved.step,
        "wall_seconds": saved.wall_seconds,
        "metrics": saved.metrics,
    }
    arrays = {"header": np.array(json.dumps(header)), "steps": np.asarray(saved.steps)}
    arrays |= {f"leaf {k}": leaf for k, leaf in enumerate(saved.leaves or [])}
    arrays |= {f"record {name}": values for name, values in saved.records.items()}
    content = seal(pack_arrays(arrays), _SEAL)
    if len(content) > _MOST_BYTES:
        raise InputError(
            f"The checkpoint {path} would have {len(content)} bytes, at most {_MOST_BYTES} are "
            "written; lower the size of the net or the number of records."
        )
    write_file(path, content, kind=_KIND, cure=_CURE)


def read_checkpoint(path: Path, experiment: Simulation) -> Saved | None:
    """What was kept of this experiment; None if there is nothing, and it can be written.

    Raises:
        InputError: if the file belongs to another experiment or version, is none of ours,
            cannot be read, or no file can be written there.
        DamagedCheckpoint: if it does not match its checksum, or is cut off.
    """
    try:
        with open_regular(path) as file:  # the beginning first: it may be large and no checkpoint
            is_ours = _is_ours(file)
        sealed = read_file(path, _MOST_BYTES) if is_ours else b""
    except (FileNotFoundError, NotADirectoryError):
        require_writable(path, kind=_KIND, cure=_CURE)
        return None
    except OSError as error:
        raise InputError(
            f"The checkpoint {path} cannot be read ({reason_of(error)}); move it away or choose "
            "another place."
        ) from error
    if not is_ours:
        raise InputError(
            f"{path} is not a checkpoint of lazyrich, or damaged beyond recognition; move it "
            "away or choose another place."
        )
    header, arrays = _parts(path, sealed)
    if header["numerics"] != experiment.numerics:
        raise InputError(_OTHER_VERSION.format(path))
    wanted = settings(experiment)
    if header["experiment"] != wanted and not _is_former(header["experiment"], experiment):
        raise InputError(
            f"The checkpoint {path} is of another experiment "
            f"({_difference(header['experiment'], wanted)}); choose another file, or take its "
            "settings."
        )
    leaves = [arrays[f"leaf {k}"] for k in range(sum(name[:5] == "leaf " for name in arrays))]
    now = experiment.former_records
    records = {
        now.get(name[7:], name[7:]): values
        for name, values in arrays.items()
        if name[:7] == "record "
    }
    metrics = header.get("metrics")
    return Saved(
        header["step"],
        leaves,
        arrays["steps"],
        records,
        header["wall_seconds"],
        metrics=None if metrics is None else tuple(metrics),
    )


def _is_former(kept: dict[str, Json], experiment: Simulation) -> bool:
    """Whether these settings are those of the experiment as they were once written."""
    try:
        return type(experiment)(**kept) == experiment
    except InputError:
        return False


def _parts(path: Path, sealed: bytes) -> tuple[_Header, dict[str, np.ndarray]]:
    """Header and arrays, once the checksum has been found right."""
    try:
        arrays = unpack_arrays(unseal(sealed, _SEAL), len(sealed))
        header = json.loads(str(arrays["header"]))
    except (BrokenSeal, DamagedArchive, KeyError, ValueError) as error:
        if _is_first_format(sealed):
            raise InputError(_OTHER_VERSION.format(path)) from None
        raise DamagedCheckpoint(str(path)) from error
    if header["format"] != _FORMAT:
        raise InputError(_OTHER_VERSION.format(path))
    return header, arrays


def _is_ours(file: BufferedIOBase) -> bool:
    """Whether a file begins as checkpoints do: an archive whose first member is a header."""
    start = file.read(4000)
    is_archive = start[:4] == b"PK\x03\x04" and start[30:40] == b"header.npy"
    return is_archive and '{"format": '.encode("utf-32-le") in start


_KIND = FileKind("a checkpoint", _is_ours)


def _is_first_format(content: bytes) -> bool:
    """Whether it is whole and has no checksum, as the first version wrote it."""
    start = '{"format": 1,'.encode("utf-32-le")
    return start in content[:4000] and not has_seal(io.BytesIO(content), _SEAL)


def _difference(kept: dict[str, Json], wanted: dict[str, Json]) -> str:
    def flat(tree: dict[str, Json]) -> dict[str, Json]:
        found = {}
        for path in field_paths(tree):
            node: Json = tree
            for name in path.split("."):
                node = node[name] if isinstance(node, dict) else None
            if not isinstance(node, dict):
                found[path] = node
        return found

    old, new = flat(kept), flat(wanted)
    paths = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path)]
    return "; ".join(
        f"{path} is {old.get(path)!r} there and {new.get(path)!r} here" for path in sorted(paths)
    )
