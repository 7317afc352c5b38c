"""Oracle: the kernel, which counts the pages it hands out and knows who may use which core."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lazyrich.sweeps._executors import ProcessExecutor, _shares_of_cores

SOURCE = Path(__file__).parents[2] / "src"
PAGE_FAULTS = """
import pickle, resource
import numpy as np
from lazyrich.sweeps._worker import Chunk, work

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(250_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
work(pickle.dumps(Chunk(list, (), (), "another", False, 1)))
print(first, faults())
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc and its kernel")


def page_faults(trim):
    environment = dict(os.environ, PYTHONPATH=str(SOURCE), MALLOC_TRIM_THRESHOLD_=trim)
    command = [sys.executable, "-c", PAGE_FAULTS]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return [int(word) for word in printed.stdout.split()]


@on_linux
@pytest.mark.slow
def test_a_worker_keeps_the_memory_it_frees_although_dask_says_otherwise():
    before, after = page_faults("65536")
    assert before > 40_000  # 100 arrays of 488 pages, each page faulted in anew
    assert after < 2_000


@on_linux
@pytest.mark.slow
def test_a_threshold_of_ones_own_is_left_alone():
    before, after = page_faults("65537")
    assert before > 40_000
    assert after > 40_000


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
