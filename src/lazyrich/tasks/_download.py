"""Fetch data sets, once and checked. Nothing else here touches a network."""

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lazyrich._ground import InputError

from ._files import data_folder

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
TIMEOUT = 30.0  # seconds without an answer


def download_mnist(
    folder: Path | None = None,
    *,
    url: str | None = None,
    on_file: Callable[[str, str], None] = lambda name, action: None,
) -> Path:
    """Fetch the four files of MNIST, 11 MB, and check them.

    Good files that are there already, gzipped or not, are not fetched again. A file
    takes its place only once it is whole and its content has the right SHA-256, so an
    interrupted download leaves no half file.

    Args:
        folder: where to put them; None takes the folder in which image tasks look.
        url: address of a folder with the four ``.gz`` files, instead of the two known
            mirrors.
        on_file: called with the name of each file and "kept" or "fetched".

    Returns:
        The folder.

    Raises:
        InputError: if the folder cannot be written, or no mirror gave a good file.

    Example:
        >>> download_mnist(Path("mnist"))  # doctest: +SKIP
        PosixPath('mnist')
    """
    folder = folder or data_folder() / "mnist"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, digest in MNIST_HASHES.items():
            if any(_has(path, digest) for path in (folder / name, folder / f"{name}.gz")):
                on_file(f"{name}.gz", "kept")
                continue
            with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
                fetched = _fetch(f"{name}.gz", digest, (url,) if url else MNIST_MIRRORS, scratch)
                (folder / name).unlink(missing_ok=True)  # a bad one would be read first
                os.replace(fetched, folder / f"{name}.gz")
            on_file(f"{name}.gz", "fetched")
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror or error}); choose another."
        ) from None
    return folder


def _fetch(name: str, digest: str, mirrors: tuple[str, ...], scratch: str) -> Path:
    import pooch  # takes a while to import

    pooch.get_logger().setLevel("ERROR")
    downloader: Any = pooch.HTTPDownloader(timeout=TIMEOUT)
    failures = []
    for mirror in mirrors:
        address = f"{mirror.rstrip('/')}/{name}"
        try:
            fetched = pooch.retrieve(
                address,
                known_hash=None,  # that would be the wrapper's
                fname=f"{len(failures)}-{name}",
                path=scratch,
                downloader=downloader,
            )
        except (OSError, ValueError) as error:  # what requests and pooch raise are both
            failures.append(f"{address}: {_short(error)}")
            continue
        if _has(Path(fetched), digest):
            return Path(fetched)
        failures.append(f"{address}: not the file of that name, its SHA-256 is another")
    raise InputError(
        f"{name} could not be fetched ({'; '.join(failures)}); look at the network, or name a "
        "folder that holds the four files with --from URL."
    )


def _has(path: Path, digest: str) -> bool:
    """Whether the file is there, and its unpacked content has the SHA-256."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error):
        return False
    return hashlib.sha256(content).hexdigest() == digest


def _short(error: Exception) -> str:
    """The last cause of an error in few words: requests wraps them in one another."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return " ".join(str(error).split()) or type(error).__name__
