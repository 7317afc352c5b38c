"""The kernel of all rows, from blocks of them of which two are held at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ._block import Block, add_parts, biases, parts
from ._total import Total


def by_blocks(
    block: Callable[[int, int], Block],
    counts: Sequence[int],
    sizes: tuple[int, int, int],
    *,
    traced: bool,
) -> Tensor:
    """The kernel from blocks of rows, of which two are held at a time.

    Args:
        block: of one of the batches, from a row on.
        counts: rows of one batch or two.
        sizes: rows of a block, outputs at a time, outputs.
        traced: whether equal outputs are summed.
    """
    size, step, c = sizes
    is_one = len(counts) == 1
    result = None
    for i in range(0, counts[0], size):
        mine = block(0, i)
        for j in range(i if is_one else 0, counts[-1], size):
            yours = mine if is_one and j == i else block(len(counts) - 1, j)
            piece = piece_of(mine, yours, step, traced=traced)
            if result is None:
                shape = (counts[0], counts[-1]) if traced else (counts[0], c, counts[-1], c)
                result = piece.new_zeros(shape)
            _put(result, piece, i, j, traced=traced)
            if is_one and j > i:
                _put(result, piece.T if traced else piece.permute(2, 3, 0, 1), j, i, traced=traced)
    assert result is not None  # there are rows
    return result


def piece_of(mine: Block, yours: Block, step: int, *, traced: bool) -> Tensor:
    """The kernel of two blocks, some outputs at a time."""
    c = mine.values.shape[1]
    like = torch.empty(0, dtype=mine.dtype, device=mine.values.device)
    is_same = yours is mine
    total = Total(mine.n, yours.n, c, is_traced=traced, is_symmetric=is_same, like=like)
    together = biases(mine.routes) & biases(yours.routes)
    for start in range(0, c, step):
        stop = min(start + step, c)
        left = mine.parts(start, stop)
        # Those of the other block are not kept, but where they have been compared.
        make = parts if yours.kept is None else Block.parts
        add_parts(total, left, left if is_same else make(yours, start, stop), together)
    return total.whole()


def _put(result: Tensor, piece: Tensor, i: int, j: int, *, traced: bool) -> None:
    if traced:
        result[i : i + piece.shape[0], j : j + piece.shape[1]] = piece
    else:
        result[i : i + piece.shape[0], :, j : j + piece.shape[2]] = piece
