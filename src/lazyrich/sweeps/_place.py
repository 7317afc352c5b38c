"""Where a store lies: a local folder, or any place that fsspec reaches."""

import contextlib
import itertools
import os
import platform
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import fsspec

from lazyrich._ground import InputError

Token = list
"""What tells one version of a file from another: its size, and its time or tag."""

# Storage that shows an object only when it is whole; elsewhere a file is renamed into place.
_WHOLE_PUTS = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"}

# A file takes milliseconds to write; one that is older belongs to nobody.
_UNFINISHED_SECONDS = 60

_counter = itertools.count()


class Place(ABC):
    """A folder of files that are written whole or not at all; abstract.

    Names are relative, with forward slashes. Errors are ``OSError``s.
    """

    @abstractmethod
    def files(self, folder: str) -> dict[str, Token]:
        """Names of the files in a folder, without it, and their tokens; none if no folder."""

    @abstractmethod
    def token(self, name: str) -> Token | None:
        """The token of one file; None if there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError if there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes, *, flush: bool = False) -> Token:
        """Write a file whole, in the place of one of that name.

        Args:
            name: where.
            content: what.
            flush: wait until the disk has it, so that it survives a power cut too.
        """

    @abstractmethod
    def move(self, name: str, to: str) -> None:
        """Give a file another name."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class Folder(Place):
    """A local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def files(self, folder: str) -> dict[str, Token]:
        found = {}
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if entry.name[0] != "." and entry.is_file():
                        found[entry.name] = _token(entry.stat())
        except FileNotFoundError:
            return {}
        return found

    def token(self, name: str) -> Token | None:
        try:
            return _token(os.stat(self.root / name))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, content: bytes, *, flush: bool = False) -> Token:
        path = str(self.root / name)
        folder, slash, last = path.rpartition("/")
        unfinished = f"{folder}{slash}.{last}.{platform.node()}-{os.getpid()}-{next(_counter)}.part"
        try:
            try:
                file = open(unfinished, "xb")  # noqa: SIM115
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                file = open(unfinished, "xb")  # noqa: SIM115
            with file:
                file.write(content)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
                token = _token(os.fstat(file.fileno()))
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        return token

    def move(self, name: str, to: str) -> None:
        (self.root / to).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.root / name, self.root / to)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def sweep_up(self, folder: str) -> None:
        """Remove what processes of this host left unfinished when they were killed."""
        for path in (self.root / folder).glob(".*.part"):
            writer, pid, _ = path.name.removesuffix(".part").rsplit("-", 2)
            is_ours = writer.endswith(f".{platform.node()}") and pid.isdigit()
            with contextlib.suppress(OSError):
                is_old = time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS
                if is_ours and is_old and not _is_alive(int(pid)):
                    path.unlink(missing_ok=True)


class Remote(Place):
    """A place that fsspec reaches by URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self.root = fsspec.core.url_to_fs(url)
        protocol = self.system.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self.has_whole_puts = bool(protocols & _WHOLE_PUTS)

    def __str__(self) -> str:
        return self.url

    def files(self, folder: str) -> dict[str, Token]:
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

    def write(self, name: str, content: bytes, *, flush: bool = False) -> Token:
        path = self._path(name)
        if self.has_whole_puts:
            self.system.pipe_file(path, content)
        else:
            folder, _, last = path.rpartition("/")
            self.system.makedirs(folder, exist_ok=True)
            unfinished = f"{folder}/.{last}.{platform.node()}-{os.getpid()}-{next(_counter)}.part"
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


def place_at(where: str | os.PathLike[str]) -> Place:
    """The place that a path or an URL names.

    Raises:
        InputError: if no such kind of place can be reached from here.
    """
    text = os.fspath(where)
    if "://" not in text and "::" not in text:
        return Folder(Path(text).expanduser())
    if text.startswith(("file://", "local://")):
        return Folder(Path(text.split("://", 1)[1]))
    try:
        return Remote(text)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(
            f"The store {text} cannot be reached ({error}); give a folder, or an URL that fsspec "
            "opens with the packages that are installed."
        ) from error


def _token(stat: os.stat_result) -> Token:
    return [stat.st_size, str(stat.st_mtime_ns)]


def _remote_token(entry: dict[str, Any]) -> Token:
    for name in ("ETag", "etag", "LastModified", "mtime", "created"):
        if entry.get(name) is not None:
            return [entry.get("size"), str(entry[name])]
    return [entry.get("size"), ""]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
