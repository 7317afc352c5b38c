"""Random numbers that stay as they were, whatever a model draws."""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def kept_random_numbers(model: nn.Module) -> Generator[None]:
    """Run a model, and have the same random numbers afterwards as without it.

    Those of PyTorch on the CPU and on the devices of the model, of Python, of NumPy, and of
    generators that its modules hold.
    """
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    held = [value for module in model.modules() for value in vars(module).values()]
    put_back = list(filter(None, map(_of_generator, held)))
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002 (what models draw from, not what is drawn here)
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            for restore in put_back:
                restore()


def _of_generator(value: object) -> Callable[[], object] | None:
    """What puts a generator back; None of anything else."""
    if isinstance(value, torch.Generator):
        kept = value.get_state()
        return lambda: value.set_state(kept)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        state = bits.state
        return lambda: setattr(bits, "state", state)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    if isinstance(value, random.Random):
        former = value.getstate()
        return lambda: value.setstate(former)
    return None
