"""Download of data sets, checked by their hashes; nothing else in the package downloads."""

import hashlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from lazyrich._base import (
    InputError,
    open_folder,
    read_file,
    reason_of,
    require_writable,
    shown,
    write_file,
)

from ._fetch import WEB, fetch
from ._files import data_folder, gunzip

# SHA-256 of the *unpacked* files: mirrors pack the same digits in different wrappers.
MNIST_HASHES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)
MOST_BYTES = 2**26
"""The largest file, packed or not, that is fetched or looked at; MNIST's has 47 MB."""


def download_mnist(
    folder: Path | None = None,
    *,
    url: str | None = None,
    on_file: Callable[[str, str], None] = lambda name, action: None,
) -> Path:
    """Fetch the four files of MNIST, 11 MB, and check them.

    Good files that are there already, gzipped or not, are not fetched again. A file
    takes its place only once it is whole and its content has the right SHA-256, so an
    interrupted download leaves no half file. A file of other content is never replaced.

    Args:
        folder: where to put them; None takes the folder in which image tasks look.
        url: address of a folder with the four ``.gz`` files, instead of the two known
            mirrors.
        on_file: called with the name of each file and "kept" or "fetched".

    Returns:
        The folder.

    Raises:
        InputError: if the address is not one, the folder cannot be written, a file of one of
            the four names with other content is there, or no mirror gave a good file in
            reasonable time.

    Example:
        >>> download_mnist(Path("mnist"))  # doctest: +SKIP
        PosixPath('mnist')
    """
    folder = folder or data_folder() / "mnist"
    missing = [name for name, digest in MNIST_HASHES.items() if not _is_there(folder, name, digest)]
    if url is not None and not url.startswith(WEB):
        raise InputError(
            f"The address is {shown(url)}; give the one of a folder on the web that holds the four "
            f"files, which begins with {' or '.join(WEB)}."
        )
    try:
        with open_folder(folder, make=True):
            pass
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({reason_of(error)}); choose another."
        ) from None
    for name, digest in MNIST_HASHES.items():
        if name in missing:
            path = folder / f"{name}.gz"
            cure = "make room or choose another folder"
            require_writable(path, kind=None, cure=cure)
            content = _fetched(f"{name}.gz", digest, (url,) if url else MNIST_MIRRORS)
            write_file(path, content, kind=None, cure=cure)
        on_file(f"{name}.gz", "fetched" if name in missing else "kept")
    return folder


def _fetched(name: str, digest: str, mirrors: tuple[str, ...]) -> bytes:
    failures = []
    for mirror in mirrors:
        address = f"{mirror.rstrip('/')}/{name}"
        try:
            content = fetch(address, MOST_BYTES)
        except OSError as error:
            failures.append(f"{address}: {reason_of(error)}")
            continue
        if _is_good(content, digest, is_packed=True):
            return content
        failures.append(f"{address}: not the file of that name, its SHA-256 is another")
    raise InputError(
        f"{name} could not be fetched ({'; '.join(failures)}); check the network "
        "connection, or name a folder that holds the four files with --from URL."
    )


def _is_there(folder: Path, name: str, digest: str) -> bool:
    """Whether a good file is there, gzipped or not; one of other content is refused."""
    others = []
    for path in (folder / name, folder / f"{name}.gz"):
        if not os.path.lexists(path):
            continue
        try:
            content = read_file(path, MOST_BYTES)
        except OSError:
            content = b""
        if _is_good(content, digest, is_packed=path.suffix == ".gz"):
            return True
        others.append(path)
    if others:
        raise InputError(
            f"{others[0]} is there and is not MNIST's file of that name (its SHA-256 is another); "
            "move it away or choose another folder with --to."
        )
    return False


def _is_good(content: bytes, digest: str, *, is_packed: bool) -> bool:
    """Whether the unpacked content has the SHA-256."""
    try:
        content = gunzip(content, MOST_BYTES) if is_packed else content
    except (OSError, EOFError, zlib.error):
        return False
    return hashlib.sha256(content).hexdigest() == digest
