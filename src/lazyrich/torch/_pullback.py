"""Products of directions in output space that are pulled back to the parameters.

The gradient of a matrix for a direction u_i is G_i = g_iᵀh, a product over rows and
positions of cotangents and activations. Where positions are fewer than the entries of an
activation, h is replaced by the square root L of its Gram matrix, LLᵀ = hhᵀ: the products
g_iᵀL have the inner products of the G_i, and take fewer multiplications. What activations have
in common is split off first, as a position of its own whose cotangent is the sum of all: it may
be large, and cancels in most directions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ._graph import Graph, edge, gradients, has_code_of_a_user
from ._magnitude import gram, norm
from ._model import parameter_dtype
from ._plan import Meeting, follow
from ._sites import Product

# How many times longer a product in double precision takes; one device has none.
_DOUBLE = {"cpu": 2.0, "mps": float("inf")}
_DOUBLE_ELSEWHERE = 32.0


@dataclass(frozen=True)
class _Matrix:
    """A parameter that one product reads.

    Attributes:
        site: the product.
        root: L, (1 + positions, 1 + positions).
        r: entries of a cotangent at one position.
    """

    site: Product
    root: Tensor
    r: int

    def pull(self, g: Tensor, into: Tensor) -> None:
        """Write Lᵀg, flat, from the cotangent of the product's node."""
        cotangent = self.site.cotangent(g).reshape(-1, self.r).to(self.root)
        rows = torch.cat([cotangent.sum(0, keepdim=True), cotangent])
        torch.mm(self.root.T, rows, out=into.view(rows.shape))

    @property
    def size(self) -> int:
        """Entries of a product."""
        return len(self.root) * self.r


@torch.no_grad()
def pulled_products(
    values: Tensor,
    directions: Tensor,
    parameters: Mapping[str, nn.Parameter],
    *,
    scales: Mapping[str, Tensor] | None,
    memory: float,
) -> dict[str, np.ndarray]:
    """The products of g_i = Jᵀu_i, as many parameters at a time as memory allows.

    Args:
        values: outputs (n, c) with their graph.
        directions: u_i, (m, n, c).
        parameters: by name.
        scales: by parameter, what its gradient is multiplied with; None for nothing.
        memory: bytes that may be used.

    Returns:
        By parameter, g_i·g_j of shape (m, m).
    """
    found, directions, dtype = {}, directions.to(values), parameter_dtype(parameters)
    # Of the code of others it is not known what it does with a gradient.
    is_plain = scales is None and not has_code_of_a_user(values)
    matrices = _matrices(values, parameters, len(directions), dtype) if is_plain else {}
    largest = int(directions.flatten(1).abs().amax(1).argmax())  # one is zero, by chance
    waiting = _chunks(matrices, parameters, memory / 32 / len(directions))
    while waiting:
        chosen = {name: parameters[name] for name in waiting.pop()}
        pulled = _pulled(values, directions, chosen, matrices, dtype, largest)
        for name, (products, exact) in pulled.items():
            if scales is not None:
                products *= scales[name].reshape(1, -1).to(products)
            found[name] = gram(products)
            if exact is not None and not _is_close(found[name][largest, largest], exact):
                del matrices[name]  # L does not stand for what meets it
                waiting.append([name])
    return {name: found[name].double().cpu().numpy() for name in parameters}


def _is_close(found: Tensor, gradient: Tensor) -> bool:
    exact = norm(gradient) ** 2
    return abs(float(found) - exact) <= 50 * torch.finfo(gradient.dtype).eps ** 0.75 * exact


class _Pulled(NamedTuple):
    """What is kept of a parameter's gradients.

    Attributes:
        products: for each direction the gradient, or what has the same inner products; flat.
        exact: the gradient of one direction, beside what is not one; None beside gradients.
    """

    products: Tensor
    exact: Tensor | None


def _pulled(
    values: Tensor,
    directions: Tensor,
    parameters: Mapping[str, nn.Parameter],
    matrices: Mapping[str, _Matrix],
    dtype: torch.dtype,
    largest: int,
) -> dict[str, _Pulled]:
    held = {
        name: torch.empty(len(directions), _size(matrices, name, p), dtype=dtype, device=p.device)
        for name, p in parameters.items()
    }
    where = [
        edge(matrices[name].site.node) if name in matrices else p for name, p in parameters.items()
    ]
    met = {name: p for name, p in parameters.items() if name in matrices}
    exact: dict[str, Tensor] = {}
    for i, direction in enumerate(directions):
        more = met if i == largest else {}
        arrived = gradients(values, [*where, *more.values()], direction)
        for name, g in zip(more, arrived[len(where) :], strict=True):
            exact[name] = torch.zeros_like(parameters[name]) if g is None else g
        for (name, into), g in zip(held.items(), arrived, strict=False):
            if g is None:
                into[i] = 0
            elif name in matrices:
                matrices[name].pull(g, into[i])
            else:
                into[i].view(g.shape).copy_(g)
    return {name: _Pulled(one, exact.get(name)) for name, one in held.items()}


def _size(matrices: Mapping[str, _Matrix], name: str, parameter: nn.Parameter) -> int:
    return matrices[name].size if name in matrices else parameter.numel()


def _chunks(
    matrices: Mapping[str, _Matrix], parameters: Mapping[str, nn.Parameter], most: float
) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    size = 0
    for name, parameter in parameters.items():
        entries = _size(matrices, name, parameter)
        if chunks[-1] and size + entries > most:
            chunks.append([])
            size = 0
        chunks[-1].append(name)
        size += entries
    return chunks


def _matrices(
    values: Tensor, parameters: Mapping[str, nn.Parameter], m: int, dtype: torch.dtype
) -> dict[str, _Matrix]:
    """Parameters whose gradients for m directions cost more than products with L."""
    graph, found = Graph(values), {}
    for name, parameter in parameters.items():
        if parameter.ndim > 1:
            meetings = follow(graph, parameter, lambda _: True).meetings
            matrix = _matrix(meetings[0], parameter, m, dtype) if len(meetings) == 1 else None
            if matrix is not None:
                found[name] = matrix
    return found


def _matrix(
    meeting: Meeting, parameter: nn.Parameter, m: int, dtype: torch.dtype
) -> _Matrix | None:
    site = meeting.site
    if not isinstance(site, Product) or site.is_lookup or meeting.source is not None:
        return None
    sides = (parameter.shape[0], math.prod(parameter.shape[1:]))
    r, q = sides if site.activation_first == meeting.is_transposed else sides[::-1]
    if not _is_cheaper(float(site.n_positions), q, r, m, parameter.device):
        return None
    root = _root(site.activation().reshape(-1, q).double())
    return None if root is None else _Matrix(site, root.to(dtype), r)


def _is_cheaper(s: float, q: int, r: int, m: int, device: torch.device) -> bool:
    """Whether m gradients (r, q) cost more than L of s positions, and m products with it."""
    root = s * s * (q + s / 3) * _DOUBLE.get(device.type, _DOUBLE_ELSEWHERE)
    return root + (s + m) * m * s * r < (s + m) * m * q * r


def _root(activation: Tensor) -> Tensor | None:
    """L with LLᵀ = aaᵀ, where a has what activations (positions, q) share, and what each has left.

    The Gram matrix has the square of the condition of a, and is formed in double precision, of
    rows of length one, since one may be far larger than the others and met by no cotangent. Its
    diagonal is raised by as much as rounding may have taken from it.
    """
    common = _in_common(activation)
    rows = torch.cat([common, activation - common])
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1)
    products = rows @ rows.T
    products.diagonal().add_(4 * len(rows) * torch.finfo(rows.dtype).eps)
    root, failed = torch.linalg.cholesky_ex(products)
    return None if failed else root * lengths


def _in_common(activation: Tensor) -> Tensor:
    """The mean (1, q) of activations; long ones, of which the others have nothing, weigh less."""
    lengths = torch.linalg.vector_norm(activation, dim=1)
    weights = torch.where(lengths > 0, 1 / lengths, 0)
    return (weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny))[None] @ activation
