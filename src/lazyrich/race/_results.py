"""Published results: a folder with the edition and one file of rows for each arm on each task."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lazyrich._base import (
    FileKind,
    InputError,
    Json,
    only_one_at,
    read_file,
    read_json,
    reason_of,
    require_writable,
    write_file,
)

from ._edition import Edition
from ._rows import Row
from ._stored_rows import DamagedRows, checksum, require_sound

_MADE_BY, _EDITION = "lazyrich race", "edition.json"
_HEAD = f'{{\n "made_by": "{_MADE_BY}",\n'.encode()
_KIND = FileKind("a file of a race", lambda file: file.read(len(_HEAD)) == _HEAD)
_CURE = "choose another folder with --out"
_MOST_BYTES = 50_000_000

AnyPath = str | os.PathLike[str]


class Results:
    """The published rows of an edition, in a folder.

    The hash of the edition is written down before the first trial; results of another
    edition are refused, and nothing is overwritten then.

    Args:
        folder: where the results are, or will be.
        edition: the rules.

    Attributes:
        is_recorded: whether the folder holds the edition.

    Raises:
        InputError: if the folder holds results of another edition, or files that cannot be
            read.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Results(folder, default_edition()).rows("parity", "adamw")
        []
    """

    def __init__(self, folder: AnyPath, edition: Edition) -> None:
        self.folder, self.edition = Path(folder), edition
        self.is_recorded = self._has_edition()

    def record_edition(self) -> None:
        """Write the edition and its hash down, before anything is run for it.

        Raises:
            InputError: if another process has written another edition there meanwhile, or
                the disk refuses.
        """
        if self.is_recorded:
            return
        path = self.folder / _EDITION
        require_writable(path, kind=_KIND, cure=_CURE)
        with only_one_at(self.folder):
            if not self._has_edition():
                tree = self.edition.model_dump(mode="json")
                _write(path, {"edition": self.edition.hash, "settings": tree})
        self.is_recorded = True

    def rows(self, task: str, arm: str) -> list[Row]:
        """The published trials of an arm on a task; none if there are none yet.

        Raises:
            InputError: if they are of another edition, or damaged.
        """
        path = self._path(task, arm)
        found = _read(path)
        if found is None:
            return []
        if found.get("edition") != self.edition.hash:
            raise InputError(
                f"{path} holds results of another edition than {self.edition.hash[:8]}; {_CURE}."
            )
        try:
            return require_sound(self._about(task, arm), found)
        except DamagedRows as damage:
            raise InputError(
                f"{path} is damaged ({damage}); move it away and run the race again, which takes "
                "the trials from its store where they are kept."
            ) from None

    def all_rows(self) -> list[Row]:
        """The published trials of all arms on all tasks."""
        return [
            row
            for task in self.edition.task
            for arm in self.edition.arm
            for row in self.rows(task, arm)
        ]

    def publish(self, task: str, arm: str, rows: Sequence[Row]) -> None:
        """Write the trials of an arm on a task, in the order of phase, study and place.

        Raises:
            InputError: if another file is in the way or the disk refuses.
        """
        self.record_edition()
        ordered = sorted(
            rows, key=lambda row: (row["phase"] != "tuning", row["study"], row["index"])
        )
        about = self._about(task, arm)
        _write(self._path(task, arm), about | {"sha256": checksum(about, ordered)}, ordered)

    def _has_edition(self) -> bool:
        """Whether this edition is written down; another one is refused."""
        found = _read(self.folder / _EDITION)
        if found is not None and found.get("edition") != self.edition.hash:
            raise InputError(
                f"{self.folder} holds results of edition {str(found.get('edition'))[:8]} and this "
                f"is edition {self.edition.hash[:8]} (rules, tasks, arms or spaces differ); "
                f"{_CURE}, or go back to the TOML file of those results."
            )
        return found is not None

    def _about(self, task: str, arm: str) -> dict[str, Json]:
        return {"edition": self.edition.hash, "task": task, "arm": arm}

    def _path(self, task: str, arm: str) -> Path:
        return self.folder / task / f"{arm}.json"


def _read(path: Path) -> dict[str, Json] | None:
    """The content of a file of a race; None if it is not there."""
    try:
        content = read_file(path, _MOST_BYTES)
        tree = read_json(content) if content.startswith(_HEAD) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {_CURE}.") from None
    except InputError:
        tree = None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is not a file of a race; {_CURE}.")
    return tree


def _write(path: Path, about: Mapping[str, Json], rows: Sequence[Row] | None = None) -> None:
    lines = [f' "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in about.items()]
    if rows is not None:
        # A line a trial: small differences between versions.
        inner = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        lines.append(f' "rows": [\n{inner}\n ]')
    text = ",\n".join(lines) + "\n}\n"
    write_file(path, _HEAD + text.encode(), kind=_KIND, cure=_CURE)
