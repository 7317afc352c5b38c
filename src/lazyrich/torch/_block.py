"""Everything about one block of rows that its kernel with another block needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._contract import (
    Factors,
    added,
    formed,
    gradients_kernel,
    products_kernel,
    without_dead_positions,
)
from ._graph import Graph, Node, edge, gradients, value_shape
from ._jacobian import jacobian
from ._plan import Meeting, Route, pull_back, replan
from ._rows import Inputs, Output, outputs
from ._sites import Product


@dataclass
class Block:
    """Rows, their outputs with the graph, and the route of every parameter.

    Attributes:
        model: a module without wrappers.
        x: the rows.
        output: from what the model returns to its outputs.
        parameters: by name.
        values: outputs (n, c) with their graph.
        routes: by parameter.
        dtype: in which products are formed.
    """

    model: nn.Module
    x: Inputs
    output: Output
    parameters: dict[str, nn.Parameter]
    values: Tensor
    routes: dict[str, Route]
    dtype: torch.dtype

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)


def make_block(
    model: nn.Module,
    x: Inputs,
    output: Output,
    parameters: dict[str, nn.Parameter],
    routes: dict[str, Route],
    dtype: torch.dtype,
) -> Block:
    """Run the model on the rows and find every parameter's route again."""
    values = outputs(model, x, output)
    again = replan(values, parameters, routes)
    return Block(model, x, output, parameters, values, again, dtype)


Part = Sequence[Factors] | Tensor
"""A parameter's gradients for some outputs: as products, or formed, (n, c, p)."""


@torch.no_grad()
def parts(block: Block, start: int, stop: int) -> dict[str, Part]:
    """The gradients of every parameter that is used, for some outputs.

    Args:
        block: the rows.
        start: first output.
        stop: one after the last.

    Returns:
        By parameter; those that no output depends on are missing.
    """
    meetings = [m for route in block.routes.values() for m in route.meetings]
    nodes = list(dict.fromkeys(m.site.node for m in meetings))
    found: dict[Node, list[Tensor | None]] = {node: [] for node in nodes}
    for j in range(start, stop):
        cotangent = torch.zeros_like(block.values)
        cotangent[:, j] = 1
        arrived = gradients(block.values, [edge(node) for node in nodes], cotangent)
        for node, g in zip(nodes, arrived, strict=True):
            found[node].append(g)

    def stacked(meeting: Meeting, make: Callable[[Tensor], Tensor]) -> Tensor:
        rows = [_by_row(block, meeting, g, make) for g in found[meeting.site.node]]
        return stack_outputs(rows)

    result: dict[str, Part] = {}
    unknown = [name for name, r in block.routes.items() if not r.meetings and r.is_used]
    for name, route in block.routes.items():
        if route.meetings:
            result[name] = _part(block, route, block.parameters[name], stacked)
    if unknown:
        chosen = {name: block.parameters[name] for name in unknown}
        result |= jacobian(block.model, block.x, block.output, chosen, range(start, stop))
    return {
        name: part.to(block.dtype) if isinstance(part, Tensor) else part
        for name, part in result.items()
    }


def stack_outputs(rows: Sequence[Tensor]) -> Tensor:
    """(n, s, r) of every output to (n, c, s, r), without transposing what is stored."""
    if rows[0].ndim == 3 and rows[0].stride(1) == 1 and rows[0].stride(2) != 1:
        return torch.stack([one.transpose(1, 2) for one in rows], 1).transpose(2, 3)
    return torch.stack(list(rows), 1)


def _by_row(
    block: Block, meeting: Meeting, g: Tensor | None, make: Callable[[Tensor], Tensor]
) -> Tensor:
    """(n, positions, …) of what a site makes of a cotangent."""
    if g is None:
        g = torch.zeros(value_shape(meeting.site.node), device=block.values.device)
    return by_row(make(g).to(block.dtype), block.n, meeting.rows_first)


def by_row(values: Tensor, n: int, rows_first: bool) -> Tensor:
    """(N, s, …) to (n, N/n · s, …)."""
    size, *rest = values.shape
    if rows_first:
        return values.reshape(n, -1, *rest[1:])
    moved = values.reshape(size // n, n, *rest).transpose(0, 1)
    return moved.reshape(n, -1, *rest[1:])


def _part(block: Block, route: Route, parameter: nn.Parameter, stacked: Callable) -> Part:
    if _is_all_products(route):
        return [
            without_dead_positions(_factors(block, m, parameter, stacked)) for m in route.meetings
        ]
    pieces = []
    for meeting in route.meetings:
        if isinstance(meeting.site, Product):
            factors = _factors(block, meeting, parameter, stacked)
            gradient = formed(factors, 0, factors.shape[0])
        else:
            gradient = stacked(meeting, meeting.site.gradient).sum(2)
        n, c = gradient.shape[:2]
        pulled = pull_back(meeting, gradient.flatten(0, 1), parameter)
        pieces.append(pulled.reshape(n, c, -1))
    return added(pieces)


def _is_all_products(route: Route) -> bool:
    return all(isinstance(m.site, Product) and m.source is None for m in route.meetings)


def _factors(block: Block, meeting: Meeting, parameter: nn.Parameter, stacked: Callable) -> Factors:
    product = meeting.site
    assert isinstance(product, Product)  # the caller looked
    activation = by_row(product.activation, block.n, meeting.rows_first)
    if activation.is_floating_point():
        activation = activation.to(block.dtype)
    shape = tuple(parameter.shape) if meeting.source is None else value_shape(meeting.source)
    if meeting.is_transposed:
        shape = shape[::-1]
    matrix = (shape[0], torch.Size(shape[1:]).numel())
    first = product.activation_first != meeting.is_transposed
    return Factors(
        stacked(meeting, product.cotangent),
        activation,
        first,
        matrix if not meeting.is_transposed else matrix[::-1],
    )


@torch.no_grad()
def kernel(left: dict[str, Part], right: dict[str, Part], *, traced: bool) -> Tensor | float:
    """The kernel of two blocks from their parts, summed over parameters."""
    total: Tensor | float = 0.0
    for name in left.keys() & right.keys():
        mine, yours = left[name], right[name]
        if isinstance(mine, Tensor) and isinstance(yours, Tensor):
            total = total + gradients_kernel(mine, yours, traced=traced)
        elif isinstance(mine, Tensor) or isinstance(yours, Tensor):
            # The two blocks were planned apart, and one of them had to form its gradients.
            total = total + gradients_kernel(_whole(mine), _whole(yours), traced=traced)
        else:
            total = total + products_kernel(mine, yours, traced=traced)
    return total


def _whole(part: Part) -> Tensor:
    return part if isinstance(part, Tensor) else added(formed(f, 0, f.shape[0]) for f in part)


def bytes_per_row(
    values: Tensor, parameters: dict[str, nn.Parameter], routes: dict[str, Route]
) -> float:
    """Memory that a row takes: its graph, and the gradients of one output that are formed."""
    graph = Graph(values)
    n = len(values)
    saved = sum(
        torch.Size(value_shape(node)).numel() for node in graph.nodes() if node._input_metadata
    )
    whole = sum(
        parameters[name].numel()
        for name, route in routes.items()
        if route.is_used and not (route.meetings and _is_all_products(route))
    )
    return 4.0 * (3 * saved / n + whole)
