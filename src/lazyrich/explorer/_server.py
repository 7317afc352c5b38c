"""The server of the page: the loopback address, a token in the address, nothing written."""

import errno
import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from lazyrich._base import InputError, Json, read_json, reason_of

from ._document import Document
from ._jobs import PRESETS, Job, Jobs
from ._page import example, page_text

MOST_BODY: Final = 2**14
"""Bytes of a request's content."""
MOST_CURVES: Final = 200
"""Runs whose curves one request can ask for."""
_MOST_THREADS = 32
_JOB = re.compile(r"api/jobs/([0-9]{1,9})(/stop)?")
_SECONDS = 20.0
"""A connection on which nothing arrives for so long is closed."""
_PLACE_SECONDS = 1.0
"""How long a new connection waits for the place of an idle one."""
_Request = socket | tuple[bytes, socket]


class ExplorerServer:
    """Serves the page on the loopback address until it is closed.

    Args:
        document: what the page shows; None shows the example of the package.
        port: 0 takes a free one.
        train: let the page train runs in processes of their own.

    Raises:
        InputError: if the port is taken or out of range.

    Example:
        >>> from urllib.request import urlopen
        >>> with ExplorerServer() as server:
        ...     urlopen(server.url).read(15)
        b'<!DOCTYPE html>'
    """

    def __init__(
        self, document: Document | None = None, *, port: int = 0, train: bool = False
    ) -> None:
        if not 0 <= port < 2**16:
            raise InputError(f"The port is {port}; give 0 to {2**16 - 1}, 0 for any free one.")
        self.document = document
        self.token = secrets.token_urlsafe(24)
        self.jobs = Jobs() if train else None
        try:
            self._server = _Server(self, port)
        except OSError as error:
            self.close_jobs()
            cause = "is in use" if error.errno == errno.EADDRINUSE else f"({reason_of(error)})"
            raise InputError(
                f"The port {port} {cause}; give another one with --port, or none for a free one."
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, also where any free one was taken."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer until interrupted."""
        self._server.serve_forever()

    def close_jobs(self) -> None:
        """End the runs that are in progress."""
        if self.jobs is not None:
            self.jobs.close()

    def close(self) -> None:
        """End the runs, the thread and the server."""
        self.close_jobs()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "ExplorerServer":
        """Answer in a thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def page(self) -> bytes:
        """The page with what it can ask of this server."""
        about = {
            "has_document": self.document is not None,
            "presets": list(PRESETS) if self.jobs is not None else None,
        }
        shown = example() if self.document is None else None  # else the page asks for it
        return page_text(shown, server=about).encode()


class _Refused(Exception):
    """A request that is refused, with its status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, explorer: ExplorerServer, port: int) -> None:
        self.explorer = explorer
        self.free = threading.BoundedSemaphore(_MOST_THREADS)
        self.idle: dict[socket, None] = {}  # the longest idle first
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: _Request, client_address: object) -> None:
        if not self.free.acquire(blocking=False):
            self._close_an_idle_connection()
            if not self.free.acquire(timeout=_PLACE_SECONDS):
                self.shutdown_request(request)
                return
        super().process_request(request, client_address)

    def end_idle(self, connection: socket) -> bool:
        """Take a connection from the idle ones; false if another thread has done so."""
        return self.idle.pop(connection, self) is None

    def _close_an_idle_connection(self) -> None:
        """Close the one that has been idle longest: browsers keep some open without need."""
        for connection in list(self.idle):
            if self.end_idle(connection):
                with suppress(OSError):  # its thread finds the end of the input, and ends
                    connection.shutdown(SHUT_RDWR)
                return

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """A browser that goes away is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lazyrich", ""
    timeout = _SECONDS

    @property
    def _site(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    @property
    def _explorer(self) -> ExplorerServer:
        return self._site.explorer

    def handle_one_request(self) -> None:
        """Count the connection as idle until the headers of a request have arrived."""
        self._site.idle[self.connection] = None
        try:
            super().handle_one_request()
        finally:
            self._site.idle.pop(self.connection, None)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses, as JSON too."""
        self.close_connection = True
        self._send(code, _json({"error": message or "The request cannot be read."}), "json")

    def _answer(self, act: Callable[[str], tuple[bytes, str]]) -> None:
        if not self._site.end_idle(self.connection):
            self.close_connection = True  # a new connection has its place now
            return
        try:
            content, kind = act(self._path())
            self._send(200, content, kind)
        except _Refused as refusal:
            self.close_connection = True  # an unread body must not be taken for a request
            self._send(refusal.status, _json({"error": str(refusal)}), "json")
        except InputError as error:
            self._send(400, _json({"error": str(error)}), "json")
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:  # whatever it is, the page is answered and the server goes on
            sentence = f"The request failed ({type(error).__name__}), which is a fault of lazyrich."
            self._send(500, _json({"error": sentence}), "json")

    def _path(self) -> str:
        """The path below the token, once host and token are right."""
        own = {f"{host}:{self._explorer.port}" for host in ("127.0.0.1", "localhost")}
        if self.headers.get_all("Host") not in [[host] for host in own]:
            raise _Refused(403, "The host is not this machine's own address.")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in own}:
            raise _Refused(403, "The request comes from another page.")
        token, _, path = self._parts().path.lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self._explorer.token.encode()):
            raise _Refused(403, "The token is missing; open the address that lazyrich printed.")
        # The page itself may be opened from anywhere, by who has the token.
        site = self.headers.get("Sec-Fetch-Site", "none")
        if path and site not in ("none", "same-origin"):
            raise _Refused(403, "The request comes from another page.")
        return path

    def _parts(self) -> SplitResult:
        """The address as it stands in the request, which must not name a host of its own."""
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise _Refused(400, "The address cannot be read.") from None
        if parts.scheme or parts.netloc:
            raise _Refused(400, "The address must begin with a /.")
        return parts

    def _get(self, path: str) -> tuple[bytes, str]:
        explorer = self._explorer
        query = parse_qs(self._parts().query)
        if path == "":
            if not self._parts().path.endswith("/"):
                raise _Refused(404, "The address ends with a /, from which the page asks for more.")
            return explorer.page(), "html"
        if path == "api/document" and explorer.document is not None:
            return _json(explorer.document.index), "json"
        if path == "api/curves" and explorer.document is not None:
            curves = explorer.document.curves
            numbers = _numbers(query.get("runs", [""])[0], len(curves))
            return _json([curves[number].to_json() for number in numbers]), "json"
        job = _JOB.fullmatch(path)
        if job is not None and explorer.jobs is not None and not job[2]:
            since = _whole(query.get("since", ["0"])[0])
            return _json(self._job(int(job[1])).since(since)), "json"
        raise _Refused(404, "There is nothing at this address.")

    def _post(self, path: str) -> tuple[bytes, str]:
        explorer = self._explorer
        content = self._body()
        job = _JOB.fullmatch(path)
        if path != "api/train" and not (job is not None and job[2]):
            raise _Refused(404, "There is nothing at this address.")
        if explorer.jobs is None:
            raise _Refused(403, "This page is for reading; start lazyrich explore with --train.")
        if job is not None:
            self._job(int(job[1])).stop()
            return _json({}), "json"
        if set(content) != {"preset", "changes"}:
            raise _Refused(400, "A run is asked for with preset and changes, and nothing else.")
        return _json({"job": explorer.jobs.start(**content)}), "json"

    def _job(self, number: int) -> Job:
        jobs = self._explorer.jobs
        job = jobs.job(number) if jobs is not None else None
        if job is None:
            raise _Refused(404, f"There is no run {number}.")
        return job

    def _body(self) -> dict[str, Json]:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise _Refused(411, "The length of the content is missing.")
        if int(length) > MOST_BODY:
            raise _Refused(413, f"The content is longer than {MOST_BODY} bytes.")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(415, "The content must be application/json.")
        found = read_json(self.rfile.read(int(length)))
        if not isinstance(found, dict):
            raise _Refused(400, "The content must be a JSON object.")
        return found

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{_TYPES[kind]}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


_TYPES = {"html": "text/html", "json": "application/json"}


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _Refused(400, "A number is not a whole number.")
    return int(text)


def _numbers(text: str, n: int) -> list[int]:
    numbers = [_whole(part) for part in text.split(",") if part]
    if len(numbers) > MOST_CURVES:
        raise _Refused(400, f"Curves of {len(numbers)} runs; ask for up to {MOST_CURVES}.")
    if any(number >= n for number in numbers):
        raise _Refused(404, f"There are {n} runs, counted from 0.")
    return numbers
