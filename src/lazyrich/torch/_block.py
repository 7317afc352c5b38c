"""Everything about one block of rows that its kernel with another block needs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ._contract import add_products, added, cheapest, matrix_gradient
from ._factors import Factors, merged, without_dead_positions
from ._gathered import Gathered, smaller
from ._graph import Node, edge, gradients, value_shape
from ._jacobian import jacobian
from ._plan import Meeting, Planned, Route, pull_back, replan
from ._rows import Inputs, Observed, Output, observed_outputs
from ._sites import Product
from ._total import Total


@dataclass
class Block:
    """Rows, their outputs with the graph, and the route of every parameter.

    Attributes:
        model: a module without wrappers.
        x: the rows.
        output: from what the model returns to its outputs.
        parameters: by name.
        seen: outputs (n, c) with their graph, and what was seen of the call.
        routes: by parameter.
        dtype: in which products are formed.
        kept: outputs, and the parts of these.
    """

    model: nn.Module
    x: Inputs
    output: Output
    parameters: dict[str, nn.Parameter]
    seen: Observed
    routes: dict[str, Route]
    dtype: torch.dtype
    kept: "tuple[range, dict[str, Part]] | None" = None

    def parts(self, start: int, stop: int) -> "dict[str, Part]":
        """As `parts`; the last ones are kept, since several blocks meet them."""
        if self.kept is None or self.kept[0] != range(start, stop):
            self.kept = None
            self.kept = range(start, stop), parts(self, start, stop)
        return self.kept[1]

    @property
    def values(self) -> Tensor:
        """The outputs (n, c) with their graph."""
        return self.seen.values

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)


def make_block(
    model: nn.Module,
    x: Inputs,
    output: Output,
    parameters: dict[str, nn.Parameter],
    planned: Planned,
    dtype: torch.dtype,
) -> Block:
    """Run the model on the rows and find every parameter's route again, as `replan`."""
    seen = observed_outputs(model, x, output)
    again = replan(seen, parameters, planned)
    return Block(model, x, output, parameters, seen, again, dtype)


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
    gathered = {
        id(meeting): Gathered(
            stop - start,
            block.parameters[name].numel(),
            _maker(block, route, block.parameters[name]),
        )
        for name, route in block.routes.items()
        for meeting in route.meetings
    }
    meetings = [m for route in block.routes.values() for m in route.meetings]
    is_pulled = any(m.source is not None for m in meetings)  # through the graph, afterwards
    for j in range(start, stop):
        # Else nothing goes through the graph again once all outputs have.
        is_last = start == 0 and j == block.values.shape[1] - 1 and not is_pulled
        _gather(block, j, gathered, j - start, is_last=is_last)

    result: dict[str, Part] = {}
    unknown = [name for name, r in block.routes.items() if not r.meetings and r.is_used]
    for name, route in block.routes.items():
        if route.meetings:
            mine = [gathered.pop(id(meeting)) for meeting in route.meetings]
            result[name] = _part(block, route, block.parameters[name], mine)
    if unknown:
        chosen = {name: block.parameters[name] for name in unknown}
        result |= jacobian(block.model, block.x, block.output, chosen, range(start, stop))
    return {
        name: part.to(block.dtype) if isinstance(part, Tensor) else part
        for name, part in result.items()
    }


def _gather(
    block: Block, output: int, gathered: dict[int, Gathered], place: int, *, is_last: bool
) -> None:
    """Pull one output back, and add what arrives at each site in its place."""
    meetings = [m for route in block.routes.values() for m in route.meetings]
    nodes = list(dict.fromkeys(m.site.node for m in meetings))
    cotangent = torch.zeros_like(block.values)
    cotangent[:, output] = 1
    edges = [edge(node) for node in nodes]
    arrived = gradients(block.values, edges, cotangent, is_last=is_last)
    by_node = dict(zip(nodes, arrived, strict=True))
    for meeting in meetings:
        gathered[id(meeting)].add(place, _by_row(block, meeting, by_node[meeting.site.node]))


def _maker(
    block: Block, route: Route, parameter: nn.Parameter
) -> Callable[[Tensor], Factors] | None:
    """What makes the product of a matrix that is used once and laid out row by row."""
    if len(route.meetings) != 1 or not _is_all_products(route):
        return None
    (meeting,) = route.meetings
    site = meeting.site
    assert isinstance(site, Product)  # all of them are
    if site.is_lookup or site.activation_first != meeting.is_transposed:
        return None
    return partial(_factors, block, meeting, parameter)


def _by_row(block: Block, meeting: Meeting, g: Tensor | None) -> Tensor:
    """(n, positions, …) of what a site makes of a cotangent."""
    site = meeting.site
    if g is None:
        g = torch.zeros(value_shape(site.node), device=block.values.device)
    made = site.cotangent(g) if isinstance(site, Product) else site.gradient(g)
    values = by_row(made.to(block.dtype), block.n, meeting.rows_first)
    return values if isinstance(site, Product) else values.sum(1, keepdim=True)


def by_row(values: Tensor, n: int, rows_first: bool) -> Tensor:
    """(N, s, …) to (n, N/n · s, …)."""
    size, s, *rest = values.shape
    if rows_first:
        return values.reshape(n, size // n * s, *rest)
    moved = values.reshape(size // n, n, s, *rest).transpose(0, 1)
    return moved.reshape(n, size // n * s, *rest)


def _part(block: Block, route: Route, parameter: nn.Parameter, mine: Sequence[Gathered]) -> Part:
    if len(mine) == 1 and mine[0].gradients is not None:
        return mine[0].gradients
    met = [(meeting, one.cotangents()) for meeting, one in zip(route.meetings, mine, strict=True)]
    if _is_all_products(route):
        factors = [_factors(block, meeting, parameter, stack) for meeting, stack in met]
        return smaller(merged([without_dead_positions(one) for one in factors]))
    pieces = []
    for meeting, stack in met:
        if isinstance(meeting.site, Product):
            gradient = matrix_gradient([_factors(block, meeting, parameter, stack)])
            if meeting.source is None:  # laid out as the parameter, also where it is transposed
                pieces.append(gradient)
                continue
        else:
            gradient = stack[:, :, 0]
        n, c = gradient.shape[:2]
        pulled = pull_back(meeting, gradient.flatten(0, 1), parameter)
        pieces.append(pulled.reshape(n, c, -1))
    return added(pieces)


def _is_all_products(route: Route) -> bool:
    return all(isinstance(m.site, Product) and m.source is None for m in route.meetings)


def _factors(block: Block, meeting: Meeting, parameter: nn.Parameter, cotangent: Tensor) -> Factors:
    product = meeting.site
    assert isinstance(product, Product)  # the caller looked
    activation = by_row(product.activation(), block.n, meeting.rows_first)
    if activation.is_floating_point():
        activation = activation.to(block.dtype)
    shape = tuple(parameter.shape) if meeting.source is None else meeting.source.shape
    if meeting.is_transposed:
        shape = shape[::-1]
    matrix = (shape[0], torch.Size(shape[1:]).numel())
    first = product.activation_first != meeting.is_transposed
    return Factors(
        cotangent,
        activation,
        first,
        matrix if not meeting.is_transposed else matrix[::-1],
    )


@torch.no_grad()
def add_parts(
    total: Total,
    left: dict[str, Part],
    right: dict[str, Part],
    biases: Iterable[tuple[str, str]],
) -> None:
    """Add the kernel of two blocks, summed over parameters.

    Args:
        total: of the two blocks.
        left: parts of one block.
        right: parts of the other, or the same ones.
        biases: names of weights and biases that meet the rows of both blocks together.
    """
    names = left.keys() & right.keys()
    with_bias = {}
    for weight, bias in biases:
        mine, yours = left.get(weight), right.get(weight)
        if bias not in names or not isinstance(mine, list) or not isinstance(yours, list):
            continue
        if cheapest(mine, yours, traced=total.is_traced) == "contraction":
            with_bias[weight] = bias
    for name in names - set(with_bias.values()):
        mine, yours = left[name], right[name]
        if isinstance(mine, Tensor) or isinstance(yours, Tensor):
            # If only one is, the two blocks were planned apart.
            first = _whole(mine)
            total.add_gradients(first, first if yours is mine else _whole(yours))
        else:
            add_products(total, mine, yours, with_bias=name in with_bias)


def biases(routes: dict[str, Route]) -> set[tuple[str, str]]:
    """Weights and biases of the same operation, which contract the same cotangents."""
    weights, sums = {}, {}
    for name, route in routes.items():
        if len(route.meetings) == 1 and route.meetings[0].source is None:
            meeting = route.meetings[0]
            if meeting.site.is_plain:
                kind = weights if isinstance(meeting.site, Product) else sums
                kind[meeting.site.node, meeting.rows_first] = name
    return {(name, sums[key]) for key, name in weights.items() if key in sums}


def _whole(part: Part) -> Tensor:
    return part if isinstance(part, Tensor) else matrix_gradient(part)


@torch.no_grad()
def bytes_per_row(
    device: torch.device,
    parameters: dict[str, nn.Parameter],
    planned: Planned,
    dtype: torch.dtype,
) -> tuple[float, float]:
    """Memory that a row takes: its graph and activations, and what is kept for each output.

    Args:
        device: of the outputs.
        parameters: by name.
        planned: on a few rows.
        dtype: in which products are formed.

    Returns:
        Bytes of a row's graph and activations; bytes of the cotangents and gradients of one
        output.
    """
    routes, n = planned.routes, planned.n
    sites = [m.site for route in routes.values() for m in route.meetings]
    # Patches of images are many times as large as these.
    products = [one for one in sites if isinstance(one, Product)]
    activations = sum(one.activation().numel() for one in products)
    passing = max((one.n_passing for one in sites if not isinstance(one, Product)), default=0)
    cotangents = sum(_entries_kept(one, device) for one in products)
    summed = {one.node for one in sites} - {one.node for one in products}
    cotangents += sum(map(_entries, summed))
    whole = sum(
        parameters[name].numel()
        for name, route in routes.items()
        if route.is_used and not (route.meetings and _is_all_products(route))
    )
    of_row = 3 * planned.n_saved + activations + passing
    return dtype.itemsize * of_row / n, dtype.itemsize * (cotangents / n + whole)


def _entries(node: Node) -> int:
    return torch.Size(value_shape(node)).numel()


def _entries_kept(site: Product, device: torch.device) -> int:
    """Entries of what a site makes of one cotangent."""
    return site.cotangent(torch.zeros(value_shape(site.node), device=device)).numel()
