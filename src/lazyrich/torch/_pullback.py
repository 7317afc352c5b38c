"""Products of directions in output space that are pulled back to the parameters.

The gradient of a matrix for a direction u_i is G_i = g_iᵀh, a product over rows and
positions of cotangents and activations. Where positions are fewer than the entries of an
activation, h is replaced by the square root L of its Gram matrix, LLᵀ = hhᵀ: the products
g_iᵀL have the inner products of the G_i, and take fewer multiplications.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ._graph import Graph, edge, gradients
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
        root: L, (positions, positions).
        r: entries of a cotangent at one position.
    """

    site: Product
    root: Tensor
    r: int

    def pull(self, g: Tensor, into: Tensor) -> None:
        """Write Lᵀg, flat, from the cotangent of the product's node."""
        cotangent = self.site.cotangent(g).reshape(-1, self.r).to(self.root)
        torch.mm(self.root.T, cotangent, out=into.view(cotangent.shape))


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
    found, directions = {}, directions.to(values)
    matrices = {} if scales is not None else _matrices(values, parameters, len(directions))
    waiting = _chunks(matrices, parameters, memory / 32 / len(directions))
    while waiting:
        chosen = {name: parameters[name] for name in waiting.pop()}
        for name, (pulled, first) in _pulled(values, directions, chosen, matrices).items():
            if scales is not None:
                pulled *= scales[name].reshape(1, -1).to(pulled)
            found[name] = pulled @ pulled.T
            if first is not None and not _is_close(found[name][0, 0], first):
                del matrices[name]  # L does not stand for what meets it
                waiting.append([name])
    return {name: found[name].double().cpu().numpy() for name in parameters}


def _is_close(found: Tensor, gradient: Tensor) -> bool:
    exact = gradient.to(found).square().sum()
    return bool((found - exact).abs() <= 50 * torch.finfo(gradient.dtype).eps ** 0.75 * exact)


class _Pulled(NamedTuple):
    """What is kept of a parameter's gradients.

    Attributes:
        products: for each direction the gradient, or what has the same inner products; flat.
        first: the gradient of the first direction, beside what is not one; None beside gradients.
    """

    products: Tensor
    first: Tensor | None


def _pulled(
    values: Tensor,
    directions: Tensor,
    parameters: Mapping[str, nn.Parameter],
    matrices: Mapping[str, _Matrix],
) -> dict[str, _Pulled]:
    dtype = parameter_dtype(parameters)
    held = {
        name: torch.empty(len(directions), _size(matrices, name, p), dtype=dtype, device=p.device)
        for name, p in parameters.items()
    }
    where = [
        edge(matrices[name].site.node) if name in matrices else p for name, p in parameters.items()
    ]
    exact = {name: p for name, p in parameters.items() if name in matrices}
    firsts: dict[str, Tensor] = {}
    for i, direction in enumerate(directions):
        more = exact if i == 0 else {}
        arrived = gradients(values, [*where, *more.values()], direction)
        for name, g in zip(more, arrived[len(where) :], strict=True):
            firsts[name] = torch.zeros_like(parameters[name]) if g is None else g
        for (name, into), g in zip(held.items(), arrived, strict=False):
            if g is None:
                into[i] = 0
            elif name in matrices:
                matrices[name].pull(g, into[i])
            else:
                into[i].view(g.shape).copy_(g)
    return {name: _Pulled(one, firsts.get(name)) for name, one in held.items()}


def _size(matrices: Mapping[str, _Matrix], name: str, parameter: nn.Parameter) -> int:
    if name in matrices:
        return matrices[name].site.n_positions * matrices[name].r
    return parameter.numel()


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


def _matrices(values: Tensor, parameters: Mapping[str, nn.Parameter], m: int) -> dict[str, _Matrix]:
    """Parameters whose gradients for m directions cost more than products with L."""
    graph, dtype = Graph(values), parameter_dtype(parameters)
    found = {}
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
    """L with LLᵀ = hhᵀ, from activations h (positions, q); None if there is none.

    The Gram matrix has the square of the condition of h, and is formed in double precision; its
    diagonal is raised by as much as rounding may have taken from it.
    """
    gram = activation @ activation.T
    diagonal = gram.diagonal()
    diagonal += 4 * len(gram) * torch.finfo(gram.dtype).eps * diagonal.max()
    root, failed = torch.linalg.cholesky_ex(gram)
    return None if failed else root
