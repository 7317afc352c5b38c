"""Where a parameter enters the autograd graph of the outputs.

The graph that PyTorch records says exactly which operations read a parameter, whatever
module or function called them. Every reader is listed; there is nothing to be guessed
from the classes of layers.
"""

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

Node = Any
"""A node of the autograd graph, ``tensor.grad_fn``."""


class Value(NamedTuple):
    """What a node makes.

    Attributes:
        node: an operation.
        number: which of its values.
    """

    node: Node
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""
        return tuple(self.node._input_metadata[self.number].shape)

    @property
    def dtype(self) -> torch.dtype:
        """The type of its entries."""
        return self.node._input_metadata[self.number].dtype


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
        return node_name(self.node)


class Graph:
    """Who reads what, from the outputs down to the parameters."""

    def __init__(self, outputs: Tensor) -> None:
        """Walk the graph once.

        Args:
            outputs: any tensor with a gradient function.

        Raises:
            InputError: if a table divides its gradient by counts in the batch, or if a
                checkpoint hides parameters.
        """
        self._readers: dict[Node, dict[int, list[Reader]]] = defaultdict(dict)
        self._leaves: dict[int, Node] = {}
        self._root: Node = outputs.grad_fn
        for node in _walk(self._root):
            _refuse_counted(node)
            _refuse_hidden_parameters(node)
            for position, (source, number) in enumerate(node.next_functions):
                if source is not None:
                    self._readers[source].setdefault(number, []).append(Reader(node, position))
            if type(node).__name__ == "AccumulateGrad":
                self._leaves[id(node.variable)] = node

    def nodes(self) -> list[Node]:
        """Every node, that of the outputs first."""
        return [self._root, *self._readers]

    def operations(self) -> list[Node]:
        """Every node beside those that stand for parameters."""
        return [one for one in self.nodes() if type(one).__name__ != "AccumulateGrad"]

    def readers_of_parameter(self, parameter: nn.Parameter) -> list[Reader]:
        """The operations that read a parameter; none if no output depends on it."""
        leaf = self._leaves.get(id(parameter))
        return [] if leaf is None else self._readers.get(leaf, {}).get(0, [])

    def readers(self, node: Node) -> dict[Value, list[Reader]]:
        """The operations that read each of a node's values; several of what is split."""
        found = self._readers.get(node, {})  # none are noted by asking
        return {Value(node, number): readers for number, readers in found.items()}


def has_code_of_a_user(outputs: Tensor) -> bool:
    """Whether a backward pass runs code in Python: an autograd function, or a parameter's hook."""
    return any(
        isinstance(node, torch.autograd.function.BackwardCFunction)
        or (type(node).__name__ == "AccumulateGrad" and bool(node.variable._backward_hooks))
        for node in _walk(outputs.grad_fn)
    )


def parameters_of(value: Tensor, *, beside: Collection[Node] = ()) -> list[nn.Parameter]:
    """The parameters that a value has a gradient of.

    Args:
        value: with its graph.
        beside: nodes of which it does not matter what they are computed from.

    Raises:
        InputError: if a checkpoint hides some.
    """
    found = []
    for node in _walk(value.grad_fn, beside):
        _refuse_hidden_parameters(node)
        if type(node).__name__ == "AccumulateGrad" and isinstance(node.variable, nn.Parameter):
            found.append(node.variable)
    return found


def _walk(root: Node, beside: Collection[Node] = ()) -> Generator[Node]:
    """Every node below one, once; none below None, which is that of a value without a graph."""
    waiting = [] if root is None or root in beside else [root]
    seen = {*waiting, *beside}
    while waiting:
        node = waiting.pop()
        yield node
        for source, _ in node.next_functions:
            if source is not None and source not in seen:
                seen.add(source)
                waiting.append(source)


def _refuse_counted(node: Node) -> None:
    if getattr(node, "_saved_scale_grad_by_freq", False):
        raise InputError(
            "The model has a table with scale_grad_by_freq=True, whose gradient for one row "
            "depends on how often the others read it, so there is no tangent kernel of a row; set "
            "it to False on that layer."
        )


def _refuse_hidden_parameters(node: Node) -> None:
    """Refuse the old form of checkpoints, in which no operation is seen to read parameters."""
    if type(node).__name__ == "CheckpointFunctionBackward":
        raise InputError(
            "The model uses torch.utils.checkpoint with use_reentrant=True, whose parameters have "
            "no place in the graph of the outputs, so their tangent kernel cannot be computed; use "
            "use_reentrant=False."
        )


def node_name(node: Node) -> str:
    """An operation's name without its ending: "Addmm", "Convolution"."""
    return type(node).__name__.removesuffix("Backward0").removesuffix("Backward1")


def edge(node: Node, number: int = 0) -> torch.autograd.graph.GradientEdge:
    """The gradient with respect to one of a node's values, for ``torch.autograd.grad``."""
    return torch.autograd.graph.GradientEdge(node, number)


def value_shape(node: Node) -> tuple[int, ...]:
    """The shape of a node's first output."""
    return tuple(node._input_metadata[0].shape)


def gradients(
    outputs: Tensor, edges: Iterable[Node], cotangent: Tensor, *, is_last: bool = False
) -> list[Tensor | None]:
    """Gradients at edges for a cotangent of the outputs, dense; None where nothing flows.

    Args:
        outputs: with their graph.
        edges: nodes or parameters.
        cotangent: of the outputs.
        is_last: whether the graph may be freed on the way.

    Raises:
        InputError: if the outputs cannot be differentiated.
    """
    edges = list(edges)
    if not edges:
        return []
    with differentiated():
        arrived = torch.autograd.grad(
            outputs, edges, grad_outputs=cotangent, retain_graph=not is_last, allow_unused=True
        )
    return [g.to_dense() if g is not None and g.is_sparse else g for g in arrived]


@contextmanager
def differentiated() -> Generator[None]:
    """Turn what a backward pass raises into a sentence.

    Raises:
        InputError: with the beginning of what PyTorch said.
    """
    try:
        yield
    except (torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # hooks and autograd functions are the user's, and raise anything
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"PyTorch cannot differentiate the model's outputs ({type(error).__name__}: {said}); "
            "replace that operation by one that has a derivative and changes nothing in place that "
            "is needed for it."
        ) from error
