"""Oracle: the kernel, which counts the pages it hands out and knows who may use which core."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lazyrich.sweeps import Submission, grid, sweep
from lazyrich.sweeps._executors import ProcessExecutor, _shares_of_cores
from sweeps.toys import Toy, run_toys

SOURCE = Path(__file__).parents[2] / "src"
PAGE_FAULTS = """
import pickle, resource
import numpy as np
from lazyrich.sweeps._worker import Chunk, work
from lazyrich.sweeps.store._result import package_version

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(250_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
done = work(pickle.dumps(Chunk(list, (), (), package_version(), False, 1)))
print(first, faults(), done.advice)
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc and its kernel")


def page_faults(**thresholds):
    """Page faults of a worker before and after it is first called, and whether it advises."""
    environment = dict(os.environ, PYTHONPATH=str(SOURCE), **thresholds)
    command = [sys.executable, "-c", PAGE_FAULTS]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    before, after, *advice = printed.stdout.split(maxsplit=2)
    return int(before), int(after), "".join(advice).strip()


@on_linux
@pytest.mark.slow
def test_what_a_worker_advises_keeps_the_memory_that_it_frees():
    before, after, advice = page_faults(MALLOC_TRIM_THRESHOLD_="65536")
    assert before > 40_000  # 100 arrays of 488 pages, each page faulted in anew
    assert after > 40_000  # an allocator is its owner's
    before, after, rest = page_faults(**dict(re.findall(r"(MALLOC_\w+)=(\d{8})", advice)))
    assert max(before, after) < 2_000
    assert rest == ""


@on_linux
@pytest.mark.parametrize(("trim", "is_advised"), [("65536", True), ("65537", False), ("", False)])
def test_a_sweep_says_once_that_workers_are_slow(monkeypatch, tmp_path, caplog, trim, is_advised):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", trim)
    submission = Submission(batch_size=1)
    with ThreadPoolExecutor(1) as executor:
        runs = grid(Toy(), {"seed": range(3)})
        sweep(
            runs,
            store=tmp_path,
            executor=executor,
            run=run_toys,
            progress=False,
            submission=submission,
        )
    assert caplog.text.count("which Dask sets") == is_advised


@on_linux
@pytest.mark.parametrize(
    ("cores", "n_workers", "shares"),
    [
        ({0, 1}, 2, [{0}, {1}]),
        ({0, 1, 4, 5}, 2, [{0, 4}, {1, 5}]),
        ({2, 3}, 1, [{2, 3}]),
        ({2, 3}, 3, [{2}, {3}, {2}]),
    ],
)
def test_workers_share_out_all_cores(monkeypatch, cores, n_workers, shares):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    assert list(_shares_of_cores(n_workers)) == shares


@on_linux
@pytest.mark.slow
def test_a_process_keeps_to_its_share():
    cores = os.sched_getaffinity(0)
    n = len(cores)
    with ProcessExecutor(n) as executor:
        seen = [executor.submit(os.sched_getaffinity, 0).result() for _ in range(2 * n)]
    assert all(len(some) == 1 and some <= cores for some in seen)
