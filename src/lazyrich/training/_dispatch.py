"""Choose serial, threaded, vmapped or sharded execution by timing a few steps."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import jax
import numpy as np

from lazyrich._base import free_memory

from ._batch import Batch, Metrics, batch_of
from ._simulation import Inputs, Simulation

Mode = Literal["auto", "loop", "threads", "vmap", "shard"]
"""How runs that share a compilation are computed together.

``loop``: one after another. ``threads``: the same, on every core. ``vmap``: as one batch.
``shard``: as one batch spread over devices. ``auto``: the fastest by measurement.
"""

MODES = ("auto", "loop", "threads", "vmap", "shard")

_WORTH_MEASURING, _WORTH_COMPILING = 5.0, 10.0
"""Seconds of work, and how many times what compiling one run took, below which compiling a
batch on a CPU costs more than it can save.
"""


def n_threads() -> int:
    """Cores that this process may use."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def runs_that_fit(simulation: Simulation, one: Inputs, metrics: Metrics) -> int:
    """How many runs like this one a batch may hold, in a quarter of the free memory.

    From what the compiler needs for the steps of one run; at least 1.
    """
    batch = batch_of(simulation, [one], metrics)
    constants, state = batch.start()
    step = batch.advance.lower(batch.inputs, constants, state, np.array(True), (0, 1))  # ty: ignore[missing-attribute]
    needs = step.compile().memory_analysis()
    if needs is None:
        return 64
    each = needs.temp_size_in_bytes + needs.argument_size_in_bytes + needs.output_size_in_bytes
    return max(1, int(_free_bytes() / 4 / max(each, 1)))


def _free_bytes() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = free_memory()
    return 4 * 2**30 if free is None else free


def fastest_mode(simulation: Simulation, inputs: Sequence[Inputs], metrics: Metrics) -> Mode:
    """The fastest way to take these runs to their end, measured here and now.

    Times the same few steps, from the start, one run at a time, on threads, and as a
    batch. A batch has to be compiled and goes on until the last of its runs ends, so it is
    only tried where there is work enough, not where each run takes as many steps of its own
    as it needs, and on a CPU not where runs end when they are solved.

    Args:
        simulation: any of the runs, which share a static key and their evaluation steps.
        inputs: of each run.
        metrics: the user's own.
    """
    if len(inputs) == 1:
        return "loop"
    if not simulation.has_even_steps:
        return "threads" if n_threads() > 1 else "loop"
    if len(jax.local_devices()) > 1:
        return "shard"
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu and simulation.ends_when_solved:
        return "threads" if n_threads() > 1 else "loop"
    one = batch_of(simulation, inputs[:1], metrics)
    begin = time.perf_counter()
    compile_first(one)
    compiling = time.perf_counter() - begin
    alone, some_steps = _pace(one)
    work = alone * int(simulation.schedule[-1]) * len(inputs)
    if on_cpu and work < max(_WORTH_MEASURING, _WORTH_COMPILING * compiling):
        return "threads" if n_threads() > 1 else "loop"
    pace: dict[Mode, float] = {"loop": alone}
    workers = min(n_threads(), len(inputs))
    if workers > 1:
        batches = [batch_of(simulation, [one], metrics) for one in inputs[:workers]]
        pace["threads"] = _threaded_pace(batches, some_steps)
    n_together = min(len(inputs), runs_that_fit(simulation, inputs[0], metrics))
    together = batch_of(simulation, inputs[:n_together], metrics)
    pace["vmap"] = _seconds(together, some_steps) / n_together
    return min(pace, key=lambda mode: pace[mode])


def compile_first(batch: Batch) -> None:
    """Compile what a run of this kind needs: threads that trace together do the work twice."""
    constants, state = batch.start()
    state = batch.advance(batch.inputs, constants, state, _everyone(batch), (0, 0))
    jax.block_until_ready(batch.measure(batch.inputs, constants, state, 0))


def _everyone(batch: Batch) -> np.ndarray:
    return np.array(True) if batch.n_runs is None else np.ones(batch.n_runs, bool)


def _seconds(batch: Batch, n_steps: int) -> float:
    """Seconds per step of all runs of a batch; the first call compiles and is not counted."""
    mask = _everyone(batch)
    constants, state = batch.start()
    state = jax.block_until_ready(batch.advance(batch.inputs, constants, state, mask, (0, 1)))
    begin = time.perf_counter()
    jax.block_until_ready(batch.advance(batch.inputs, constants, state, mask, (1, n_steps)))
    return (time.perf_counter() - begin) / n_steps


def _pace(batch: Batch) -> tuple[float, int]:
    """Seconds per step, and a number of steps that takes about a twentieth of a second."""
    n_steps = 1
    while (pace := _seconds(batch, n_steps)) * n_steps < 0.02 and n_steps < 1000:
        n_steps *= 4
    return pace, max(1, min(n_steps, int(0.05 / pace)))


def _threaded_pace(batches: Sequence[Batch], n_steps: int) -> float:
    """Seconds per step and run with a thread for each."""
    is_x64 = bool(jax.config.read("jax_enable_x64"))  # which is each thread's own

    def seconds(batch: Batch) -> float:
        with jax.enable_x64(is_x64):
            return _seconds(batch, n_steps)

    with ThreadPoolExecutor(len(batches)) as pool:
        return max(pool.map(seconds, batches)) / len(batches)
