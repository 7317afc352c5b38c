"""Files: read only if regular and of bounded size; written whole, over our own files alone.

Every file that this package reads or writes goes through these functions, so that three
things hold everywhere: reading ends (a pipe or a device is refused, size is limited); a
write that fails leaves what was there; and nothing is replaced that this package did not
write.
"""

import errno
import itertools
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from ._errors import InputError

AnyPath = str | os.PathLike[str]

# A file takes seconds to write at most; one that is older belongs to a process that was killed.
_UNFINISHED_SECONDS = 60
_PIECE = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class FileKind(NamedTuple):
    """A kind of file that this package writes, and may replace.

    Attributes:
        name: for a sentence, such as "a picture".
        is_ours: whether a file, opened for reading, is one that this package wrote.
    """

    name: str
    is_ours: Callable[[BufferedIOBase], bool]


class Occupied(OSError):
    """The place of a file is taken by something that must not be replaced."""


def open_regular(path: AnyPath, *, inside: int | None = None) -> BufferedIOBase:
    """Open a regular file for reading.

    Args:
        path: which file.
        inside: descriptor of the folder that it lies in; then a link is refused.

    Raises:
        OSError: if it cannot be opened, or is a folder, a pipe or a device.
    """
    follows = inside is None
    try:
        # Looked at first, because opening alone can already act on a device.
        _require_regular(os.stat(path, dir_fd=inside, follow_symlinks=follows), path)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows else os.O_NOFOLLOW)
        file = os.fdopen(os.open(path, flags, dir_fd=inside), "rb")
    except ValueError as error:
        raise OSError(errno.EINVAL, f"its name cannot be used: {error}") from None
    try:
        _require_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def read_file(path: AnyPath, most_bytes: int, *, inside: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: which file.
        most_bytes: a larger file is refused, not cut off.
        inside: descriptor of the folder that it lies in; then a link is refused.

    Raises:
        OSError: if it cannot be read, is not a regular file or is too large.
    """
    with open_regular(path, inside=inside) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most_bytes else file.read(size)
        while size <= most_bytes and (more := file.read(_PIECE)):  # it grows while it is read
            content += more
            size = len(content)
    if size > most_bytes:
        raise OSError(errno.EFBIG, f"it has more than {most_bytes} bytes", os.fspath(path))
    return content


@contextmanager
def open_folder(path: AnyPath, *, inside: int | None = None, make: bool = False) -> Generator[int]:
    """A descriptor of a folder: what is done with it is done in this folder and no other.

    Args:
        path: which folder.
        inside: descriptor of the folder that it lies in; then a link is refused.
        make: make it if it is not there.

    Raises:
        OSError: if it is not a folder, or cannot be opened or made.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if inside is None else os.O_NOFOLLOW)
    try:
        if make:
            with suppress(FileExistsError):  # what is there instead is told by opening it
                os.makedirs(path) if inside is None else os.mkdir(path, dir_fd=inside)
        folder = os.open(path, flags, dir_fd=inside)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"its name cannot be used: {error}") from None
    except NotADirectoryError:
        if inside is not None and stat.S_ISLNK(os.lstat(path, dir_fd=inside).st_mode):
            raise OSError(errno.ELOOP, f"{path} in it is a link, wanted a real folder") from None
        raise
    try:
        yield folder
    finally:
        os.close(folder)


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
    """
    _require_replaceable(folder, name, kind)
    unfinished = _part_name()
    descriptor = os.open(unfinished, _NEW, 0o666, dir_fd=folder)
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
    """
    where = os.path.dirname(path) or "."
    with _sentence(path, cure), open_folder(where, make=make_folder) as folder:
        write_at(folder, _name_of(path), content, kind=kind)


def require_writable(path: AnyPath, *, kind: FileKind | None, cure: str) -> None:
    """Refuse a place where ``write_file`` would fail, before anything is computed for it.

    Args:
        path: which file.
        kind: what may be replaced there; None replaces nothing.
        cure: the end of the sentence: what to do.

    Raises:
        InputError: if something else is there, or its folder cannot be made or written.
    """
    with _sentence(path, cure), open_folder(os.path.dirname(path) or ".", make=True) as folder:
        _require_replaceable(folder, _name_of(path), kind)
        probe = _part_name()
        os.close(os.open(probe, _NEW, 0o666, dir_fd=folder))
        os.unlink(probe, dir_fd=folder)


def set_aside(path: Path) -> Path:
    """Rename a file of ours that is damaged, over nothing; it is not deleted.

    Args:
        path: the file.

    Returns:
        Its new name, which ends in ``.damaged`` and a number if need be.

    Raises:
        OSError: if it cannot be renamed.
    """
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged{number if number > 1 else ''}")
        with suppress(FileExistsError):
            os.close(os.open(aside, _NEW, 0o666))  # the name is ours: nothing is renamed over
            break
    try:
        os.replace(path, aside)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside


def remove_unfinished(folder: int, is_ours: Callable[[BufferedIOBase], bool]) -> None:
    """Remove what writers of this host left in an open folder when they were killed.

    Args:
        folder: descriptor of the folder.
        is_ours: whether the beginning of a file is that of a file which is written there.
    """
    host = re.escape(platform.node())
    pattern = re.compile(rf"\.lazyrich-{host}-([0-9]+)-[0-9a-f]{{16}}\.part")
    for name in os.listdir(folder):
        match = pattern.fullmatch(name)
        if match is None or _is_alive(int(match[1])):
            continue
        with suppress(OSError), open_regular(name, inside=folder) as file:
            is_old = time.time() - os.fstat(file.fileno()).st_mtime > _UNFINISHED_SECONDS
            if is_old and is_ours(file):
                os.unlink(name, dir_fd=folder)


def reason_of(error: BaseException) -> str:
    """Why something failed, in few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _part_name() -> str:
    """A name that cannot be guessed; host and process tell what may be removed later."""
    return f".lazyrich-{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}.part"


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
        raise Occupied(errno.EEXIST, f"{_type_of(there)} is there, which is not replaced")
    wanted = "nothing is replaced there"
    if kind is not None:
        with open_regular(name, inside=folder) as file:
            if kind.is_ours(file):
                return
        wanted = f"only {kind.name} that lazyrich wrote is replaced"
    raise Occupied(errno.EEXIST, f"another file is there, and {wanted}")


@contextmanager
def _sentence(path: AnyPath, cure: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{os.fspath(path)!s} cannot be written ({reason_of(error)}); {cure}."
        ) from error


def _require_regular(state: os.stat_result, path: AnyPath) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OSError(
            errno.EINVAL, f"it is {_type_of(state)}, wanted a regular file", os.fspath(path)
        )


def _type_of(state: os.stat_result) -> str:
    return next((name for is_type, name in _TYPES if is_type(state.st_mode)), "a device")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
