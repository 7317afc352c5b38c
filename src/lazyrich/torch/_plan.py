"""Choose a method for each parameter of a batch: through its sites, or through its Jacobian."""

import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._graph import Graph, Node, Reader, Value, edge, value_shape
from ._random_cotangents import Probe, is_close
from ._row_axis import Reading
from ._row_layout import Layout
from ._rows import Observed
from ._sites import Product, Site, Sum, site

# A value computed from parameters alone (a normalised weight, an embedding of positions)
# is followed through this many operations before its parameters take their Jacobian.
_MOST_STEPS = 1000
# Operations in which a value has the rows of another one along the same axis.
_ALIGNED = ("Add", "Cat", "Div", "Mul", "Sub")
# Views under which a matrix stays a matrix, its axes exchanged.
_TRANSPOSES = ("T", "Transpose", "Permute")

RowsFirst: TypeAlias = Callable[[Site], bool | None]
"""Whether rows come before what is merged with them at a site, or after; None if unknown."""


@dataclass(frozen=True)
class Meeting:
    """A site, and how its rows are laid out.

    Attributes:
        site: where the value meets the rows.
        source: the value; None if it is the parameter itself, as it is or
            transposed.
        is_transposed: whether the value is the parameter's transpose.
        rows_first: whether the N leading entries of the site are rows times positions
            and not positions times rows.
    """

    site: Site
    source: Value | None
    is_transposed: bool
    rows_first: bool


@dataclass
class Route:
    """How one parameter is treated.

    Attributes:
        meetings: its sites; empty if its Jacobian is formed or no output depends on it.
        reason: why, in words.
        is_used: whether an output depends on it.
        decisions: how the rows of each site that was tried are laid out, in order.
    """

    meetings: list[Meeting] = field(default_factory=list)
    reason: str = ""
    is_used: bool = True
    decisions: list[bool | None] = field(default_factory=list)


@torch.no_grad()  # of sites, products and sums; the graph itself stands already
def plan(
    graph: Graph,
    parameters: Mapping[str, nn.Parameter],
    probe: Probe,
    layout: RowsFirst | None = None,
) -> dict[str, Route]:
    """The route of every parameter.

    Every reader of a parameter has to be understood, its rows have to be found, and the
    gradient that follows from its sites has to be the one that autograd computes for
    random cotangents; otherwise this parameter's Jacobian is formed.

    Args:
        graph: of outputs; those of a few rows are enough.
        parameters: by name.
        probe: of the same outputs.
        layout: where rows stand at a site; None looks for it in gradients of the probe.

    Returns:
        A route for each name.
    """
    first = [r.node for p in parameters.values() for r in graph.readers_of_parameter(p)]
    second = [r.node for node in first for each in graph.readers(node).values() for r in each]
    probe.compute(dict.fromkeys(first + second), parameters)
    layout = layout or probe.rows_first
    routes = {name: follow(graph, p, layout) for name, p in parameters.items()}
    return {
        name: _added_up(route, probe, parameters[name], probe.exact[name])
        for name, route in routes.items()
    }


def _added_up(route: Route, probe: Probe, parameter: nn.Parameter, exact: Tensor | None) -> Route:
    """A route; the Jacobian in its place if the gradient that follows from it is not exact."""
    if route.meetings:
        found = sum(_total(m, probe, parameter) for m in route.meetings)
        if exact is None or not is_close(found, exact):
            return Route(reason="its sites do not add up to its gradient")
    return route


def require_graph(outputs: Tensor) -> Graph:
    """The graph of outputs that have a gradient.

    Raises:
        InputError: if they have none, saying where it may have been lost; as `Graph`.
    """
    if outputs.grad_fn is None:
        raise InputError(
            "The outputs carry no gradient; the model detaches them or runs under no_grad inside, "
            "so there is no tangent kernel: choose other outputs with output=."
        )
    return Graph(outputs)


class Planned(NamedTuple):
    """A plan that was made on a few rows.

    Attributes:
        routes: by parameter.
        seen: the few rows' outputs (n, c) with their graph.
        n_saved: entries of all values of the graph.
        probe: gradients of the few rows; None once the plan is checked.
    """

    routes: dict[str, Route]
    seen: Observed
    n_saved: int
    probe: Probe | None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.seen.values)

    @classmethod
    @torch.no_grad()
    def of(cls, seen: Observed, parameters: Mapping[str, nn.Parameter]) -> "Planned":
        """The plan of a few rows, from their outputs (n, c) with the graph.

        Gradients that follow are still to be compared with exact ones: by `checked`, or those of
        all rows by `is_confirmed`.
        """
        graph, probe, n = require_graph(seen.values), Probe(seen.values), len(seen.values)
        probe.compute([], parameters)
        # Where it was not seen, it is supposed.
        layout = _layout_of(seen, graph) or (lambda one: value_shape(one.node)[0] % n == 0 or None)
        routes = {name: follow(graph, p, layout) for name, p in parameters.items()}
        n_saved = sum(torch.Size(value_shape(node)).numel() for node in graph.operations())
        return cls(routes, seen, n_saved, probe)

    @torch.no_grad()
    def checked(self, parameters: Mapping[str, nn.Parameter]) -> "Planned":
        """The plan in which gradients of the few rows are exact, as in `plan`."""
        probe, graph = self.probe, Graph(self.seen.values)
        assert probe is not None  # the plan has not been checked
        routes = plan(graph, parameters, probe, _layout_of(self.seen, graph))
        return self._replace(routes=routes, probe=None)


@torch.no_grad()
def replan(
    seen: Observed, parameters: Mapping[str, nn.Parameter], planned: Planned
) -> dict[str, Route]:
    """The routes of other rows, from a plan that was made on a few.

    Args:
        seen: outputs (n, c) of the other rows, with their graph.
        parameters: by name.
        planned: the plan of the few.

    Returns:
        The same routes through the new graph; where the graph is another one, a new plan.
    """
    graph, n = Graph(seen.values), len(seen.values)
    layout = _layout_of(seen, graph)
    if layout is not None and planned.probe is not None:
        return {name: follow(graph, p, layout) for name, p in parameters.items()}
    again = None
    if planned.probe is None and not planned.n == 1 < n:  # one row does not show where rows stand
        again = _followed_again(graph, parameters, planned.routes, layout)
    if again is not None and (layout or _stands_as_before(again, Probe(seen.values))):
        return again
    return plan(graph, parameters, Probe(seen.values), layout)


def _layout_of(seen: Observed, graph: Graph) -> RowsFirst | None:
    """Where rows stand at a site, from what was seen of its operation; None if nothing was."""
    reading, n = seen.reading, len(seen.values)
    if reading is None or not seen.are_apart:
        return None

    def rows_first(one: Site) -> bool | None:
        layout = reading.layout_at(one.node) or _layout_where_read(one.node, graph, reading)
        if layout is None or one.n_leading % n:
            return None
        before = math.prod(value_shape(one.node)[: layout.axis]) * layout.before
        return True if before == 1 else False if one.n_leading == before * n else None

    return rows_first


def _layout_where_read(node: Node, graph: Graph, reading: Reading) -> Layout | None:
    """Where a value has entries for each row that does not depend on them, such as a token.

    It is expanded to their number, and meets them entry by entry, or is put beside them.
    """
    shape, found = value_shape(node), set[Layout | None]()
    for reader in (one for readers in graph.readers(node).values() for one in readers):
        layout, full = reading.layout_at(reader.node), value_shape(reader.node)
        is_aligned = layout is not None and reader.name in _ALIGNED and len(full) == len(shape)
        is_aligned = is_aligned and shape[layout.axis] == full[layout.axis]
        found.add(layout if is_aligned else None)
    return found.pop() if len(found) == 1 else None


def _followed_again(
    graph: Graph,
    parameters: Mapping[str, nn.Parameter],
    routes: Mapping[str, Route],
    layout: RowsFirst | None,
) -> dict[str, Route] | None:
    """Routes through another graph; None if these do not lead through it.

    Args:
        graph: the other one.
        parameters: by name.
        routes: of a few rows.
        layout: where rows stand; None stands for the same decisions.
    """
    again = dict(routes)
    for name, route in routes.items():
        decisions = iter(route.decisions)
        if not route.is_used and graph.readers_of_parameter(parameters[name]):
            return None  # used by these rows alone
        if route.meetings:
            decide = layout or (lambda _: next(decisions, None))  # noqa: B023
            again[name] = follow(graph, parameters[name], decide)
            is_same = layout is not None or again[name].decisions == route.decisions
            if not is_same or not again[name].meetings:
                return None
    return again


def _stands_as_before(routes: Mapping[str, Route], probe: Probe) -> bool:
    """Whether rows stand where routes have them, which may follow from values and numbers."""
    met = [m for route in routes.values() for m in route.meetings]
    probe.compute(dict.fromkeys(m.site.node for m in met))
    return all(probe.rows_first(m.site) == m.rows_first for m in met)


def follow(graph: Graph, parameter: nn.Parameter, layout: RowsFirst) -> Route:
    """Follow a parameter through values computed from it alone to all its sites.

    Args:
        graph: of the outputs.
        parameter: a parameter of theirs.
        layout: from a site to whether its rows come first; None to look further.
    """
    readers = graph.readers_of_parameter(parameter)
    if not readers:
        return Route(reason="no output depends on it", is_used=False)
    waiting: deque[tuple[Value | None, bool, tuple[int, ...], list[Reader]]] = deque()
    waiting.append((None, False, tuple(parameter.shape), readers))
    seen: set[Node] = set()
    meetings: list[Meeting] = []
    decisions: list[bool | None] = []
    while waiting:
        source, is_transposed, shape, readers = waiting.popleft()
        for reader in readers:
            found = site(reader, shape)
            if found is not None:
                decisions.append(layout(found))
                if decisions[-1] is not None:
                    meetings.append(Meeting(found, source, is_transposed, decisions[-1]))
                    continue
            node, further = reader.node, graph.readers(reader.node)
            if len(seen) >= _MOST_STEPS or not further:
                return Route(reason=f"the operation {reader.name} is not followed")
            if node in seen:
                continue
            seen.add(node)
            is_matrix = source is None and not is_transposed and len(shape) == 2
            if is_matrix and reader.name in _TRANSPOSES and _is_flipped(node, shape):
                waiting.append((None, True, shape[::-1], further[Value(node, 0)]))
            else:
                waiting += [
                    (value, False, value.shape, readers) for value, readers in further.items()
                ]
    return Route(meetings, _describe(meetings), decisions=decisions)


def _is_flipped(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a view exchanges the two axes of a matrix."""
    if type(node).__name__.startswith("Permute"):
        return [d % 2 for d in node._saved_dims] == [1, 0]
    return value_shape(node) == shape[::-1]


def _describe(meetings: list[Meeting]) -> str:
    derived = any(m.source is not None for m in meetings)
    kinds = {"a product" if isinstance(m.site, Product) else "a sum" for m in meetings}
    times = "" if len(meetings) == 1 else f", {len(meetings)} times"
    return " and ".join(sorted(kinds)) + times + (", through other operations" if derived else "")


def _total(meeting: Meeting, probe: Probe, parameter: nn.Parameter) -> Tensor | float:
    """The gradient summed over rows that follows from one site."""
    g = probe.at(meeting.site.node)
    if g is None:
        return 0.0
    one = meeting.site
    if isinstance(one, Sum):
        total = one.gradient(g).sum((0, 1), dtype=torch.float64)
    else:
        total = _product_total(one, g, parameter, meeting)
    return pull_back(meeting, total[None], parameter)[0]


def _product_total(one: Product, g: Tensor, parameter: nn.Parameter, meeting: Meeting) -> Tensor:
    dtype = torch.promote_types(g.dtype, torch.float32)
    cotangent = one.cotangent(g).to(dtype)
    if not one.is_lookup:
        left, right = one.activation().to(dtype), cotangent
        if not one.activation_first:
            left, right = right, left
        if left.shape[1] == 1:
            return left[:, 0].T @ right[:, 0]
        return torch.bmm(left.transpose(1, 2), right).sum(0)
    shape = tuple(parameter.shape) if meeting.source is None else meeting.source.shape
    if meeting.is_transposed:
        shape = shape[::-1]
    total = cotangent.new_zeros(shape)
    return total.index_add_(0, one.activation().reshape(-1), cotangent.reshape(-1, shape[1]))


def pull_back(meeting: Meeting, gradient: Tensor, parameter: nn.Parameter) -> Tensor:
    """From gradients of a meeting's value to gradients of the parameter.

    Args:
        meeting: whose value it is.
        gradient: (k, …), the value's entries in their order.
        parameter: the parameter.

    Returns:
        (k, *parameter.shape).
    """
    k = len(gradient)
    if meeting.source is None:
        if meeting.is_transposed:
            return gradient.reshape(k, *parameter.shape[::-1]).transpose(1, 2)
        return gradient.reshape(k, *parameter.shape)
    cotangents = gradient.reshape(k, *meeting.source.shape).to(meeting.source.dtype)
    return _pulled_through(meeting.source, cotangents, parameter).to(gradient.dtype)


def _pulled_through(value: Value, cotangents: Tensor, parameter: nn.Parameter) -> Tensor:
    """Gradients (k, …) of a parameter for k cotangents of a value that is computed from it."""

    def pulled(cotangent: Tensor, **how: bool) -> Tensor:
        (found,) = torch.autograd.grad(edge(*value), parameter, cotangent, retain_graph=True, **how)
        return found

    if len(cotangents) > 1:
        with suppress(RuntimeError, NotImplementedError), warnings.catch_warnings():
            # An operation that is not batched is run in a loop, with a warning, or fails.
            warnings.simplefilter("ignore")
            return pulled(cotangents, is_grads_batched=True)
    return torch.stack([pulled(one) for one in cotangents])
