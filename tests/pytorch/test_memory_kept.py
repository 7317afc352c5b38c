"""Oracle: how many pages the operating system hands out in a call."""

import os
import subprocess
import sys

import pytest

CALLS = """
import resource

import torch
from torch import nn

import lazyrich.torch as lzt

torch.set_num_threads(1)
layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
model = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)).eval()
x = torch.randn(32, 3, 32, 32)
pages = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    lzt.ntk(model, x)
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*pages)
"""


def pages_of_calls(**environment):
    command = [sys.executable, "-c", CALLS]
    kept = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=True
    )
    return [int(one) for one in done.stdout.split()]


@pytest.mark.slow  # two processes of their own, 13 s
@pytest.mark.skipif(sys.platform != "linux", reason="of the GNU C library")
def test_memory_is_kept_for_the_next_call_unless_the_environment_says_otherwise():
    first, *_, last = pages_of_calls()
    assert first > 5000
    assert last < first / 8
    *_, last = pages_of_calls(MALLOC_TRIM_THRESHOLD_="100000", MALLOC_MMAP_THRESHOLD_="100000")
    assert last > first / 4
