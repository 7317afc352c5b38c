"""Environment variables: set those that a command needs, name others that cause a failure."""

import os
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any  # nothing of lazyrich is loaded before Ctrl-C is answered

_FEWEST_COLUMNS, _MOST_COLUMNS = 40, 1000
_THREADS_OF_BLAS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""Where OpenBLAS looks for its number of threads, when it is loaded."""
_OF_LIBRARIES = ("JAX_", "XLA_", "MPLCONFIG", "CUDA_", "OMP_", "HDF5_", "H5PY_", "TMPDIR")
"""How the variables begin that the libraries below read when they are loaded."""


@contextmanager
def settled_environment() -> Generator[None]:
    """An environment in which a command runs: for its time, sizes and switches that work.

    Pictures are only ever written to files, so no window system is asked for. Warnings
    that somebody wants as errors would end libraries while they are loaded. OpenBLAS, which
    decomposes kernels, takes one thread unless told otherwise: its threads wait for each other
    without sleeping, runs are computed side by side anyway, and with several its last bits
    depend on how many there are.
    """
    before = dict(os.environ)
    filters: Any = warnings.filters
    wanted, options = filters[:], sys.warnoptions[:]
    for name in ("COLUMNS", "LINES"):
        if name in os.environ and not _is_size(os.environ[name]):
            del os.environ[name]
    os.environ["MPLBACKEND"] = "agg"
    if not any(name in os.environ for name in _THREADS_OF_BLAS):
        os.environ[_THREADS_OF_BLAS[0]] = "1"
    if sys.warnoptions:
        os.environ.pop("PYTHONWARNINGS", None)
        sys.warnoptions.clear()
        filters[:] = [one for one in wanted if one[0] != "error"]
    try:
        yield
    finally:
        sys.warnoptions[:] = options
        if options:
            filters[:] = wanted
        for name in ("COLUMNS", "LINES", "MPLBACKEND", "PYTHONWARNINGS", *_THREADS_OF_BLAS):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and _FEWEST_COLUMNS <= int(text[:9]) <= _MOST_COLUMNS


class Refused(Exception):
    """The environment does not let a command run; known before any library is loaded."""


def is_debugging() -> bool:
    """Whether tracebacks are wanted: LAZYRICH_DEBUG=1.

    Raises:
        Refused: if it is neither 0 nor 1.
    """
    given = os.environ.get("LAZYRICH_DEBUG", "")
    if given not in ("", "0", "1"):
        raise Refused(f"LAZYRICH_DEBUG is {given!r}; set it to 1 to see tracebacks, or to 0.")
    return given == "1"


_n_loading = 0


@contextmanager
def loading() -> Generator[None]:
    """Load libraries; what the environment spoils there is bad input.

    Raises:
        Refused: naming the variables that may be to blame.
    """
    global _n_loading
    _n_loading += 1
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # a wrong variable shows as any error, where it is read
        if is_input_error(error):
            raise
        raise Refused(_cannot("The libraries cannot be loaded", error)) from error
    finally:
        _n_loading -= 1


def is_loading() -> bool:
    """Whether libraries are being loaded, and so nothing has been computed yet."""
    return _n_loading > 0


def is_input_error(error: BaseException | None) -> bool:
    """Whether bad input raised it; loads no library, for what is not loaded raises nothing."""
    ground: object = sys.modules.get("lazyrich._base")
    parser: object = sys.modules.get("cyclopts")
    return (ground is not None and isinstance(error, ground.InputError)) or (
        parser is not None and isinstance(error, parser.CycloptsError)
    )


def require_devices() -> None:
    """Have JAX find its devices now, so that a wrong JAX_PLATFORMS does not fail every run.

    Raises:
        Refused: if there are none of the kind that the environment names.
    """
    import jax

    try:
        jax.devices()
    except RuntimeError as error:
        raise Refused(_cannot("JAX finds no device", error)) from error


def _cannot(what: str, error: Exception) -> str:
    read = [name for name in sorted(os.environ) if name.startswith(_OF_LIBRARIES)]
    named = [name for name in read if name in str(error) or os.environ[name] in str(error)] or read
    advice = f"look at {', '.join(named)} in the environment" if named else "install lazyrich again"
    return f"{what} ({type(error).__name__}: {error}); {advice}."
