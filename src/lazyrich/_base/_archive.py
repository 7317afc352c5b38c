"""Arrays in an npz archive, with the sizes that its headers state checked before reading."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np


class DamagedArchive(Exception):
    """An archive that is cut off, damaged, larger than allowed, or none at all."""


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an npz file.

    Args:
        arrays: by name.

    Returns:
        The content of the file.

    Example:
        >>> pack_arrays({"x": np.arange(3)})[:2]  # as every ZIP archive begins
        b'PK'
    """
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # ty: ignore[invalid-argument-type]
    return content.getvalue()


def unpack_arrays(content: bytes, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays that an npz file holds.

    ``numpy.load`` allocates as many bytes as a header states, and unpacks all that there is.

    Args:
        content: the bytes of the file.
        most_bytes: of all arrays together, unpacked.

    Returns:
        The arrays by name.

    Raises:
        DamagedArchive: if it is no npz file, cut off, damaged, or holds more.

    Example:
        >>> unpack_arrays(pack_arrays({"x": np.arange(3)}), 1000)
        {'x': array([0, 1, 2])}
    """
    arrays = {}
    n_left = most_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    data = file.read(n_left + 1)
                n_left -= len(data)
                if n_left < 0:
                    raise ValueError(f"it holds more than {most_bytes} bytes")
                arrays[member.filename.removesuffix(".npy")] = _array_of(data)
    except Exception as error:  # NumPy and zipfile have a dozen of them
        raise DamagedArchive(" ".join(str(error).split()) or type(error).__name__) from error
    return arrays


def _array_of(data: bytes) -> np.ndarray:
    """The array in an npy file whose header agrees with its length."""
    file = io.BytesIO(data)
    form = np.lib.format
    is_long = form.read_magic(file) != (1, 0)
    read_header = form.read_array_header_2_0 if is_long else form.read_array_header_1_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds objects, wanted numbers")
    n_values = 1
    for length in shape:
        n_values *= int(length)
    if n_values < 0 or n_values * dtype.itemsize != len(data) - file.tell():
        raise ValueError("an array is not as long as it says")
    values = np.frombuffer(data, dtype, count=n_values, offset=file.tell()) if n_values else []
    return np.array(values, dtype).reshape(shape, order="F" if is_fortran else "C")
