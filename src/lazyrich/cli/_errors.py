"""One sentence and an exit code for every error that can end a command."""

import errno
import os
import sys
import tempfile
import traceback

from ._environment import Refused, is_input_error

BAD_INPUT, BUG = 2, 1

_ADVICE = {
    errno.ENOSPC: "make room there, or choose another folder",
    errno.EDQUOT: "make room there, or choose another folder",
    errno.EACCES: "choose another place, or change its permissions",
    errno.EPERM: "choose another place, or change its permissions",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other files, or raise `ulimit -n`",
    errno.ENOMEM: "end other programs, or choose smaller settings",
}


def sentence_of(error: BaseException) -> tuple[str, int]:
    """What to tell about an error, and the exit code: 2 for what the user can mend, else 1."""
    if isinstance(error, Refused) or is_input_error(error):
        return str(error), BAD_INPUT
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)[:200]:
        said = "Memory ran out; take smaller settings (width, n_train, n_test), or end programs."
    elif isinstance(error, RecursionError):
        said = "Something given is nested too deeply to be read; give it with fewer levels."
    elif isinstance(error, UnicodeError):
        said = f"A text that was given or read is not UTF-8 ({error}); write it in UTF-8."
    elif isinstance(error, OSError):
        said = _of_the_system(error)
    elif isinstance(error, RuntimeError) and "home directory" in str(error):
        said = "There is no home directory of that name; give a path without ~."
    elif isinstance(error, ModuleNotFoundError):
        said = f"A package is missing ({error}); install it, or lazyrich again."
    else:
        return _of_a_bug(error), BUG
    return said, BAD_INPUT


def _of_the_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = " or ".join(named) or "A file, or a connection,"
    advice = _ADVICE.get(error.errno or 0, "check the paths that were given")
    return f"{what} cannot be used ({reason}); {advice}."


def _of_a_bug(error: BaseException) -> str:
    where = _kept_traceback(error)
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    how = f"its traceback is in {where}" if where else "LAZYRICH_DEBUG=1 shows its traceback"
    return f"This is a bug in lazyrich ({_shortened(what)}); {how}, please report it."


def _kept_traceback(error: BaseException) -> str:
    """A new file in the folder for temporary files; empty if none can be written."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="lazyrich-traceback-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{sys.argv}\n" + "".join(traceback.format_exception(error)))
    except OSError:
        return ""
    return path


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
