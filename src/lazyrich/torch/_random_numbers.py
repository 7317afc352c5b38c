"""Random numbers that stay as they were, whatever a model draws."""

import random
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress

import numpy as np
import torch
from torch import nn


@contextmanager
def kept_random_numbers(model: nn.Module, generators: Iterable[object]) -> Generator[None]:
    """Run a model, and have the same random numbers afterwards as without it.

    Those of PyTorch on the CPU and on the devices of the model, of Python and of NumPy.

    Args:
        model: that is run.
        generators: others that it holds.
    """
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.is_cuda})
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002 (what models draw from, not what is drawn here)
    put_back = [_kept(one) for one in generators]
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
        with suppress(NotImplementedError):  # that of the operating system has no state
            of_python = generator.getstate()
            return lambda: generator.setstate(of_python)
        return lambda: None
    if isinstance(generator, np.random.RandomState):
        legacy = generator.get_state()
        return lambda: generator.set_state(legacy)
    bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator
    assert isinstance(bits, np.random.BitGenerator)  # there are no others
    state = bits.state
    return lambda: setattr(bits, "state", state)
