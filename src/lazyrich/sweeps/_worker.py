"""What a worker runs: it computes a chunk of experiments and returns what is stored of them."""

import inspect
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax

from lazyrich._base import Config, InputError
from lazyrich.training import History

from .store._key import experiment_key
from .store._result import Outcome, outcome_of, package_version

Run = Callable[..., Iterable[History]]
"""Computes a list of experiments; called with that list as its one positional argument."""

_MOST_OF_AN_ERROR = 4000
_TRIM_VARIABLE, _TRIM_OF_DASK = "MALLOC_TRIM_THRESHOLD_", "65536"


class Chunk(NamedTuple):
    """Experiments that are computed in one call.

    Attributes:
        run: what computes them.
        experiments: settings.
        keys: their keys, as the sweep has made them.
        version: lazyrich's, where the sweep runs.
        x64: whether JAX works in double precision there.
        attempt: counts submissions, so that no two calls are the same.
    """

    run: Run
    experiments: tuple[Config, ...]
    keys: tuple[str, ...]
    version: str
    x64: bool
    attempt: int


class Reply(NamedTuple):
    """What a worker gives back.

    Attributes:
        outcomes: of the experiments that were finished.
        error: why the others were not, else empty.
        refusal: why this worker must not compute them at all, else empty.
        seconds: how long it took.
        advice: what would make this worker faster, else empty.
    """

    outcomes: list[Outcome]
    error: str = ""
    refusal: str = ""
    seconds: float = 0.0
    advice: str = ""


def work(pickled: bytes) -> Reply:
    """Compute a pickled chunk, in whatever process this is called."""
    try:
        chunk: Chunk = pickle.loads(pickled)
    except Exception as error:  # unpickling imports the user's modules
        return Reply([], refusal=f"it cannot load what it was sent ({_name(error)})")
    outcomes: list[Outcome] = []
    begin = time.monotonic()
    error, refusal = compute(chunk, outcomes.append)
    return Reply(outcomes, error, refusal, time.monotonic() - begin, _slow_memory())


def _slow_memory() -> str:
    """What to do about an allocator that gives all freed memory back; empty if it does not.

    Dask's nanny has a worker give back all that is free beyond 64 KiB, which also fixes
    the size from which blocks are mapped on their own at 128 KiB. Every step of a run then
    gives its arrays back and faults their pages in again. The sizes in the sentence are
    those that glibc arrives at when left alone.
    """
    if sys.platform != "linux" or os.environ.get(_TRIM_VARIABLE) != _TRIM_OF_DASK:
        return ""
    return (
        f"The workers run with {_TRIM_VARIABLE}={_TRIM_OF_DASK}, which Dask sets and which "
        f"doubles the time of many small steps; start them with {_TRIM_VARIABLE}=67108864 and "
        "MALLOC_MMAP_THRESHOLD_=33554432 in their environment."
    )


def compute(chunk: Chunk, emit: Callable[[Outcome], object]) -> tuple[str, str]:
    """Compute a chunk, handing over each experiment as it is finished.

    Returns:
        An error and a refusal, as in ``Reply``.
    """
    refusal = _refusal(chunk)
    if refusal:
        return "", refusal
    wanted = set(chunk.keys)

    def keep(history: History) -> None:
        outcome = outcome_of(history)
        if outcome.key in wanted:
            wanted.remove(outcome.key)
            emit(outcome)

    with jax.enable_x64(chunk.x64):
        try:
            _call(chunk, keep)
        except Exception as error:  # whatever the run raises is the outcome of its experiments
            return _account(error), ""
    return ("its run ended without giving it back" if wanted else ""), ""


def _call(chunk: Chunk, keep: Callable[[History], None]) -> None:
    """Call the run function, and keep each history when it is first seen."""
    run: object = chunk.run
    kept: set[int] = set()

    def on_finished(position: int, history: History) -> None:
        kept.add(position)
        keep(history)

    is_told = "on_finished" in inspect.signature(run).parameters
    told = {"on_finished": on_finished} if is_told else {}
    for position, history in enumerate(run(list(chunk.experiments), **told)):
        if position not in kept:
            keep(history)


def _refusal(chunk: Chunk) -> str:
    if package_version() != chunk.version:
        return f"it has lazyrich {package_version()}, the sweep has {chunk.version}"
    for experiment, key in zip(chunk.experiments, chunk.keys, strict=True):
        if experiment_key(experiment) != key:
            return "its lazyrich has other versions of the numerics or of the settings"
    return ""


def _account(error: Exception) -> str:
    """An error as it is kept: its sentence, and the trace if it was not bad input."""
    if isinstance(error, InputError):
        return str(error)
    trace = "".join(traceback.format_exception(error))[-_MOST_OF_AN_ERROR:]
    return f"{_name(error)}\n{trace}"


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
