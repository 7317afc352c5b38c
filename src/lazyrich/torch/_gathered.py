"""The cotangents of one product for all outputs, or its gradients, formed one output at a time.

Cotangents of images are large: where activations and gradients are smaller, the gradient
of each output is formed as its cotangent arrives, and no cotangent is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ._contract import cheapest, matrix_gradient
from ._factors import Factors
from ._shared import shared

# Bytes of cotangents that are worth it.
_LARGE = 1 << 23


class Gathered:
    """What arrives at one site, output by output.

    Attributes:
        gradients: (n, c, p), row by row of the matrix; None if cotangents are kept.
    """

    def __init__(self, c: int, size: int, factors: Callable[[Tensor], Factors] | None) -> None:
        """Wait for c outputs.

        Args:
            c: number of outputs.
            size: entries of the matrix.
            factors: from cotangents (n, 1, s, r) to the product; None where it is not formed.
        """
        self._c, self._size, self._factors = c, size, factors
        self._first: Tensor | None = None
        self._product: Factors | None = None
        self._stack: Tensor | None = None
        self.gradients: Tensor | None = None

    def add(self, j: int, cotangent: Tensor) -> None:
        """Add output j, the outputs in their order.

        Args:
            j: which output.
            cotangent: (n, s, r).
        """
        if j == 0 and self._is_worth_forming(cotangent):
            self._first = cotangent  # until another one shows whether the two share a pattern
            return
        if self._first is not None:
            first, self._first = self._first, None
            if shared(torch.stack([first[:1], cotangent[:1]], 1)) is None:
                assert self._factors is not None  # it was found worth forming
                self._product = self._factors(first[:, None])
            self._put(0, first)
        self._put(j, cotangent)

    def cotangents(self) -> Tensor:
        """Those of all outputs, (n, c, s, r), where they are kept."""
        assert self._stack is not None  # all outputs were added, and none was formed
        return self._stack

    def _is_worth_forming(self, cotangent: Tensor) -> bool:
        """Whether activations and gradients are smaller than the cotangents of all outputs."""
        if self._factors is None or self._c < 2 or cotangent.device.type != "cpu":
            return False
        n, s, r = cotangent.shape
        q = self._size // r
        bytes_kept = n * self._c * s * r * cotangent.element_size()
        return q < s and 2 * q < self._c * r and bytes_kept >= _LARGE

    def _put(self, j: int, cotangent: Tensor) -> None:
        if self._product is None:
            if self._c == 1:
                self._stack = cotangent[:, None]
                return
            if self._stack is None:
                self._stack = _stack(cotangent, self._c)
            self._stack[:, j] = cotangent
            return
        gradient = matrix_gradient([replace(self._product, cotangent=cotangent[:, None])])
        if self.gradients is None:
            self.gradients = gradient.new_empty(len(gradient), self._c, gradient.shape[2])
        self.gradients[:, j] = gradient[:, 0]


def _stack(one: Tensor, c: int) -> Tensor:
    """Room for c times (n, s, r), as (n, c, s, r) with the positions laid out as they are."""
    n, s, r = one.shape
    if one.stride(1) == 1 and one.stride(2) != 1:
        return one.new_empty(n, c, r, s).transpose(2, 3)
    return one.new_empty(n, s, c, r).transpose(1, 2)


def smaller(factors: Sequence[Factors]) -> Sequence[Factors] | Tensor:
    """Gradients in place of their factors, where these are larger and would be formed anyway."""
    if any(f.activation_first or f.is_lookup for f in factors):
        return factors
    c, size = factors[0].cotangent.shape[1], factors[0].size
    kept = sum(f.cotangent[0].numel() + f.activation[0].numel() for f in factors)
    if c * size >= kept or cheapest(factors, factors, traced=False) != "gradients":
        return factors
    return matrix_gradient(factors)
