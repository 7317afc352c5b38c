"""How each kind of operation turns a cotangent into the gradient of a value that it reads.

A site is one place where a value (a parameter, or something computed from parameters
alone) meets the rows. From the cotangent g of the operation's result follows the
gradient of the value: a product of g and an activation (`Product`), or a sum of g times
something (`Sum`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._graph import Node, Reader, value_shape
from ._patches import depthwise_gradients, patches, transposed_patches


@dataclass(frozen=True)
class Product:
    """The gradient of a matrix: Σ over positions of cotangent times activation.

    Attributes:
        node: whose cotangent is meant.
        n_positions: N · s.
        activation: makes (N, s, q), or whole numbers (N, s) for the rows of a table; not
            kept, since the patches of a convolution are larger than its images.
        cotangent: from the node's cotangent to (N, s, r).
        activation_first: whether the matrix is (q, r) and not (r, q).
        is_lookup: whether activations are rows of a table.
        is_plain: whether (N, s, r) is the node's cotangent itself.
        s: positions that are not merged with rows.
    """

    node: Node
    n_positions: int
    activation: Callable[[], Tensor]
    cotangent: Callable[[Tensor], Tensor]
    activation_first: bool
    is_lookup: bool = False
    is_plain: bool = False
    s: int = 1

    @property
    def n_leading(self) -> int:
        """N: rows, and positions that are merged with them."""
        return self.n_positions // self.s


@dataclass(frozen=True)
class Sum:
    """The gradient of a value that is added or multiplied entry by entry.

    Attributes:
        node: whose cotangent is meant.
        n_leading: N.
        gradient: from the node's cotangent to (N, s, p), p entries of the value.
        is_plain: whether it is the node's cotangent itself, summed over positions.
        n_passing: entries of patches that are made on the way.
    """

    node: Node
    n_leading: int
    gradient: Callable[[Tensor], Tensor]
    is_plain: bool = False
    n_passing: int = 0


Site = Product | Sum


def site(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    """The site of a value of a shape in the operation that reads it.

    Args:
        reader: the operation, and which argument the value is.
        shape: the value's shape.

    Returns:
        The site; None if this operation, or this argument of it, is not understood.
    """
    rule = _RULES.get(reader.name)
    if rule is None:
        return None
    if reader.node._input_metadata[0].dtype.is_complex or 0 in value_shape(reader.node):
        return None  # no product of real numbers; no row that meets the value
    return rule(reader, shape)


def _addmm(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if reader.position == 0:
        if len(shape) > 1 and shape[0] != 1:
            return None
        is_plain = node._saved_beta == 1 and len(shape) == 1 and shape == value_shape(node)[1:]
        return _sum_to(node, shape, lambda g: node._saved_beta * g, is_plain=is_plain)
    if reader.position == 2:
        return _product(node, node._saved_mat1, node._saved_alpha)
    return None


def _mm(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    return _product(reader.node, reader.node._saved_self) if reader.position == 1 else None


def _product(node: Node, activation: Tensor, scale: float | int = 1) -> Product | None:
    """Result (N, r) = scale · activation (N, q) times the value (q, r)."""
    if activation is None or activation.ndim != 2 or activation.layout != torch.strided:
        return None
    is_plain = scale == 1
    return Product(
        node,
        len(activation),
        lambda: activation[:, None],
        lambda g: g[:, None] if is_plain else scale * g[:, None],
        activation_first=True,
        is_plain=is_plain,
    )


def _linear(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    """The fused linear layer that some devices have: the value is (r, q)."""
    node = reader.node
    if reader.position == 1:
        flat = node._saved_input.flatten(0, -2) if node._saved_input.ndim > 1 else None
        if flat is None:
            return None
        return Product(
            node,
            len(flat),
            lambda: flat[:, None],
            lambda g: g.flatten(0, -2)[:, None],
            activation_first=False,
        )
    return _sum_to(node, shape, lambda g: g) if reader.position == 2 else None


def _add(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    scale = reader.node._saved_alpha if reader.position == 1 else 1
    return _sum_to(reader.node, shape, lambda g: scale * g)


def _sub(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    scale = -reader.node._saved_alpha if reader.position == 1 else 1
    return _sum_to(reader.node, shape, lambda g: scale * g)


def _mul(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    other = node._saved_self if reader.position == 1 else node._saved_other
    if not isinstance(other, Tensor):
        return None
    return _sum_to(node, shape, lambda g: g * other)


def _div(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    other = node._saved_other if reader.position == 0 else None
    if not isinstance(other, Tensor):
        return None
    return _sum_to(node, shape, lambda g: g / other)


def _expand(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    return _sum_to(reader.node, shape, lambda g: g)


def _sum_to(
    node: Node,
    shape: tuple[int, ...],
    gradient: Callable[[Tensor], Tensor],
    *,
    is_plain: bool = False,
) -> Sum | None:
    """A value of a shape that is broadcast, over the rows too, against the node's result."""
    full = value_shape(node)
    padded = (1,) * (len(full) - len(shape)) + shape
    if len(padded) != len(full) or not full or padded[0] != 1:
        return None
    lead = 1  # axes that the value does not have: the rows lie along one of them
    while lead < len(full) - 1 and padded[lead] == 1 != full[lead]:
        lead += 1
    axes = [axis for axis in range(lead, len(full)) if padded[axis] == 1 != full[axis]]

    def entries(g: Tensor) -> Tensor:
        values = gradient(g)
        values = values.sum(axes, keepdim=True) if axes else values
        return values.reshape(_size(full[:lead]), 1, -1)

    return Sum(node, _size(full[:lead]), entries, is_plain)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _embedding(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if node._saved_scale_grad_by_freq:
        return None
    return _lookup(node, node._saved_indices, int(node._saved_padding_idx), shape)


def _index(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    indices = [one for one in node._saved_indices if one is not None]
    if len(shape) != 2 or len(indices) != 1 or node._saved_indices[0] is None:
        return None
    if indices[0].dtype not in (torch.int64, torch.int32):
        return None
    return _lookup(node, torch.remainder(indices[0], shape[0]), -1, shape)


def _index_select(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if len(shape) != 2 or node._saved_dim not in (0, -2, 2**64 - 2):
        return None
    return _lookup(node, node._saved_index, -1, shape)


def _lookup(node: Node, indices: Tensor, padding: int, shape: tuple[int, ...]) -> Site | None:
    if len(shape) != 2:
        return None
    width = value_shape(node)[-1]
    flat = indices.reshape(-1)
    keep = (flat != padding)[:, None, None]
    return Product(
        node,
        len(flat),
        lambda: flat[:, None],
        lambda g: g.reshape(-1, 1, width) * keep,
        activation_first=True,
        is_lookup=True,
    )


def _layer_norm(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    n_features = _size(tuple(node._saved_normalized_shape))

    def flat(g: Tensor) -> Tensor:
        return g.reshape(-1, 1, n_features)

    n_leading = _size(value_shape(node)) // n_features
    if reader.position == 2:
        return Sum(node, n_leading, flat)
    if reader.position != 1:
        return None
    normalized = (node._saved_input - node._saved_result1) * node._saved_result2
    return Sum(node, n_leading, lambda g: flat(g * normalized))


def _batch_norm(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if node._saved_training:
        return None
    if reader.position == 2:
        return Sum(node, value_shape(node)[0], _positions)
    if reader.position != 1:
        return None
    width = node._saved_input.shape[1]
    broadcast = (1, width) + (1,) * (node._saved_input.ndim - 2)
    mean = node._saved_running_mean.reshape(broadcast)
    eps = node._saved_eps if hasattr(node, "_saved_eps") else node._saved_epsilon  # on CUDA
    deviation = (node._saved_running_var + eps).sqrt().reshape(broadcast)
    centred, deviation = node._saved_input - mean, deviation.reshape(-1)
    return Sum(node, len(centred), lambda g: _positions(g * centred) / deviation)


def _group_norm(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if reader.position == 2:
        return Sum(node, value_shape(node)[0], _positions)
    if reader.position != 1:
        return None
    values = node._saved_input
    grouped = values.reshape(len(values), node._saved_group, -1)
    centred = grouped - node._saved_result1.reshape(len(values), -1, 1)
    normalized = (centred * node._saved_result2.reshape(len(values), -1, 1)).reshape(values.shape)
    return Sum(node, len(values), lambda g: _positions(g * normalized))


def _positions(g: Tensor) -> Tensor:
    """(N, channels, …) to (N, 1, channels), summed over positions."""
    return g.flatten(2).sum(2)[:, None] if g.ndim > 2 else g[:, None]


def _convolution(reader: Reader, shape: tuple[int, ...]) -> Site | None:
    node = reader.node
    if reader.position == 2:
        return Sum(node, value_shape(node)[0], _positions, is_plain=True)
    if reader.position != 1 or len(shape) != node._saved_input.ndim:
        return None
    how = {
        "size": shape[2:],
        "stride": tuple(node._saved_stride),
        "padding": tuple(node._saved_padding),
        "dilation": tuple(node._saved_dilation),
    }
    if node._saved_transposed:
        return _transposed_convolution(node, shape, how)
    activation, groups = node._saved_input, node._saved_groups

    def pixels(g: Tensor) -> Tensor:
        return g.flatten(2).transpose(1, 2)

    if groups == 1:
        return Product(
            node,
            _size(value_shape(node)) // shape[0],
            lambda: patches(activation, **how),
            pixels,
            activation_first=False,
            is_plain=True,
            s=_size(value_shape(node)[2:]),
        )

    if groups == activation.shape[1] and activation.device.type == "cpu":

        def per_channel(g: Tensor) -> Tensor:
            return depthwise_gradients(activation, g, **how).flatten(1)[:, None]

        return Sum(node, len(activation), per_channel)

    def per_group(g: Tensor) -> Tensor:
        h = patches(activation, **how)
        n, s, _ = h.shape
        h, g = h.reshape(n, s, groups, -1), pixels(g).reshape(n, s, groups, -1)
        return torch.einsum("nsgr,nsgq->ngrq", g, h).reshape(n, 1, -1)

    n_positions = _size(value_shape(node)) // shape[0]
    # Once as they are cut, and once by group.
    n_passing = 2 * n_positions * groups * _size(shape[1:])
    return Sum(node, len(node._saved_input), per_group, n_passing=n_passing)


def _transposed_convolution(node: Node, shape: tuple[int, ...], how: dict) -> Site | None:
    """Inputs and outputs change places: patches are cut from the cotangent."""
    activation, groups = node._saved_input.flatten(2).transpose(1, 2), node._saved_groups
    positions = tuple(node._saved_input.shape[2:])

    def cut(g: Tensor) -> Tensor:
        return transposed_patches(g, positions=positions, **how)

    if groups == 1:
        n_positions = activation.shape[0] * activation.shape[1]
        return Product(
            node,
            n_positions,
            lambda: activation,
            cut,
            activation_first=True,
            s=activation.shape[1],
        )

    def per_group(g: Tensor) -> Tensor:
        n, s, _ = activation.shape
        h, cots = activation.reshape(n, s, groups, -1), cut(g).reshape(n, s, groups, -1)
        return torch.einsum("nsgq,nsgr->ngqr", h, cots).reshape(n, 1, -1)

    n_positions = activation.shape[0] * activation.shape[1]
    n_passing = 2 * n_positions * groups * _size(shape[1:])
    return Sum(node, len(node._saved_input), per_group, n_passing=n_passing)


_RULES: dict[str, Callable[[Reader, tuple[int, ...]], Site | None]] = {
    "Add": _add,
    "Addmm": _addmm,
    "Convolution": _convolution,
    "CudnnBatchNorm": _batch_norm,
    "Div": _div,
    "Embedding": _embedding,
    "Expand": _expand,
    "Index": _index,
    "IndexSelect": _index_select,
    "Linear": _linear,
    "Mm": _mm,
    "Mul": _mul,
    "NativeBatchNorm": _batch_norm,
    "NativeGroupNorm": _group_norm,
    "NativeLayerNorm": _layer_norm,
    "Sub": _sub,
}
