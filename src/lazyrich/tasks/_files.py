"""Files of images: IDX, gzipped or not, and npz."""

import gzip
import io
import os
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazyrich._base import (
    DamagedArchive,
    InputError,
    read_file,
    reason_of,
    require_extra,
    unpack_arrays,
)

SIDE, N_CLASSES = 28, 10
IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")
MOST_BYTES = 2**30  # of a file and of what it unpacks to
ADVICE = "`lazyrich data mnist` fetches good files"


class ImageFiles(NamedTuple):
    """Images 0 to 255 and labels 0 to 9, as the files hold them."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def data_folder() -> Path:
    """Where data sets live: ``LAZYRICH_DATA``, or the user's cache folder.

    Returns:
        The folder, absolute; it need not be there.

    Raises:
        MissingExtra: if ``LAZYRICH_DATA`` is not set and platformdirs is not installed.

    Example:
        >>> data_folder().is_absolute()
        True
    """
    chosen = os.environ.get("LAZYRICH_DATA")
    if chosen:
        return expanded(chosen).absolute()
    require_extra("images", "The folder of data sets (unless LAZYRICH_DATA names it)")
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("lazyrich"))


def expanded(folder: str) -> Path:
    """A folder whose name may begin with ``~``.

    Raises:
        InputError: if there is no such user.
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise InputError(
            f"The folder {folder} names a user who does not exist here; give another."
        ) from None


def read_mnist(place: Path) -> ImageFiles:
    """MNIST from a folder or an npz file.

    Args:
        place: a folder with the four IDX files, gzipped (``….gz``) or not, or with
            ``mnist.npz``; or an npz file with the arrays ``x_train``, ``y_train``,
            ``x_test`` and ``y_test``.

    Returns:
        All images and labels; cached while the files stay as they are.

    Raises:
        InputError: naming the file that is missing, cut off or not what it should be.
    """
    is_npz = os.path.isfile(place) or place.suffix == ".npz"
    paths = (place,) if is_npz else _paths_in(place)
    try:
        stamps = [(path, os.stat(path)) for path in paths]
    except (OSError, ValueError) as error:
        raise InputError(f"{place} cannot be read ({reason_of(error)}); {ADVICE}.") from None
    return _read(tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stamps))


def _paths_in(folder: Path) -> tuple[Path, ...]:
    chosen = [
        next(
            (path for path in (folder / name, folder / f"{name}.gz") if os.path.isfile(path)), None
        )
        for name in IDX_NAMES
    ]
    packed = folder / "mnist.npz"
    if None in chosen and os.path.isfile(packed):
        return (packed,)
    for name, path in zip(IDX_NAMES, chosen, strict=True):
        if path is None:
            raise InputError(f"There is no {name}.gz in the folder {folder}; {ADVICE}.")
    return tuple(path for path in chosen if path is not None)


@lru_cache(maxsize=2)
def _read(stamped: tuple[tuple[Path, int, int], ...]) -> ImageFiles:
    paths = [path for path, _, _ in stamped]
    if len(paths) == 1:
        arrays, names = _npz_arrays(paths[0]), [f"{name} in {paths[0]}" for name in NPZ_NAMES]
    else:
        arrays, names = [read_idx(path) for path in paths], [str(path) for path in paths]
    checked: list[np.ndarray] = []
    for k in (0, 2):
        images = _checked_images(arrays[k], names[k])
        labels = _checked_labels(arrays[k + 1], names[k + 1])
        if len(images) != len(labels):
            raise InputError(
                f"{names[k]} holds {len(images)} images but {names[k + 1]} holds "
                f"{len(labels)} labels; {ADVICE}."
            )
        checked += [images, labels]
    for array in checked:
        array.flags.writeable = False  # the cache returns the same arrays again
    return ImageFiles(*checked)


def read_idx(path: Path) -> np.ndarray:
    """The array of bytes that an IDX file holds.

    Args:
        path: the file; gzipped if its name ends in ``.gz``.

    Raises:
        InputError: if it cannot be read, is cut off, or is not an IDX file of bytes.
    """
    try:
        data = read_file(path, MOST_BYTES)
        data = gunzip(data, MOST_BYTES) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); {ADVICE}.") from None
    # Magic number: two zero bytes, 8 for unsigned bytes, the number of axes.
    is_idx = len(data) >= 4 and data[:3] == b"\x00\x00\x08" and 1 <= data[3] <= 4
    header = 4 + 4 * data[3] if is_idx else 0
    if not is_idx or len(data) < header:
        raise InputError(f"{path} is not an IDX file of unsigned bytes; {ADVICE}.")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    n_bytes = int(np.prod(shape, dtype=object))
    if len(data) - header != n_bytes:
        raise InputError(
            f"{path} should have {n_bytes} bytes after its header and has {len(data) - header}; "
            f"{ADVICE}."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def gunzip(content: bytes, most_bytes: int) -> bytes:
    """Content of a gzip file, unpacked.

    Args:
        content: of the file.
        most_bytes: more is refused, before it is unpacked.

    Raises:
        OSError, EOFError or zlib.error: if it is damaged, cut off or too large.

    Example:
        >>> gunzip(gzip.compress(b"digits"), 10)
        b'digits'
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(most_bytes + 1)
    if len(unpacked) > most_bytes:
        raise OSError(f"it unpacks to more than {most_bytes} bytes")
    return unpacked


def _npz_arrays(path: Path) -> list[np.ndarray]:
    try:
        arrays = unpack_arrays(read_file(path, MOST_BYTES), MOST_BYTES)
        return [arrays[name] for name in NPZ_NAMES]
    except KeyError as error:
        names = ", ".join(NPZ_NAMES)
        raise InputError(f"{path} lacks an array ({error}); wanted {names}; {ADVICE}.") from None
    except (OSError, DamagedArchive) as error:
        raise InputError(
            f"{path} is not an npz file of numbers ({reason_of(error)}); {ADVICE}."
        ) from None


def _checked_images(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise InputError(
            f"{name} holds an array {images.shape}; wanted images (n, {SIDE}, {SIDE}); {ADVICE}."
        )
    _require_range(images, name, 255)
    return images


def _checked_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.ndim != 1:
        raise InputError(f"{name} holds an array {labels.shape}; wanted labels (n,); {ADVICE}.")
    _require_range(labels, name, N_CLASSES - 1)
    if (labels != labels.astype(np.int64)).any():
        raise InputError(f"{name} holds labels that are not whole numbers; {ADVICE}.")
    return labels.astype(np.int64)


def _require_range(values: np.ndarray, name: str, top: int) -> None:
    is_number = values.dtype.kind in "uif"
    # NaN is not between any numbers.
    if not is_number or not ((values >= 0) & (values <= top)).all():
        raise InputError(f"{name} holds values that are not numbers from 0 to {top}; {ADVICE}.")
