"""The command line: parses, calls one function, prints.

This file imports only what is needed to answer Ctrl-C, a closed terminal and a wrong
environment; the commands and their libraries come after.

Exit codes: 0 done, 1 a bug in lazyrich, 2 bad input or a machine that refuses (disk,
memory, rights), 130 Ctrl-C, 143 SIGTERM, 129 a terminal that was closed.
"""

import sys
import traceback
from typing import TYPE_CHECKING

from ._environment import Refused, is_debugging, loading, settled_environment
from ._errors import sentence_of
from ._hooks import say_aside, told_in_sentences
from ._interrupt import Interrupts
from ._streams import Output, open_closed_descriptors, safe_streams

if TYPE_CHECKING:
    from cyclopts import App


def __getattr__(name: str) -> "App":
    if name != "app":
        raise AttributeError(f"module 'lazyrich.cli' has no attribute {name!r}")
    from ._app import app

    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code; whatever fails says one sentence.

    Args:
        arguments: None takes those of the process, which ends with the command.

    Example:
        >>> import contextlib
        >>> with contextlib.suppress(SystemExit):
        ...     main(["--version"])
        0...
    """
    open_closed_descriptors()
    sys.exit(Interrupts(is_process=arguments is None).run(lambda: _answered(arguments)))


def _answered(arguments: list[str] | None) -> int:
    with safe_streams() as output, settled_environment():
        try:
            with told_in_sentences(is_process=arguments is None):
                return _told(arguments, output)
        except Refused as error:
            return _failed(error)


def _told(arguments: list[str] | None, output: Output) -> int:
    try:
        with loading():
            from ._app import run
        run(arguments)
        return _written(output)
    except Exception as error:  # every command's; what is not known is told as a bug
        return _failed(error)


def _failed(error: Exception) -> int:
    sentence, code = sentence_of(error)
    if not isinstance(error, Refused) and is_debugging():
        traceback.print_exception(error)
    say_aside(sentence)
    return code


def _written(output: Output) -> int:
    """Whether all that was printed has arrived; a reader who went away wanted no more."""
    sys.stdout.flush()
    if output.error is None:
        return 0
    return _failed(OSError(output.error.errno, output.error.strerror, "standard output"))
