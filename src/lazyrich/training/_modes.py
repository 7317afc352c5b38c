"""Which way to run many runs: measured, not believed."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import jax
import numpy as np

from lazyrich._ground import free_memory

from ._engine import Inputs
from ._experiment import Experiment
from ._lane import Compiled, Measures, compiled

Mode = Literal["auto", "loop", "threads", "vmap", "shard"]
"""How runs that share a compilation are computed together.

``loop``: one after another. ``threads``: the same, on every core. ``vmap``: as one batch.
``shard``: as one batch spread over devices. ``auto``: the fastest by measurement.
"""

_WORTH_MEASURING = 5.0
"""Seconds of work below which compiling a batch costs more than it can save."""


def n_threads() -> int:
    """Cores that this process may use."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def runs_that_fit(blueprint: Experiment, one: Inputs, measures: Measures) -> int:
    """How many runs like this one a batch may hold, in a quarter of the free memory.

    From what the compiler needs for the steps of one run; at least 1.
    """
    lane = compiled(blueprint, [one], measures)
    fixed, state = lane.start()
    step = lane.advance.lower(lane.inputs, fixed, state, np.array(True), 0, 1)  # ty: ignore[missing-attribute]
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


def fastest_mode(
    blueprint: Experiment, inputs: Sequence[Inputs], measures: Measures, *, n_steps: int
) -> Mode:
    """The fastest way to take these runs through so many steps, measured here and now.

    Times the same few steps, from the start, one run at a time, on threads, and as a
    batch. A batch has to be compiled, so it is only tried where there is work enough.

    Args:
        blueprint: of all runs.
        inputs: of each run.
        measures: probes of one's own.
        n_steps: how many steps each run will make.
    """
    if len(inputs) == 1:
        return "loop"
    if len(jax.local_devices()) > 1:
        return "shard"
    one = compiled(blueprint, inputs[:1], measures)
    alone, some_steps = _pace(one)
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu and alone * n_steps * len(inputs) < _WORTH_MEASURING:
        return "threads" if n_threads() > 1 else "loop"
    pace: dict[Mode, float] = {"loop": alone}
    workers = min(n_threads(), len(inputs))
    if workers > 1:
        lanes = [compiled(blueprint, [one], measures) for one in inputs[:workers]]
        pace["threads"] = _threaded_pace(lanes, some_steps)
    n_together = min(len(inputs), runs_that_fit(blueprint, inputs[0], measures))
    batch = compiled(blueprint, inputs[:n_together], measures)
    pace["vmap"] = _seconds(batch, some_steps) / n_together
    return min(pace, key=lambda mode: pace[mode])


def _seconds(lane: Compiled, n_steps: int) -> float:
    """Seconds per step of all runs of a lane; the first call compiles and is not counted."""
    mask = np.ones(lane.n_runs, bool) if lane.is_batch else np.array(True)
    fixed, state = lane.start()
    state = jax.block_until_ready(lane.advance(lane.inputs, fixed, state, mask, 0, 1))
    begin = time.perf_counter()
    jax.block_until_ready(lane.advance(lane.inputs, fixed, state, mask, 1, n_steps))
    return (time.perf_counter() - begin) / n_steps


def _pace(lane: Compiled) -> tuple[float, int]:
    """Seconds per step, and a number of steps that takes about a twentieth of a second."""
    n_steps = 1
    while (pace := _seconds(lane, n_steps)) * n_steps < 0.02 and n_steps < 1000:
        n_steps *= 4
    return pace, max(1, min(n_steps, int(0.05 / pace)))


def _threaded_pace(lanes: Sequence[Compiled], n_steps: int) -> float:
    """Seconds per step and run with a thread for each lane."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        return max(pool.map(lambda lane: _seconds(lane, n_steps), lanes)) / len(lanes)
