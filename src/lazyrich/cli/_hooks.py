"""Warnings and errors from Python, libraries and threads: one line each, without a traceback."""

import logging
import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from ._environment import is_debugging
from ._text import visible

_LONGEST = 4000


def say_aside(text: str) -> None:
    """A line on standard error."""
    line = " ".join(text.split())
    if len(line) > _LONGEST:  # such as the message of somebody else's exception
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    print(f"lazyrich: {visible(line)}", file=sys.stderr)


@contextmanager
def told_in_sentences(*, is_process: bool) -> Generator[None]:
    """Have warnings, log records and errors that nobody catches told in one line each.

    Args:
        is_process: the command is all that this process does; elsewhere warnings and
            errors belong to whoever called, and are left alone.
    """
    is_shown = is_debugging()
    last = logging.lastResort
    before = last.formatter if last is not None else None
    hooks = warnings.showwarning, sys.unraisablehook, threading.excepthook
    if last is not None:
        last.setFormatter(_OneLine("lazyrich: %(message)s"))
    if is_process:
        warnings.showwarning = _warning  # ty: ignore[invalid-assignment]
    if is_process and not is_shown:
        sys.unraisablehook = threading.excepthook = lambda args: None
    try:
        yield
    finally:
        if last is not None:
            last.setFormatter(before)
        if is_process:
            warnings.showwarning, sys.unraisablehook, threading.excepthook = hooks


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.exc_info = record.stack_info = None
        return visible(super().format(record))


def _warning(message: object, *_: object, **__: object) -> None:
    say_aside(str(message))
