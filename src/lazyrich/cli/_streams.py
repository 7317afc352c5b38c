"""Standard output and error that never raise, whether closed, full or lost, in any encoding."""

import errno
import io
import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._text import ENCODING_ERRORS

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Output(io.RawIOBase):
    """A descriptor that never raises: after its first error all is thrown away.

    Attributes:
        error: why something could not be written; None if all could, or if the reader went
            away, as ``head`` does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_lost = False
        self.error: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of the data, or take note of the error."""
        left = memoryview(data).cast("B")
        n_bytes = len(left)
        while left and not self._is_lost:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._is_lost = True
                self.error = None if error.errno == errno.EPIPE else error
        return n_bytes

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        """Whether a terminal is there."""
        return os.isatty(self._descriptor)


class _Stream(io.TextIOWrapper):
    """Text to a descriptor, which the user's code may close while the command has more to say."""

    def close(self) -> None:
        self.flush()


@contextmanager
def safe_streams() -> Generator[Output]:
    """Standard streams for a command, as they were before afterwards.

    A stream that was closed goes nowhere. Characters that the encoding lacks are spelled.
    Streams that somebody has put in the place of Python's own keep their place.
    """
    before = sys.stdout, sys.stderr
    raw = Output(1)
    sys.stdout = _safe(sys.stdout, sys.__stdout__, raw)
    sys.stderr = _safe(sys.stderr, sys.__stderr__, Output(2))
    errors = [_spelling(stream) for stream in (sys.stdout, sys.stderr)]
    try:
        yield raw
    finally:
        for stream, policy in zip((sys.stdout, sys.stderr), errors, strict=True):
            stream.flush()
            if policy is not None:
                stream.reconfigure(errors=policy)
        sys.stdout, sys.stderr = before


def open_closed_descriptors() -> None:
    """Have closed standard streams go nowhere; the next file opened would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


def _safe(stream: Any, own: object, raw: Output) -> Any:
    if stream is not own:
        return stream
    if stream is not None:
        stream.flush()
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return _Stream(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors=ENCODING_ERRORS,
        line_buffering=raw.isatty() or raw.fileno() == 2,
    )


def _spelling(stream: Any) -> str | None:
    """Have a stream spell what it cannot encode; what it did before, if it was not so."""
    policy = getattr(stream, "errors", None)
    if policy == ENCODING_ERRORS or not hasattr(stream, "reconfigure"):
        return None
    stream.reconfigure(errors=ENCODING_ERRORS)
    return policy
