"""The gradients of a matrix for every row and output, as products that are not formed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ._shared import Shared, shared


@dataclass(frozen=True)
class Factors:
    """The gradient of a matrix for every row and output, as a product over positions.

    Attributes:
        cotangent: (n, c, s, r).
        activation: (n, s, q), or rows of a table as whole numbers (n, s).
        activation_first: whether the matrix is (q, r) and not (r, q).
        shape: of the matrix.
    """

    cotangent: Tensor
    activation: Tensor
    activation_first: bool
    shape: tuple[int, int]

    @property
    def is_lookup(self) -> bool:
        """Whether the activation stands for rows of a table."""
        return not self.activation.is_floating_point()

    @property
    def size(self) -> int:
        """Entries of the matrix."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def shared(self) -> Shared | None:
        """What all outputs share; None if they do not."""
        return None if self.is_lookup else shared(self.cotangent)

    def flipped(self) -> "Factors":
        """The same for the transposed matrix."""
        return Factors(self.cotangent, self.activation, not self.activation_first, self.shape[::-1])


def without_dead_positions(factors: Factors) -> Factors:
    """Leave out positions at which no cotangent of any row arrives."""
    cotangent = factors.cotangent
    if cotangent.shape[2] < 2 or bool(cotangent[0, 0].any(1).all()):
        return factors
    # Extremes take a tenth of the time of ``any``.
    alive = ((cotangent.amax(3) != 0) | (cotangent.amin(3) != 0)).any(1).any(0)
    if bool(alive.all()):
        return factors
    alive[0] |= not bool(alive.any())  # the gradient is zero, and has its shape
    keep = alive.nonzero()[:, 0]
    return Factors(
        cotangent[:, :, keep],
        factors.activation[:, keep],
        factors.activation_first,
        factors.shape,
    )


def merged(uses: Iterable[Factors]) -> list[Factors]:
    """Uses of one matrix, those of the same kind as one with the positions of all of them.

    Every use is contracted with every other one, of which there are many if a layer is called
    in a loop.
    """
    kinds: dict[tuple[bool, bool], list[Factors]] = defaultdict(list)
    for one in uses:
        kinds[one.activation_first, one.is_lookup].append(one)
    return [
        replace(
            alike[0],
            cotangent=torch.cat([one.cotangent for one in alike], 2),
            activation=torch.cat([one.activation for one in alike], 1),
        )
        if len(alike) > 1
        else alike[0]
        for alike in kinds.values()
    ]
