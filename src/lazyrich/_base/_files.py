"""Files and folders opened for reading: regular files of bounded size.

A pipe or a device is refused and the size is limited, so that reading ends. Every file that
this package reads goes through these functions.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BufferedIOBase

AnyPath = str | os.PathLike[str]

_PIECE = 1 << 20
_TYPES = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: AnyPath, *, inside: int | None = None) -> BufferedIOBase:
    """Open a regular file for reading.

    Args:
        path: which file.
        inside: descriptor of the folder that it lies in; then a link is refused.

    Returns:
        The file, opened in binary mode.

    Raises:
        OSError: if it cannot be opened, or is a folder, a pipe or a device.

    Example:
        >>> open_regular("/dev/null")
        Traceback (most recent call last):
        ...
        OSError: [Errno 22] it is a device, wanted a regular file: '/dev/null'
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

    Returns:
        The content, whole.

    Raises:
        OSError: if it cannot be read, is not a regular file or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     read_file(file.name, most_bytes=10)
        b''
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

    Returns:
        A context manager of the descriptor, which is closed at its end.

    Raises:
        OSError: if it is not a folder, or cannot be opened or made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent, open_folder(parent) as folder:
        ...     os.listdir(folder)
        []
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if inside is None else os.O_NOFOLLOW)
    try:
        try:
            folder = os.open(path, flags, dir_fd=inside)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):  # what is there instead is told by opening it
                os.makedirs(path) if inside is None else os.mkdir(path, dir_fd=inside)
            folder = os.open(path, flags, dir_fd=inside)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"its name cannot be used: {error}") from None
    except NotADirectoryError:
        if inside is None:
            raise
        there = type_name(os.lstat(path, dir_fd=inside))
        raise OSError(errno.ENOTDIR, f"{path} in it is {there}, wanted a real folder") from None
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def only_one_at(folder: AnyPath) -> Generator[None]:
    """Keep other processes waiting that enter this for the same folder.

    What is read, changed and written back in between loses nothing that another writes.
    No file is made: the folder itself is locked, where its file system has locks.

    Args:
        folder: which folder; it is made if it is not there.

    Returns:
        A context manager.

    Raises:
        OSError: if it is not a folder, or cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, only_one_at(folder):
        ...     os.listdir(folder)
        []
    """
    with open_folder(folder, make=True) as descriptor:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # it ends when the descriptor is closed
        yield


def reason_of(error: BaseException) -> str:
    """Why something failed, in few words.

    Args:
        error: what was raised.

    Returns:
        The operating system's words for an ``OSError``, else the message, else the type; for
        bytes that are not text, that.

    Example:
        >>> reason_of(OSError(28, "No space left on device")), reason_of(KeyError())
        ('No space left on device', 'KeyError')
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _require_regular(state: os.stat_result, path: AnyPath) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OSError(
            errno.EINVAL, f"it is {type_name(state)}, wanted a regular file", os.fspath(path)
        )


def type_name(state: os.stat_result) -> str:
    """What stands at a path where no regular file does, such as "a folder"."""
    return next((name for is_type, name in _TYPES if is_type(state.st_mode)), "a device")
