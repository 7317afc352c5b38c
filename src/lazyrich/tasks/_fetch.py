"""The bytes at an address, with limits on size and time."""

import threading
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPResponse
from queue import Empty, SimpleQueue

WEB = ("https://", "http://")
"""How an address begins."""

TIMEOUT = 30.0
"""Seconds after which a server that has sent nothing, or too little, is given up."""

_SLOWEST = 1000.0  # bytes a second
_MOST_SECONDS = 1800.0
_TICK_SECONDS = 0.1
_CHUNK = 1 << 16


def fetch(address: str, most_bytes: int) -> bytes:
    """What a server sends for an address.

    Args:
        address: begins with ``http://`` or ``https://``.
        most_bytes: more is refused.

    Raises:
        OSError: if there is no answer, another one than the file, or too much or too slow
            a one.
    """
    if not address.startswith(WEB):
        raise OSError(f"the address does not begin with {' or '.join(WEB)}")
    transfer = _Transfer(address, most_bytes)
    # In a thread, because a server can also answer a byte a second before the content begins.
    threading.Thread(target=transfer.run, daemon=True).start()
    start = time.monotonic()
    try:
        while True:
            with suppress(Empty):
                content, error = transfer.result.get(timeout=_TICK_SECONDS)
                if error is None:
                    return content
                raise OSError(_short(error)) from error
            seconds = time.monotonic() - start
            if seconds > TIMEOUT and transfer.n_bytes < _SLOWEST * seconds:
                rate = transfer.n_bytes / seconds
                raise OSError(f"it sends {rate:.0f} bytes a second, which would take too long")
            if seconds > _MOST_SECONDS:
                raise OSError(f"it is not done after {seconds:.0f} s")
    finally:
        transfer.is_stopped = True


class _Transfer:
    """One request and how far it is."""

    def __init__(self, address: str, most_bytes: int) -> None:
        self.address, self.most_bytes = address, most_bytes
        self.n_bytes = 0
        self.is_stopped = False
        self.result: SimpleQueue[tuple[bytes, Exception | None]] = SimpleQueue()

    def run(self) -> None:
        try:
            self.result.put((self._content(), None))
        except Exception as error:  # of urllib, http, ssl and socket
            self.result.put((b"", error))

    def _content(self) -> bytes:
        chunks = []
        response: HTTPResponse
        with urllib.request.urlopen(self.address, timeout=TIMEOUT) as response:
            announced = response.headers.get("Content-Length", "")
            self._require_size(int(announced) if announced.isdecimal() else 0)
            while not self.is_stopped and (chunk := response.read1(_CHUNK)):
                self.n_bytes += len(chunk)
                self._require_size(self.n_bytes)
                chunks.append(chunk)
        return b"".join(chunks)

    def _require_size(self, n_bytes: int) -> None:
        if n_bytes > self.most_bytes:
            raise OSError(f"it is larger than {self.most_bytes} bytes")


def _short(error: BaseException) -> str:
    """The cause of an error in few words: urllib wraps it."""
    reason = getattr(error, "reason", None)
    error = reason if isinstance(reason, Exception) else error
    return " ".join(str(error).split()) or type(error).__name__
