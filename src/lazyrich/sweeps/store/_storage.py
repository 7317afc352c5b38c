"""Storage of a store: a local folder, or any location that fsspec opens."""

import errno
import os
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lazyrich._base import (
    CREATE_NEW,
    FileKind,
    InputError,
    Json,
    open_folder,
    read_file,
    remove_unfinished,
    try_writing,
    write_at,
)

Token = list
"""What tells one version of a file from another: its size, and its time or tag."""

MOST_BYTES = 2**30
"""The largest file that is written to a store, or read from one."""

# Storage that shows an object only when it is whole; elsewhere a file is renamed into place.
_WHOLE_PUTS = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"}


class Storage(ABC):
    """A folder of files that are written whole or not at all; abstract.

    Names are relative, with forward slashes. Errors are ``OSError``s.
    """

    @abstractmethod
    def files(self, folder: str) -> dict[str, Token | None]:
        """Names in a folder, without it, and their tokens; none if no folder.

        The token of what is not a regular file is None.
        """

    @abstractmethod
    def token(self, name: str) -> Token | None:
        """The token of one file; None if there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError if there is none."""

    @abstractmethod
    def write(
        self, name: str, content: bytes, *, kind: FileKind | None = None, flush: bool = False
    ) -> Token:
        """Write a file whole.

        Args:
            name: where.
            content: what.
            kind: what a local folder may hold there to be replaced; None replaces nothing.
            flush: wait until the disk has it, so that it survives a power cut too.
        """

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Give a file another name, that no file has."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def try_writing(self, folder: str) -> None:
        """Raise an error if nothing can be written into a folder."""
        name = f"{folder}/.writable-{secrets.token_hex(16)}"
        self.write(name, b"lazyrich")
        self.remove(name)

    def remove_unfinished(  # noqa: B027  elsewhere than in a folder there is nothing to do
        self, folder: str, begin: bytes
    ) -> None:
        """Remove what killed writers left."""


class Folder(Storage):
    """A local folder. The folders in it are real ones: a link is refused, not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def files(self, folder: str) -> dict[str, Token | None]:
        found: dict[str, Token | None] = {}
        try:
            with self._folder_of(f"{folder}/") as (descriptor, _), os.scandir(descriptor) as all_:
                for entry in all_:
                    with suppress(FileNotFoundError):  # removed since the folder was listed
                        if entry.name[0] != ".":
                            found[entry.name] = _token(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return {}
        return found

    def token(self, name: str) -> Token | None:
        try:
            with self._folder_of(name) as (folder, last):
                return _token(os.stat(last, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        with self._folder_of(name) as (folder, last):
            return read_file(last, MOST_BYTES, inside=folder)

    def write(
        self, name: str, content: bytes, *, kind: FileKind | None = None, flush: bool = False
    ) -> Token:
        _require_size(content)
        with self._folder_of(name, make=True) as (folder, last):
            state = write_at(folder, last, content, kind=kind, flush=flush)
        return [state.st_size, str(state.st_mtime_ns)]

    def move(self, name: str, to: str) -> None:
        with (
            self._folder_of(name) as (folder, last),
            self._folder_of(to, make=True) as (other, new),
        ):
            # Reserved first, so that nothing that is there is replaced.
            os.close(os.open(new, CREATE_NEW, 0o666, dir_fd=other))
            try:
                os.replace(last, new, src_dir_fd=folder, dst_dir_fd=other)
            except OSError:
                os.unlink(new, dir_fd=other)
                raise

    def remove(self, name: str) -> None:
        with self._folder_of(name) as (folder, last):
            os.unlink(last, dir_fd=folder)

    def try_writing(self, folder: str) -> None:
        with self._folder_of(f"{folder}/", make=True) as (descriptor, _):
            try_writing(descriptor)

    def remove_unfinished(self, folder: str, begin: bytes) -> None:
        try:
            with self._folder_of(f"{folder}/" if folder else "") as (descriptor, _):
                remove_unfinished(descriptor, begin)
        except FileNotFoundError:
            return

    @contextmanager
    def _folder_of(self, name: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """A descriptor of the folder that a file lies in, and the file's name there."""
        folder, _, last = name.rpartition("/")
        with open_folder(self.root, make=make) as root:
            if folder:
                with open_folder(folder, inside=root, make=make) as inner:
                    yield inner, last
            else:
                yield root, last


class Remote(Storage):
    """A place that fsspec reaches by URL."""

    def __init__(self, system: fsspec.AbstractFileSystem, root: str, url: str) -> None:
        self.system, self.root, self.url = system, root, url
        self.has_whole_puts = bool(_protocols(system) & _WHOLE_PUTS)

    def __str__(self) -> str:
        return self.url

    def files(self, folder: str) -> dict[str, Token | None]:
        self.system.invalidate_cache()
        try:
            entries: Any = self.system.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            name: _remote_token(entry)
            for entry in entries
            if entry["type"] == "file" and (name := entry["name"].rsplit("/", 1)[-1])[0] != "."
        }

    def token(self, name: str) -> Token | None:
        self.system.invalidate_cache()
        try:
            return _remote_token(self.system.info(self._path(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return self.system.cat_file(self._path(name))

    def write(
        self, name: str, content: bytes, *, kind: FileKind | None = None, flush: bool = False
    ) -> Token:
        _require_size(content)
        path = self._path(name)
        if self.has_whole_puts:
            self.system.pipe_file(path, content)
        else:
            folder, _, last = path.rpartition("/")
            self.system.makedirs(folder, exist_ok=True)
            unfinished = f"{folder}/.{last}.{secrets.token_hex(8)}.part"
            self.system.pipe_file(unfinished, content)
            self.system.mv(unfinished, path)
        return self.token(name) or [len(content), ""]

    def move(self, name: str, to: str) -> None:
        self.system.makedirs(self._path(to).rpartition("/")[0], exist_ok=True)
        self.system.mv(self._path(name), self._path(to))

    def remove(self, name: str) -> None:
        if self.system.exists(self._path(name)):
            self.system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


def place_at(where: str | os.PathLike[str]) -> Storage:
    """The place that a path or a URL names.

    Raises:
        InputError: if no such kind of place can be reached from here.
    """
    text = os.fspath(where)
    if not text.strip():
        raise InputError(f"The store is {text!r}; give a folder, or a URL.")
    if "://" not in text and "::" not in text:
        try:
            return Folder(Path(text).expanduser())
        except RuntimeError:  # ~ of a user who is not there
            raise InputError(
                f"The store {text} cannot be reached (there is no user {text.split('/')[0][1:]!r} "
                "here); give a folder, or a URL."
            ) from None
    try:
        system, root = fsspec.core.url_to_fs(text)
        if isinstance(system, LocalFileSystem):
            return Folder(Path(root))
        return Remote(system, root, text)
    except Exception as error:  # storage of every kind raises errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"The store {text} cannot be reached ({reason}); give a folder, or a URL that fsspec "
            "opens with the packages that are installed."
        ) from error


def require_lasting(where: str | os.PathLike[str]) -> None:
    """Refuse a store that ends with this process, for a command that is to keep results.

    Args:
        where: a folder, or a URL that fsspec opens.

    Raises:
        InputError: if it lies in the memory of this process.

    Example:
        >>> require_lasting("a-folder")
    """
    place = place_at(where)
    if isinstance(place, Remote) and "memory" in _protocols(place.system):
        raise InputError(
            f"The store {place} lies in memory and ends with this command, so nothing would be "
            "kept; give a folder, or a URL of storage that stays."
        )


def _protocols(system: fsspec.AbstractFileSystem) -> set[str]:
    """The protocols of a file system, and of the one that it reads through."""
    own = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    inner = getattr(system, "fs", None)
    return own | _protocols(inner) if isinstance(inner, fsspec.AbstractFileSystem) else own


def _require_size(content: bytes) -> None:
    if len(content) > MOST_BYTES:
        raise OSError(
            errno.EFBIG, f"a file would have {len(content)} bytes, at most {MOST_BYTES} are kept"
        )


def _token(state: os.stat_result) -> Token | None:
    return [state.st_size, str(state.st_mtime_ns)] if stat.S_ISREG(state.st_mode) else None


def _remote_token(entry: dict[str, Json]) -> Token:
    for name in ("ETag", "etag", "LastModified", "mtime", "created"):
        if entry.get(name) is not None:
            return [entry.get("size"), str(entry[name])]
    return [entry.get("size"), ""]
