"""Gradients of a few rows for random cotangents, with which a plan is made and compared."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ._graph import Node, edge, gradients
from ._magnitude import norm
from ._sites import Product, Site


class Probe:
    """Gradients at nodes for random cotangents, and for the same with every row scaled.

    Since rows do not mix, an entry of a gradient that belongs to a row is scaled by that
    row's factor: this tells which entries belong to which row.

    Attributes:
        cotangent: the random one.
        exact: by name of a parameter, its gradient for that; None where none arrives.
    """

    def __init__(self, outputs: Tensor) -> None:
        generator = torch.Generator().manual_seed(0)
        self.outputs, self.n = outputs, len(outputs)
        self.scales = (1 + torch.rand(self.n, generator=generator, device="cpu")).to(outputs)
        drawn = torch.randn(outputs.shape, generator=generator, device="cpu")
        self.cotangent = drawn.to(outputs)
        self.exact: dict[str, Tensor | None] = {}
        self._plain: dict[Node, Tensor | None] = {}
        self._scaled: dict[Node, Tensor | None] = {}

    def compute(
        self, nodes: Iterable[Node], parameters: Mapping[str, nn.Parameter] | None = None
    ) -> None:
        """Compute both gradients at several nodes in one backward pass each, and at parameters."""
        new, parameters = [node for node in nodes if node not in self._plain], parameters or {}
        if not new and not parameters:
            return
        edges = [edge(node) for node in new]
        scaled = self.cotangent * self.scales[:, None]
        arrived = gradients(self.outputs, [*edges, *parameters.values()], self.cotangent)
        self._plain |= dict(zip(new, arrived, strict=False))
        self._scaled |= dict(zip(new, gradients(self.outputs, edges, scaled), strict=True))
        self.exact |= dict(zip(parameters, arrived[len(new) :], strict=True))

    def at(self, node: Node) -> Tensor | None:
        self.compute([node])
        return self._plain[node]

    def rows_first(self, one: Site) -> bool | None:
        """The layout of a site's rows; None if its leading axis is not made of rows."""
        plain = self.at(one.node)
        scaled = self._scaled[one.node]
        if plain is None or scaled is None:
            return None
        make = one.cotangent if isinstance(one, Product) else one.gradient
        before, after = make(plain), make(scaled)
        n_positions, rest = divmod(len(before), self.n)
        if rest or not n_positions:
            return None
        most = torch.finfo(self.outputs.dtype).eps ** 0.5 * norm(before)
        for rows_first in (True, False):
            shape = (self.n, 1, -1) if rows_first else (n_positions, self.n, -1)
            scales = self.scales.reshape(-1, 1, 1) if rows_first else self.scales[:, None]
            wanted = before.reshape(shape) * scales
            if norm(after.reshape(shape) - wanted) <= most:
                return rows_first
        return None


def is_close(found: Tensor | float, exact: Tensor) -> bool:
    """Whether a gradient is the exact one, but for rounding."""
    if not isinstance(found, Tensor):
        return not bool(exact.any())
    tolerance = 50 * torch.finfo(exact.dtype).eps ** 0.75
    found = found.to(torch.promote_types(exact.dtype, torch.float32))
    return norm(found - exact) <= tolerance * norm(exact)
