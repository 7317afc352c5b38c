"""Where a parameter enters the autograd graph of the outputs.

The graph that PyTorch records says exactly which operations read a parameter, whatever
module or function called them. Every reader is listed; there is nothing to be guessed
from the classes of layers.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Node = Any
"""A node of the autograd graph, ``tensor.grad_fn``."""


@dataclass(frozen=True)
class Reader:
    """One operation that reads a value.

    Attributes:
        node: the operation.
        position: which of its arguments the value is.
    """

    node: Node
    position: int

    @property
    def name(self) -> str:
        """The operation's name without its ending: "Addmm", "Convolution"."""
        return type(self.node).__name__.removesuffix("Backward0").removesuffix("Backward1")


class Graph:
    """Who reads what, from the outputs down to the parameters."""

    def __init__(self, outputs: Tensor) -> None:
        """Walk the graph once.

        Args:
            outputs: any tensor with a gradient function.
        """
        self._readers: dict[Node, list[Reader]] = defaultdict(list)
        self._leaves: dict[int, Node] = {}
        root: Node = outputs.grad_fn
        waiting, seen = [root], {root}
        while waiting:
            node = waiting.pop()
            for position, (source, output_nr) in enumerate(node.next_functions):
                if source is None:
                    continue
                # A node with several outputs (chunk, split) is never followed: see `uses`.
                if output_nr == 0 or type(source).__name__ == "AccumulateGrad":
                    self._readers[source].append(Reader(node, position))
                else:
                    self._readers[source].append(Reader(node, -1))
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
                    if type(source).__name__ == "AccumulateGrad":
                        self._leaves[id(source.variable)] = source

    def nodes(self) -> list[Node]:
        """Every node that something reads."""
        return list(self._readers)

    def readers_of_parameter(self, parameter: nn.Parameter) -> list[Reader]:
        """The operations that read a parameter; none if no output depends on it."""
        leaf = self._leaves.get(id(parameter))
        return [] if leaf is None else self._readers[leaf]

    def readers(self, node: Node) -> list[Reader]:
        """The operations that read a node's first output."""
        return self._readers[node]


def edge(node: Node) -> torch.autograd.graph.GradientEdge:
    """The gradient with respect to a node's first output, for ``torch.autograd.grad``."""
    return torch.autograd.graph.GradientEdge(node, 0)


def value_shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's first output."""
    return tuple(node._input_metadata[0].shape)


def gradients(outputs: Tensor, edges: Iterable[Node], cotangent: Tensor) -> list[Tensor | None]:
    """Gradients at edges for a cotangent of the outputs, dense; None where nothing flows."""
    edges = list(edges)
    if not edges:
        return []
    arrived = torch.autograd.grad(
        outputs, edges, grad_outputs=cotangent, retain_graph=True, allow_unused=True
    )
    return [g.to_dense() if g is not None and g.is_sparse else g for g in arrived]
