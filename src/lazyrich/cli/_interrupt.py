"""Ctrl-C and SIGTERM: the command ends with one sentence, whatever it is doing.

Python turns a signal into an exception wherever the main thread happens to be. Libraries
swallow it there (in a callback, an import that may fail) or print it, and code outside
Python does not see it at all. So a thread looks on: it throws the exception again if it
was swallowed, keeps everything else from the terminal, and ends the process if the main
thread does not.
"""

import os
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ._environment import is_loading
from ._errors import is_input_error
from ._text import ENCODING_ERRORS, visible

_DEAF_SECONDS = 2.0
"""How long the main thread may stay outside Python before the process ends without it."""
_KEEPING_SECONDS = 15.0
"""How long it may take to keep the state of runs."""
_PATIENT_SECONDS = 1.0
"""Presses this soon after the first belong to it; a later one ends the process at once."""
_TICK_SECONDS = 0.1

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def _stopped() -> str:
    return "stopped."


_how: Callable[[], str] = _stopped


def how_to_go_on(how: Callable[[], str]) -> None:
    """What to say if the running command is stopped, asked at that moment."""
    global _how
    _how = how


_Handler = Callable[[int, FrameType | None], object] | int | None


class Stopped(KeyboardInterrupt):
    """A signal on its way through the main thread; one that is forgotten was swallowed."""


class Interrupts:
    """Runs a command and ends it in order when a signal comes.

    Args:
        is_process: the command is all that this process does.
    """

    def __init__(self, *, is_process: bool) -> None:
        self._is_process = is_process
        self._number: int | None = None
        self._is_over = False
        self._thrown: Callable[[], Stopped | None] = lambda: None
        self._terminal: int | None = None
        self._is_handling = False
        self._quietening, self._is_said = threading.Lock(), threading.Lock()
        self._n_own = 0
        self._before: dict[int, _Handler] = {}

    def run(self, command: Callable[[], int]) -> int:
        """The command's exit code, or that of a signal: 130 after Ctrl-C, 143 after SIGTERM."""
        if threading.current_thread() is not threading.main_thread():
            return command()
        how_to_go_on(_stopped)
        error: BaseException | None = None
        code = 0
        try:
            try:
                self._begin()
                code = command()
            finally:
                self._is_over = True
        except BaseException as raised:
            self._is_over = True
            if self._number is None:
                self._end()
                raise
            error = raised
        if self._number is not None:
            code = self._stop(error)
        self._end()
        return code

    def _begin(self) -> None:
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # as nohup and & leave them
                self._before[number] = signal.signal(number, self._handle)

    def _end(self) -> None:
        """Nothing is left to be stopped: the process only has to leave."""
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._is_process else before)
        if hasattr(self, "_writer"):
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._writer)
        if self._terminal is not None:
            os.dup2(self._terminal, 2)
            os.close(self._terminal)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = self._number or number
        if self._is_handling:
            return  # the handler that this signal interrupted is about to raise
        self._is_handling = True
        try:
            self._quieten()
        finally:
            self._is_handling = False
        if self._is_process and is_loading():
            return  # an exception inside of it can crash a library; the thread ends the process
        if not self._is_over and self._thrown() is None:
            raise self._another()

    def _another(self) -> Stopped:
        stop = Stopped()
        self._thrown = weakref.ref(stop)
        return stop

    def _quieten(self) -> None:
        """From here on nobody but this class reaches the terminal.

        Either thread may come first; the other waits, for an exception that is raised before
        the terminal is out of reach may be printed there.
        """
        with self._quietening:
            if self._terminal is None:
                self._terminal = os.dup(2)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)

    def _watch(self, reader: int) -> None:
        number = self._press(reader, None)
        if number is None:
            return
        self._number = self._number or number
        self._quieten()
        if self._is_process and is_loading():
            self._leave(self._how())
        begin = time.monotonic()
        while True:
            again = self._press(reader, _TICK_SECONDS)
            spent = time.monotonic() - begin
            is_heard = self._is_over or self._thrown() is not None
            if again is None:
                return
            if again and spent > _PATIENT_SECONDS:
                self._leave(self._how())
            if spent > (_KEEPING_SECONDS if is_heard else _DEAF_SECONDS):
                self._leave(self._how())
            if not is_heard and not again:
                self._n_own += 1
                signal.pthread_kill(threading.main_thread().ident or 0, self._number)

    def _press(self, reader: int, seconds: float | None) -> int | None:
        """The number of the next signal, 0 if none comes in time, None if all is over."""
        if not select.select([reader], [], [], seconds)[0]:
            return 0
        content = os.read(reader, 1)
        if not content:
            os.close(reader)
            return None
        if self._n_own:
            self._n_own -= 1
            return 0
        return content[0]

    def _stop(self, error: BaseException | None) -> int:
        """After the command has been left: say so, and end what it may have left running."""
        is_told = isinstance(error, KeyboardInterrupt) or is_input_error(error)
        said = (str(error) if is_told else "") or self._how()
        others = [one for one in threading.enumerate() if not one.daemon]
        if self._is_process or len(others) > 1:
            self._leave(said)  # seeds still running in threads would hold the process
        self._say(said)
        return self._code

    @property
    def _code(self) -> int:
        return 128 + (self._number or signal.SIGINT)

    def _how(self) -> str:
        try:
            return _how()
        except Exception:  # a command's own function, at any moment of it
            return "stopped."

    def _leave(self, said: str) -> NoReturn:
        if not self._say(said):
            time.sleep(60)  # the other thread is leaving
        os._exit(self._code)

    def _say(self, said: str) -> bool:
        """Write the sentence; False if it has been written."""
        if not self._is_said.acquire(blocking=False):
            return False
        text = f"lazyrich: {visible(' '.join(said.split()))}\n"
        terminal = 2 if self._terminal is None else self._terminal
        try:
            if os.isatty(terminal):  # below "^C", with the cursor that a progress bar hides
                cursor = "" if os.environ.get("TERM") in (None, "", "dumb") else "\x1b[?25h"
                text = f"\n{cursor}{text}"
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            os.write(terminal, text.encode(encoding, ENCODING_ERRORS))
        except OSError:
            pass  # the terminal is gone
        return True
