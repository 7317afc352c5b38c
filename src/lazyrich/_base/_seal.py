"""A checksum at the end of a file, after the part that other programs read.

HDF5 and ZIP ignore bytes that follow their own, so a sealed NetCDF or npz file is still
one for every reader, and this package checks all of it before any of it is used.
"""

import hashlib
import os
import re
from io import BufferedIOBase

_SEAL = re.compile(rb"\nlazyrich ([a-z ]{1,40}) sha256 ([0-9a-f]{64})\n\Z")
_LONGEST = 1 + 9 + 40 + 8 + 64 + 1


class BrokenSeal(ValueError):
    """Content that does not match its checksum, or that has none."""


def seal(content: bytes, kind: str) -> bytes:
    """Content with its checksum behind it.

    Args:
        content: of the file.
        kind: what it is, in lower-case words, such as "checkpoint".

    Returns:
        The content with 50 to 130 bytes more.

    Example:
        >>> unseal(seal(b"x", "checkpoint"), "checkpoint")
        b'x'
    """
    return content + f"\nlazyrich {kind} sha256 {hashlib.sha256(content).hexdigest()}\n".encode()


def unseal(content: bytes, kind: str) -> bytes:
    """Content without its seal.

    Args:
        content: sealed.
        kind: the kind that it must have.

    Returns:
        The content that ``seal`` was given.

    Raises:
        BrokenSeal: if it does not match its checksum, or has none of this kind.

    Example:
        >>> unseal(b"x", "checkpoint")
        Traceback (most recent call last):
        ...
        lazyrich._base._seal.BrokenSeal: it has no checksum
    """
    match = _SEAL.search(content, max(0, len(content) - _LONGEST))
    if match is None or match[1] != kind.encode():
        raise BrokenSeal("it has no checksum")
    content = content[: match.start()]
    if hashlib.sha256(content).hexdigest().encode() != match[2]:
        raise BrokenSeal("it does not match its checksum")
    return content


def has_seal(file: BufferedIOBase, kind: str) -> bool:
    """Whether a file has a seal of this kind, sound or not.

    Args:
        file: opened for reading.
        kind: the kind that it must have.

    Returns:
        True if its end has the form of a seal; the checksum is not compared.

    Example:
        >>> import io
        >>> has_seal(io.BytesIO(seal(b"x", "checkpoint")), "checkpoint")
        True
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST))
    match = _SEAL.search(file.read(_LONGEST))
    return match is not None and match[1] == kind.encode()
