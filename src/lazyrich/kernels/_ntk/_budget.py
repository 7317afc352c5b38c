"""How a kernel is kept within a number of bytes: tried with smaller and smaller pieces.

What a compiled program takes is known once it is compiled, and not before: XLA decides what
lies in memory at the same time. So a budget is tried: the kernel is compiled with pieces of
a size that should do, and again with smaller ones until the compiled program fits.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lazyrich._base import InputError

from .._memory import spelled

# Above 1 because estimates of many outputs are far too high; what compiles is measured.
_SHARES = (16.0, 4.0, 1.0, 0.5, 0.25, 0.1, 0.04)

# Of what is free, where no memory is given.
DEFAULT_SHARE = 0.75


class NoRoomError(Exception):
    """A kernel that would take too much of what is free, as its trace says."""


class Budget(NamedTuple):
    """What the pieces of a kernel may take.

    Attributes:
        work: bytes beside the kernel itself.
        n_output_blocks: into how many blocks the outputs are cut, one after the other.
    """

    work: int
    n_output_blocks: int = 1


def budgets(memory: int, kernel_bytes: int, n_outputs: int, *, summed: bool) -> Iterator[Budget]:
    """Budgets from large pieces to small ones.

    Outputs that are summed can be taken some at a time, which costs a forward pass for each
    block and divides what Jacobians take: that comes last.

    Args:
        memory: bytes for everything.
        kernel_bytes: of the result.
        n_outputs: number of outputs c.
        summed: whether equal outputs are summed.
    """
    rest = memory - kernel_bytes
    if rest < 1:
        raise InputError(
            f"The kernel itself takes {spelled(kernel_bytes)} and memory is {spelled(memory)}; "
            "give more memory, compute it in parts (fewer rows of x and x2 at a time), sum it "
            "over outputs (trace_outputs), or use ntk_operator, which never forms it."
        )
    for share in _SHARES:
        yield Budget(max(1, int(share * rest)))
    n_blocks = 2
    while summed and n_blocks < 2 * n_outputs:
        yield Budget(max(1, int(0.25 * rest)), min(n_blocks, n_outputs))
        n_blocks *= 2


def refusal(memory: int, least: int) -> InputError:
    """What to say where the smallest pieces do not fit."""
    return InputError(
        f"The kernel takes at least {spelled(least)} with the smallest pieces that it can be cut "
        f"into, and memory is {spelled(memory)}; give more memory, compute it in parts (fewer "
        "rows of x and x2 at a time), or use ntk_operator, which never forms it."
    )
