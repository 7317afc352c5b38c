"""The user's own code, run inside a command: it prints aside, and what it raises is bad input."""

import importlib.util
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.abc import Loader
from importlib.machinery import ModuleSpec

from lazyrich._base import InputError, open_regular, reason_of

from ._interrupt import Stopped


class _Aside(io.TextIOBase):
    """Standard error in the place of standard output; closing it closes neither."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def users_code(what: str, wanted: str) -> Generator[None]:
    """Run what calls code of the user.

    Standard output belongs to the command, whose JSON others read: what the code, a
    library below it or a program that it starts prints there goes to standard error. The
    working folder is set back, since the command's own paths are relative to it.

    Args:
        what: the code, the beginning of the sentence if it leaves the command.
        wanted: what it should do instead.

    Raises:
        InputError: if it ends the process or raises what is no ``Exception``; other
            exceptions pass.
    """
    folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(_Aside()):
            yield
    except (Exception, Stopped):
        raise
    except BaseException as error:
        raise InputError(failed(what, error, wanted)) from error
    finally:
        with suppress(OSError):  # of a stream that is none of ours
            sys.stderr.flush()
        os.dup2(output, 1)
        os.close(output)
        os.fchdir(folder)
        os.close(folder)


def failed(what: str, error: BaseException, wanted: str) -> str:
    """The sentence for code that raised; its exceptions may even fail to print."""
    try:
        said = str(error)
    except Exception:  # __str__ is code of theirs too
        said = "which cannot be printed"
    reason = f"{type(error).__name__}: {said}".removesuffix(": ")
    return f"{what} failed ({reason}); {wanted}."


def built(target: str) -> object:
    """What the function of ``FILE.py:FUNCTION`` returns.

    Raises:
        InputError: if there is no such file or function, or it raises.
    """
    path, colon, name = target.rpartition(":")
    path, name = (path, name) if colon and not name.endswith(".py") else (target, "build")
    spec, loader = _spec(path)
    wanted = "it must run without arguments and return the network"
    try:
        with _beside(path), users_code(target, wanted):
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            loader.exec_module(module)
            function = getattr(module, name, None)
            if not callable(function):
                raise InputError(f"{path} has no function {name!r}; give FILE.py:FUNCTION.")
            return function()
    except InputError:
        raise
    except Exception as error:  # the file and its function are the user's
        raise InputError(failed(target, error, wanted)) from error


def _spec(path: str) -> tuple[ModuleSpec, Loader]:
    try:
        with open_regular(path):
            pass
    except OSError as error:
        raise InputError(
            f"{path or repr(path)} cannot be read ({reason_of(error)}); give FILE.py:FUNCTION."
        ) from error
    spec = importlib.util.spec_from_file_location("lazyrich_diagnosed", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; give FILE.py:FUNCTION.")
    return spec, spec.loader


@contextmanager
def _beside(path: str) -> Generator[None]:
    """Let the file import those that lie beside it."""
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
