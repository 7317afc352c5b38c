"""Files written whole or not at all, over files of this package alone.

A write that fails leaves what was there, and nothing is replaced that this package did not
write. Every file that this package writes goes through these functions.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from typing import NamedTuple

from ._errors import InputError
from ._files import AnyPath, open_folder, open_regular, reason_of, type_name
from ._unfinished import CREATE_NEW, part_name, remove_unfinished, try_writing

# The first bytes that distinguish PNG, PDF, HDF5, ZIP, HTML and JSON objects.
_BEGIN = 4


class FileKind(NamedTuple):
    """A kind of file that this package writes, and may replace.

    Attributes:
        name: for a sentence, such as "a picture".
        is_ours: whether a file, opened for reading, is one that this package wrote.

    Example:
        >>> FileKind("a note", lambda file: file.read(5) == b"note:").name
        'a note'
    """

    name: str
    is_ours: Callable[[BufferedIOBase], bool]


class Occupied(OSError):
    """The place of a file is taken by something that must not be replaced."""


def write_at(
    folder: int, name: str, content: bytes, *, kind: FileKind | None = None, flush: bool = True
) -> os.stat_result:
    """Write a file of an open folder, whole or not at all.

    Args:
        folder: descriptor of the folder.
        name: name of the file.
        content: what to write.
        kind: what may be replaced there; None replaces nothing.
        flush: wait until the disk has it, so that it survives a power cut too.

    Returns:
        The state of the file.

    Raises:
        Occupied: if something is there that is not of this kind.
        OSError: if the disk refuses; what was there is left as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent, open_folder(parent) as folder:
        ...     write_at(folder, "note.txt", b"note: 4").st_size
        7
    """
    _require_replaceable(folder, name, kind)
    unfinished = part_name()
    descriptor = os.open(unfinished, CREATE_NEW, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if flush:
                os.fsync(file.fileno())
            state = os.fstat(file.fileno())
        os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=folder)
        raise
    return state


def write_file(
    path: AnyPath, content: bytes, *, kind: FileKind | None, cure: str, make_folder: bool = True
) -> None:
    """Write a file whole or not at all.

    Args:
        path: which file.
        content: what to write.
        kind: what may be replaced there; None replaces nothing.
        cure: the end of the sentence if it cannot be written: what to do.
        make_folder: make its folder if that is not there.

    Raises:
        InputError: if something else is there or the disk refuses; what was there is left
            as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/note.txt", b"4", kind=None, cure="choose another name")
        ...     os.listdir(folder)
        ['note.txt']
    """
    where = os.path.dirname(path) or "."
    with _sentence(path, cure), open_folder(where, make=make_folder) as folder:
        remove_unfinished(folder, content[:_BEGIN])
        write_at(folder, _name_of(path), content, kind=kind)


def require_writable(path: AnyPath, *, kind: FileKind | None, cure: str) -> None:
    """Refuse a place where ``write_file`` would fail, before anything is computed for it.

    Args:
        path: which file.
        kind: what may be replaced there; None replaces nothing.
        cure: the end of the sentence: what to do.

    Raises:
        InputError: if something else is there, or its folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     require_writable(f"{folder}/note.txt", kind=None, cure="choose another name")
        ...     os.listdir(folder)
        []
    """
    with _sentence(path, cure), open_folder(os.path.dirname(path) or ".", make=True) as folder:
        _require_replaceable(folder, _name_of(path), kind)
        try_writing(folder)


def _name_of(path: AnyPath) -> str:
    name = os.path.basename(path)
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "it names no file")
    return name


def _require_replaceable(folder: int, name: str, kind: FileKind | None) -> None:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise OSError(errno.EINVAL, f"its name cannot be used: {error}") from None
    if not stat.S_ISREG(there.st_mode):
        raise Occupied(errno.EEXIST, f"{type_name(there)} is there, which is not replaced")
    rule = "nothing is replaced there"
    if kind is not None:
        with open_regular(name, inside=folder) as file:
            if kind.is_ours(file):
                return
        rule = f"only {kind.name} that lazyrich wrote is replaced"
    raise Occupied(errno.EEXIST, f"another file is there, and {rule}")


@contextmanager
def _sentence(path: AnyPath, cure: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)!s} cannot be written ({reason_of(error)}); {cure}."
        ) from error
