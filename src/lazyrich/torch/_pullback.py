"""Products of directions in output space that are pulled back to the parameters.

The gradient of a matrix for a direction u_i is G_i = g_iᵀh, a product over rows and
positions of cotangents and activations. Where these are few, tr(G_iᵀG_j) = ⟨g_i, hhᵀ g_j⟩
takes far fewer multiplications than forming G_i.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
        r: entries of a cotangent at one position.
        q: entries of an activation at one position.
    """

    site: Product
    r: int
    q: int

    def is_cheaper(self, m: int, device: torch.device) -> bool:
        """Whether m gradients cost more than contracting their factors."""
        s = float(self.site.n_positions)
        contracted = s * s * (self.q + m * self.r) + m * m * s * self.r
        return _DOUBLE.get(device.type, _DOUBLE_ELSEWHERE) * contracted < (
            (s + m) * m * self.q * self.r
        )

    def products(self, cotangents: Tensor) -> Tensor:
        """(m, m), from cotangents (m, positions · r).

        In double precision: what the rows have in common cancels in ⟨g_i, hhᵀ g_j⟩ only
        after it has been squared.
        """
        activation = self.site.activation().double().reshape(-1, self.q)
        cotangents = cotangents.double()
        m, s = len(cotangents), len(activation)
        weighted = torch.matmul(activation @ activation.T, cotangents.reshape(m, s, self.r))
        return cotangents @ weighted.reshape(m, -1).T


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
    directions = directions.to(values)
    matrices = {} if scales is not None else _matrices(values, parameters, len(directions))
    found = _products(values, directions, parameters, matrices, memory, scales)
    # One gradient of each matrix is formed, and compared with its factors' product.
    formed = _pulled(values, directions[:1], {name: parameters[name] for name in matrices}, {})
    wrong = {
        name: parameters[name]
        for name, one in formed.items()
        if not _is_close(found[name][0, 0], one.square().sum(), parameters[name].dtype)
    }
    if wrong:
        found |= _products(values, directions, wrong, {}, memory, scales)
    return {name: one.double().cpu().numpy() for name, one in found.items()}


def _is_close(found: Tensor, exact: Tensor, dtype: torch.dtype) -> bool:
    return bool((found - exact).abs() <= 50 * torch.finfo(dtype).eps ** 0.75 * exact)


def _products(
    values: Tensor,
    directions: Tensor,
    parameters: Mapping[str, nn.Parameter],
    matrices: Mapping[str, _Matrix],
    memory: float,
    scales: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    found = {}
    for names in _chunks(matrices, parameters, memory / 32 / len(directions)):
        chosen = {name: parameters[name] for name in names}
        for name, pulled in _pulled(values, directions, chosen, matrices).items():
            if name in matrices:
                found[name] = matrices[name].products(pulled)
                continue
            if scales is not None:
                pulled *= scales[name].reshape(1, -1).to(pulled)
            found[name] = pulled @ pulled.T
    return found


def _pulled(
    values: Tensor,
    directions: Tensor,
    parameters: Mapping[str, nn.Parameter],
    matrices: Mapping[str, _Matrix],
) -> dict[str, Tensor]:
    """By parameter, its gradient for each direction, or a matrix's cotangent; flat."""
    dtype = parameter_dtype(parameters)
    held = {
        name: torch.zeros(len(directions), _size(matrices, name, p), dtype=dtype, device=p.device)
        for name, p in parameters.items()
    }
    where = [
        edge(matrices[name].site.node) if name in matrices else p for name, p in parameters.items()
    ]
    for i, direction in enumerate(directions):
        arrived = gradients(values, where, direction)
        for (name, into), g in zip(held.items(), arrived, strict=True):
            if g is not None:
                made = matrices[name].site.cotangent(g) if name in matrices else g
                into[i].view(made.shape).copy_(made)
    return held


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
    """Parameters whose gradients for m directions cost more than contracting their factors."""
    graph = Graph(values)
    found = {}
    for name, parameter in parameters.items():
        if parameter.ndim > 1:
            meetings = follow(graph, parameter, lambda _: True).meetings
            matrix = _matrix(meetings[0], parameter) if len(meetings) == 1 else None
            if matrix is not None and matrix.is_cheaper(m, parameter.device):
                found[name] = matrix
    return found


def _matrix(meeting: Meeting, parameter: nn.Parameter) -> _Matrix | None:
    site = meeting.site
    if not isinstance(site, Product) or site.is_lookup or meeting.source is not None:
        return None
    sides = (parameter.shape[0], math.prod(parameter.shape[1:]))
    r, q = sides if site.activation_first == meeting.is_transposed else sides[::-1]
    return _Matrix(site, r, q)
