"""Products in full float32, which devices may round to fewer bits (TF32, bfloat16)."""

from collections.abc import Generator
from contextlib import contextmanager
from operator import attrgetter

import torch


@contextmanager
def full_float32() -> Generator[None]:
    """Let products and convolutions keep all bits of float32; afterwards all is as it was.

    PyTorch has two ways to ask for fewer bits, and refuses to read one after the other was
    used. What keeps all bits already is not touched: a setting that was never made stays so.
    """
    cudnn = torch.backends.cudnn
    try:
        matmul, rounds = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    except RuntimeError:
        with _by_operation():
            yield
        return
    try:
        if matmul != "highest":
            torch.set_float32_matmul_precision("highest")
        if rounds:
            cudnn.allow_tf32 = False
        yield
    finally:
        if matmul != "highest":
            torch.set_float32_matmul_precision(matmul)
        if rounds:
            cudnn.allow_tf32 = True


@contextmanager
def _by_operation() -> Generator[None]:
    """The same in the newer way, from PyTorch 2.9 on."""
    parts = attrgetter("cuda.matmul", "cudnn.conv", "cudnn.rnn")(torch.backends)
    before = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "ieee"
        yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision
