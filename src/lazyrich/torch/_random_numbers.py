"""Random numbers that stay as they were, whatever a model draws."""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

_GENERATORS = (torch.Generator, random.Random, np.random.Generator, np.random.RandomState)


@contextmanager
def kept_random_numbers(model: nn.Module) -> Generator[None]:
    """Run a model, and have the same random numbers afterwards as without it.

    Those of PyTorch on the CPU and on the devices of the model, of Python, of NumPy, and of
    generators that its modules hold.
    """
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    held = (value for module in model.modules() for value in vars(module).values())
    put_back = [_kept(value) for value in held if isinstance(value, _GENERATORS)]
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


def _kept(generator: object) -> Callable[[], object]:
    """What puts a generator back."""
    if isinstance(generator, torch.Generator):
        of_torch = generator.get_state()
        return lambda: generator.set_state(of_torch)
    if isinstance(generator, random.Random):
        of_python = generator.getstate()
        return lambda: generator.setstate(of_python)
    if isinstance(generator, np.random.RandomState):
        legacy = generator.get_state()
        return lambda: generator.set_state(legacy)
    assert isinstance(generator, np.random.Generator)  # there are no others
    bits = generator.bit_generator
    state = bits.state
    return lambda: setattr(bits, "state", state)
