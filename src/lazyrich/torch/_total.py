"""The kernel of two blocks of rows, added up in place in pieces that stay in the cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Entries of a temporary: what a cache holds, and what keeps an accelerator busy.
_MOST_ENTRIES = {"cpu": 1 << 20}
_MOST_ENTRIES_ELSEWHERE = 1 << 26
# A symmetric kernel is computed above its diagonal, in about this many strips.
_N_STRIPS = 6
# Strips whose height is no multiple of this are multiplied at a lower rate.
_LEAST_STRIP = 32
# Entries of a temporary that are computed at once, since a strip costs as much as half of them.
_FEW_ENTRIES = 1 << 16
# Rows that are mirrored at the diagonal at a time.
_MIRRORED = 256


def most_entries(device: torch.device) -> int:
    """How many entries a temporary should have."""
    return _MOST_ENTRIES.get(device.type, _MOST_ENTRIES_ELSEWHERE)


class Total:
    """The kernel of two blocks of rows, summed up in place.

    Attributes:
        values: (n·c, m·c), or (n, m) if traced; of a symmetric kernel what stands above
            the diagonal, until `whole` is asked for.
        is_traced: whether equal outputs are summed.
        is_symmetric: whether both blocks are the same.
    """

    def __init__(
        self, n: int, m: int, c: int, *, is_traced: bool, is_symmetric: bool, like: Tensor
    ) -> None:
        """Start at zero, with the type and device of a tensor."""
        self.n, self.m, self.c = n, m, 1 if is_traced else c
        self.is_traced, self.is_symmetric = is_traced, is_symmetric
        self.values = like.new_zeros(n * self.c, m * self.c)

    def add_gradients(self, left: Tensor, right: Tensor) -> None:
        """Add what gradients (n, c, p) and (m, c, p) contribute."""
        if self.is_traced:
            left, right = left.flatten(1), right.flatten(1)
        else:
            left, right = left.flatten(0, 1), right.flatten(0, 1)
        size = len(left)
        if self.is_symmetric and size >= 2 * _LEAST_STRIP:
            size = -(-size // (_N_STRIPS * _LEAST_STRIP)) * _LEAST_STRIP
        for start in range(0, len(left), size):
            first = start if self.is_symmetric else 0
            part = self.values[start : start + size, first:]
            part.addmm_(left[start : start + size], right[first:].T)

    def tiles(self, per_pair: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows of both blocks whose pairs fit a temporary, and where their part is added.

        Args:
            per_pair: entries of the temporary for each pair of rows.
        """
        most = most_entries(self.values.device)
        is_small = self.n * self.m * per_pair <= _FEW_ENTRIES
        n_strips = 1 if is_small else _N_STRIPS
        height = max(1, min(-(-self.n // n_strips), int((most / per_pair) ** 0.5)))
        width = max(1, most // (per_pair * height))
        whole = self.values.reshape(self.n, self.c, self.m, self.c)
        for i in range(0, self.n, height):
            for j in range(i if self.is_symmetric else 0, self.m, width):
                rows, columns = slice(i, i + height), slice(j, j + width)
                yield rows, columns, whole[rows, :, columns]

    def whole(self) -> Tensor:
        """(n, c, m, c), or (n, m) if traced."""
        if self.is_symmetric:
            for start in range(0, len(self.values), _MIRRORED):
                stop = start + _MIRRORED
                block = self.values[start:stop, start:stop]
                block.copy_(block.triu() + block.triu(1).T)
                self.values[stop:, start:stop] = self.values[start:stop, stop:].T
        if self.is_traced:
            return self.values
        return self.values.reshape(self.n, self.c, self.m, self.c)
