"""One thread for tests of PyTorch: their arrays are small, and other tests run beside them."""

import importlib.util

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
