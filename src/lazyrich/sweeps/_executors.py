"""Where experiments are computed: in this process, in processes of this machine, on Dask."""

import multiprocessing
import os
import pickle
import re
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, TypeVar

from lazyrich._base import InputError, free_memory, memory_text, shown

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

_DEFAULT_IN_FLIGHT = 32
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 15
_MOST_PROCESSES = 64
_PROCESS_BYTES = 250 * 2**20  # of one that has imported JAX and computed nothing


class Workers(NamedTuple):
    """An executor and what a sweep has to know about it.

    Attributes:
        executor: takes the chunks.
        n_workers: how many it computes at a time, where known.
        in_flight: how many to hand over at a time.
        is_local: computes in this process, so experiments come back one by one.
        is_own: was made for this sweep, and ends with it.
    """

    executor: Executor
    n_workers: int | None
    in_flight: int
    is_local: bool = False
    is_own: bool = True


class ProcessExecutor(Executor):
    """Processes that die alone: each has one worker, and a new one takes its place.

    A pool of several workers is broken as a whole when one of them is killed, and does
    not say which call killed it; here a death breaks one call only. Processes are
    spawned: a fork after JAX has started its threads can hang. Each has its share of the
    cores: JAX makes a thread for every core it may use, and processes that all use all
    cores hinder each other.

    Args:
        n_workers: how many.

    Raises:
        InputError: if a process dies at its start.
    """

    def __init__(self, n_workers: int) -> None:
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="lazyrich-sweep")
        self._own = threading.local()
        self._shares = _shares_of_cores(n_workers)
        self._starting = threading.Lock()
        self._children: set[multiprocessing.process.BaseProcess] = set()
        self._pools: set[ProcessPoolExecutor] = set()
        self._is_ending = False
        try:
            self.submit(os.getpid).result()
        except BaseException as error:
            self.shutdown(wait=False)
            if not isinstance(error, BrokenExecutor):
                raise
            raise InputError(
                "The worker processes end as soon as they start; in a script, sweep under "
                '`if __name__ == "__main__":`, because every worker imports the script.'
            ) from None

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future:
        """Have one of the processes call a function."""
        return self._threads.submit(self._call, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: when they are done, or now if nobody waits; none is left over."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures or not wait)
        with self._starting:
            self._is_ending = True
            for child in self._children:
                child.terminate()
        self._threads.shutdown(wait=True)  # calls of processes that are gone have ended
        for pool in self._pools:
            pool.shutdown(wait=True)

    def _call(self, fn: Callable[..., object], *args: object, **kwargs: object) -> object:
        if not hasattr(self._own, "cores"):
            self._own.cores, self._own.pool = self._shares.popleft(), None
        try:
            if self._own.pool is None:
                self._own.pool = self._started(self._own.cores)
            return self._own.pool.submit(fn, *args, **kwargs).result()
        except BrokenExecutor:
            self._own.pool = None
            raise

    def _started(self, cores: set[int]) -> ProcessPoolExecutor:
        """A pool whose one process is on its way."""
        context = multiprocessing.get_context("spawn")
        setup = partial(exec, _SETUP, {"cores": cores})
        pool = ProcessPoolExecutor(1, context, setup)
        with self._starting, _without_ctrl_c():
            if self._is_ending:
                raise BrokenExecutor("no process is started any more")
            self._pools.add(pool)
            before = set(multiprocessing.active_children())
            pool.submit(os.getpid)
            self._children |= set(multiprocessing.active_children()) - before
        return pool


class Choice(NamedTuple):
    """Which executor was asked for, checked, and not started yet.

    Attributes:
        kind: "serial", "threads", "processes", "dask", or "given" for an executor of the caller's.
        n_workers: how many threads or processes.
        address: of the scheduler of Dask.
        executor: that of the caller.
    """

    kind: str
    n_workers: int = 0
    address: str = ""
    executor: Executor | None = None

    @property
    def is_remote(self) -> bool:
        """Whether there is an address that may be wrong."""
        return self.kind == "dask"

    @property
    def shares_memory(self) -> bool:
        """Whether it computes in the memory of this machine."""
        return self.is_local or self.kind == "processes"

    @property
    def is_local(self) -> bool:
        """Whether it computes in this process."""
        return self.kind in ("serial", "threads")

    def workers(self) -> Workers:
        """The workers, started or reached.

        Raises:
            InputError: if they cannot be.
        """
        if self.kind == "serial":
            return Workers(ThreadPoolExecutor(1), 1, 1, is_local=True)
        n = self.n_workers
        if self.kind == "threads":
            # Some wait, for a thread that is free while what came back is written or drawn.
            return Workers(ThreadPoolExecutor(n), n, 2 * n, is_local=True)
        if self.kind == "processes":
            return Workers(ProcessExecutor(n), n, 2 * n)
        if self.kind == "dask":
            return _dask(self.address)
        assert self.executor is not None
        return Workers(self.executor, None, _DEFAULT_IN_FLIGHT, is_own=False)


def chosen_executor(executor: Executor | str | object) -> Choice:
    """What a word or an executor names, without starting it.

    Args:
        executor: "serial" or None, "threads:N", "processes:N", "dask:ADDRESS", or any
            executor of the form of ``concurrent.futures``.

    Raises:
        InputError: if there is no such kind, or there are more processes than make sense.
    """
    if executor is None or executor == "serial":
        return Choice("serial")
    if isinstance(executor, str):
        kind, _, rest = executor.partition(":")
        is_number = re.fullmatch(r"[0-9]{1,300}", rest) and int(rest) > 0
        if kind in ("threads", "processes") and is_number:
            _require_so_many(kind, int(rest))
            return Choice(kind, n_workers=int(rest))
        if kind == "dask" and rest and rest.isprintable():
            return Choice("dask", address=rest)
    elif _has_submit(executor):
        _warn_of_forks(executor)
        return Choice("given", executor=executor)
    words = "serial, processes:N (such as processes:4), threads:N or dask:ADDRESS (such as "
    words += "dask:tcp://127.0.0.1:8786)"
    if not isinstance(executor, str):
        words += ", or an executor with submit"
    raise InputError(f"The executor is {shown(executor)}; wanted {words}.")


def require_executor(executor: Executor | str | object) -> None:
    """Refuse what names no executor, before anything is written.

    Args:
        executor: as for `sweep`.

    Raises:
        InputError: if there is no such kind, or there are more processes than make sense.

    Example:
        >>> require_executor("processes:2")
    """
    chosen_executor(executor)


def _has_submit(executor: object) -> TypeGuard[Executor]:
    return callable(getattr(executor, "submit", None))


def _require_so_many(kind: str, n: int) -> None:
    cores = os.cpu_count() or 1
    most = max(_MOST_PROCESSES, 4 * cores)
    if n > most:
        raise InputError(
            f"{kind}:{shown(n)} are more than {most}; this machine has {cores} cores, and more "
            f"{kind} than cores gain nothing."
        )
    free = free_memory()
    if kind == "processes" and free is not None and n * _PROCESS_BYTES > free:
        raise InputError(
            f"{n} processes need about {memory_text(n * _PROCESS_BYTES)} before they compute "
            f"anything, and {memory_text(free)} are free; take fewer."
        )


def _warn_of_forks(executor: object) -> None:
    context = getattr(executor, "_mp_context", None)
    is_pool = isinstance(executor, ProcessPoolExecutor) and context is not None
    if is_pool and context.get_start_method() == "fork":
        warnings.warn(
            "The processes of this executor are forked, and a fork after JAX was used can "
            'hang; give processes:N, or mp_context=multiprocessing.get_context("spawn").',
            RuntimeWarning,
            stacklevel=5,
        )


def is_death(error: BaseException) -> bool:
    """Whether a call failed because its worker died."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def deaths_of(error: BaseException) -> int:
    """How many workers a call has killed: Dask gives up on one only after four."""
    return 1 + int(getattr(error, "allowed_failures", 0))


def is_lost(error: BaseException) -> bool:
    """Whether a call failed because the worker or scheduler that ran it has ended."""
    return type(error).__name__ in {
        "CancelledError",
        "FutureCancelledError",
        "CommClosedError",
        "SchedulerGone",
    }


def pickled(thing: object) -> bytes:
    """The bytes that a worker will be sent.

    Raises:
        InputError: if another process could not be told what to run.
    """
    try:
        return pickle.dumps(thing)
    except Exception as error:  # pickling calls what the objects define themselves
        raise InputError(
            f"The run function or an experiment cannot be sent to other processes ({error}); "
            "define both at the top level of a module, or use the serial executor."
        ) from error


def _dask(address: str) -> Workers:
    try:
        from distributed import Client
        from distributed.comm import get_address_host
    except ImportError:
        raise InputError(
            "dask:ADDRESS needs Dask; install it with `pip install 'lazyrich[dask]'`, here and "
            "on the workers."
        ) from None
    try:
        # First, for a client that fails at the form of its address takes 20 s to be deleted.
        get_address_host(address)
        client, n_threads = _within(_ANSWER_SECONDS, lambda: _connected(Client, address))
    except (OSError, TimeoutError, ValueError, FutureWarning) as error:  # the last for ucx://
        raise InputError(
            f"No Dask scheduler answers at {address} ({error}); start one with `dask scheduler` "
            "and workers with `dask worker ADDRESS`, and give its address."
        ) from error
    return Workers(_DaskExecutor(client), n_threads, max(_DEFAULT_IN_FLIGHT, 2 * n_threads))


def _connected(client_type: "type[Client]", address: str) -> "tuple[Client, int]":
    client = client_type(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    return client, max(1, sum(client.nthreads().values()))


def _within(seconds: float | int, action: Callable[[], T]) -> T:
    """What an action returns, if it does so in time; Dask waits for ever for some answers."""
    outcome: Future = Future()

    def act() -> None:
        try:
            outcome.set_result(action())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=act, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except FuturesTimeoutError:
        if outcome.done():  # the action's own time limit
            raise
        raise TimeoutError(f"it took the call and said nothing for {seconds:.0f} s") from None


class _DaskExecutor(Executor):
    """Dask's own executor, which takes its connection with it when it ends."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self._executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future:
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._executor.shutdown(wait=wait)  # not waiting cancels
        self.client.close()


def _shares_of_cores(n_workers: int) -> deque[set[int]]:
    """Cores for each worker, all of them in use; empty sets where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return deque([set()] * n_workers)
    cores = sorted(os.sched_getaffinity(0))
    n = len(cores)
    return deque(set(cores[k::n_workers]) or {cores[k % n]} for k in range(n_workers))


_SETUP = """
import multiprocessing, os, threading
if cores and hasattr(os, "sched_setaffinity"):
    try:
        os.sched_setaffinity(0, cores)
    except OSError:  # a core that was taken away since
        pass
parent = multiprocessing.parent_process()
threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
"""
"""What a process does first: keep to its cores, and end when the sweep does, however it does.

As text, for a function of this module would load all libraries before it could watch.
"""


@contextmanager
def _without_ctrl_c() -> Generator[None]:
    """Processes started here never see it, not even before they run any Python.

    Ctrl-C reaches all processes of a terminal; it is for the sweep to end its workers.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # sets the mask back when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
