"""Temporary and damaged files: their names, and how those of interrupted writers are removed."""

import itertools
import os
import platform
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from ._files import open_regular

CREATE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a file for writing which is not there yet."""

# Writing a file takes seconds at most: an older one was left by a process that was killed, and
# a much older one by an earlier process of the same number.
_UNFINISHED_SECONDS, _FORMER_SECONDS = 60, 86400
_TRIAL = b"lazyrich tries whether a file can be written here\n"


def part_name() -> str:
    """A name that cannot be guessed; host and process tell what may be removed later."""
    return f".lazyrich-{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}.part"


def set_aside(path: Path) -> Path:
    """Rename a file of ours that is damaged, over nothing; it is not deleted.

    Args:
        path: the file.

    Returns:
        Its new name, which ends in ``.damaged`` and a number if need be.

    Raises:
        OSError: if it cannot be renamed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "run.npz")
        ...     path.touch()
        ...     set_aside(path).name
        'run.npz.damaged'
    """
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged{number if number > 1 else ''}")
        with suppress(FileExistsError):
            os.close(os.open(aside, CREATE_NEW, 0o666))  # the name is reserved: nothing is replaced
            break
    try:
        os.replace(path, aside)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside


def try_writing(folder: int) -> None:
    """Make a file in an open folder and remove it.

    Args:
        folder: descriptor of the folder.

    Raises:
        OSError: if no file can be written there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = os.open(parent, os.O_RDONLY)
        ...     try_writing(folder)
        ...     os.close(folder)
    """
    name = part_name()
    with os.fdopen(os.open(name, CREATE_NEW, 0o666, dir_fd=folder), "wb") as file:
        try:
            file.write(_TRIAL)
            file.flush()
        finally:
            os.unlink(name, dir_fd=folder)


def remove_unfinished(folder: int, begin: bytes) -> None:
    """Remove what writers of this host left in an open folder when they were killed.

    Args:
        folder: descriptor of the folder.
        begin: how the files begin that are written there; what begins otherwise is left,
            and all of them if it is empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = os.open(parent, os.O_RDONLY)
        ...     remove_unfinished(folder, b"PK")
        ...     os.close(folder)
    """
    host = re.escape(platform.node())
    pattern = re.compile(rf"\.lazyrich-{host}-([0-9]+)-[0-9a-f]{{16}}\.part")
    for name in os.listdir(folder):
        match = pattern.fullmatch(name)
        if match is None:
            continue
        least = _FORMER_SECONDS if _is_alive(int(match[1])) else _UNFINISHED_SECONDS
        with suppress(OSError), open_regular(name, inside=folder) as file:
            is_old = time.time() - os.fstat(file.fileno()).st_mtime > least
            ours = (begin, _TRIAL) if begin else _TRIAL
            if is_old and file.read(max(len(begin), len(_TRIAL))).startswith(ours):
                os.unlink(name, dir_fd=folder)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
