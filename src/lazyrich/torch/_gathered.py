"""The cotangents of one product for all outputs, or its gradients, formed a few outputs at a time.

Cotangents of images are large: where activations and gradients are smaller, the gradients are
formed as soon as the cotangents of a few outputs have arrived, and these are not kept.
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
# Columns of a product, for some outputs together, that are multiplied at the full rate.
_COLUMNS = 128


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
        self._waiting: list[Tensor] = []
        self._product: Factors | None = None
        self._at_a_time, self._n_formed = c, 0
        self.gradients: Tensor | None = None

    def add(self, j: int, cotangent: Tensor) -> None:
        """Add output j, the outputs in their order.

        Args:
            j: which output.
            cotangent: (n, s, r).
        """
        self._waiting.append(cotangent)
        if j == 1:  # two of them show whether they share a pattern
            self._choose()
        if self._product is not None and (
            len(self._waiting) >= self._at_a_time or j + 1 == self._c
        ):
            self._form()

    def cotangents(self) -> Tensor:
        """Those of all outputs, (n, c, s, r), where they are kept."""
        stack, self._waiting = _stacked(self._waiting), []
        return stack

    def _choose(self) -> None:
        first, second = self._waiting
        if self._factors is None or not self._is_worth_forming(first):
            return
        if shared(torch.stack([first[:1], second[:1]], 1)) is None:
            self._product = self._factors(first[:, None])
            n_groups = max(1, self._c * first.shape[2] // _COLUMNS)
            self._at_a_time = -(-self._c // n_groups)

    def _is_worth_forming(self, cotangent: Tensor) -> bool:
        """Whether activations and gradients are smaller than the cotangents of all outputs."""
        if cotangent.device.type != "cpu":
            return False
        n, s, r = cotangent.shape
        q = self._size // r
        bytes_kept = n * self._c * s * r * cotangent.element_size()
        return q < s and 2 * q < self._c * r and bytes_kept >= _LARGE

    def _form(self) -> None:
        """Form the gradients of the outputs that wait."""
        assert self._product is not None  # the caller looked
        gradient = matrix_gradient([replace(self._product, cotangent=_stacked(self._waiting))])
        if self.gradients is None:
            self.gradients = gradient.new_empty(len(gradient), self._c, gradient.shape[2])
        self.gradients[:, self._n_formed : self._n_formed + len(self._waiting)] = gradient
        self._n_formed += len(self._waiting)
        self._waiting = []


def _stacked(each: list[Tensor]) -> Tensor:
    """From c times (n, s, r) to (n, c, s, r) with the positions laid out as they are."""
    if len(each) == 1:
        return each[0][:, None]
    if each[0].stride(1) == 1 and each[0].stride(2) != 1:
        return torch.stack([one.transpose(1, 2) for one in each], 1).transpose(2, 3)
    return torch.stack(each, 2).transpose(1, 2)


def smaller(factors: Sequence[Factors]) -> Sequence[Factors] | Tensor:
    """Gradients in place of their factors, where these are larger and would be formed anyway."""
    if any(f.activation_first or f.is_lookup for f in factors):
        return factors
    c, size = factors[0].cotangent.shape[1], factors[0].size
    kept = sum(f.cotangent[0].numel() + f.activation[0].numel() for f in factors)
    if c * size >= kept or cheapest(factors, factors, traced=False) != "gradients":
        return factors
    return matrix_gradient(factors)
