"""A model as it was before it was called, whatever it does to its parameters and attributes."""

import operator
from collections import OrderedDict

import torch
from jaxtyping import PyTree
from torch import Tensor, nn

# Bytes of parameters up to which a model's calls are made with a copy of them at hand.
_MOST_COPIED = 1 << 30
_CONTAINERS = (dict, OrderedDict, list, set)


class KeptParameter:
    """A parameter as it is: values, memory, hooks, whether it has a gradient, and that gradient."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter, self.data = parameter, parameter.data
        self.copy = parameter.detach().clone()
        self.hooks = None if parameter._backward_hooks is None else dict(parameter._backward_hooks)
        self.has_gradient, self.grad = parameter.requires_grad, parameter.grad
        self.copy_of_grad = None if self.grad is None else self.grad.detach().clone()

    def is_written(self) -> bool:
        """Whether its values are other ones, or elsewhere."""
        return self._is_elsewhere() or not is_same(self.data, self.copy)

    def _is_elsewhere(self) -> bool:
        p = self.parameter
        return p.shape != self.data.shape or p.data_ptr() != self.data.data_ptr()

    def restore(self) -> None:
        """Make it what it was."""
        p = self.parameter
        if self._is_elsewhere():
            p.data = self.data
        if not is_same(self.data, self.copy):
            p.data.copy_(self.copy)
        if p.requires_grad != self.has_gradient:
            p.requires_grad_(self.has_gradient)
        if p._backward_hooks is not None and dict(p._backward_hooks) != (self.hooks or {}):
            for added in p._backward_hooks.keys() - (self.hooks or {}).keys():
                del p._backward_hooks[added]
        if p.grad is not self.grad:
            p.grad = self.grad
        grad, copy = self.grad, self.copy_of_grad
        if grad is not None and copy is not None and not is_same(grad, copy):
            with torch.no_grad():  # of a sparse one, ``data`` is another tensor
                grad.copy_(copy)


def kept_parameters(model: nn.Module) -> list[KeptParameter]:
    """The parameters of a model, or where they are too large the tables that a call shortens."""
    # What inference mode made, nobody outside can write to.
    plain = [p for p in model.parameters() if type(p) is nn.Parameter and not p.is_inference()]
    plain = [p for p in plain if p.layout == torch.strided]
    if sum(p.numel() * p.element_size() for p in plain) > _MOST_COPIED:
        plain = []
    tables = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]
    return [KeptParameter(p) for p in {id(p): p for p in [*plain, *tables]}.values()]


class KeptState:
    """Attributes, containers and buffers of all modules, as they are."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.attributes = [(vars(m), dict(vars(m))) for m in model.modules()]
        containers = [
            value
            for _, names in self.attributes
            for value in names.values()
            if type(value) in _CONTAINERS
        ]
        # Most are empty, such as those of hooks, and are looked at together.
        self.empty = [value for value in containers if not value]
        self.containers = [(value, value.copy()) for value in containers if value]
        named = (value for _, names in self.attributes for value in names.values())
        tensors = [*model.buffers(), *(value for value in named if isinstance(value, Tensor))]
        self.tensors = [_KeptTensor(one) for one in tensors if not one.is_meta]

    def is_changed(self) -> bool:
        """Whether something is not what it was."""
        return (
            any(self.empty)
            or any(not _are_identical(now, then) for now, then in self.attributes)
            or any(not _are_identical(now, then) for now, then in self.containers)
            or any(tensor.is_written() for tensor in self.tensors)
        )

    def restore(self) -> None:
        """Make everything what it was."""
        for filled in filter(None, self.empty):
            filled.clear()
        for now, then in [*self.attributes, *self.containers]:
            if not _are_identical(now, then):
                _refill(now, then)
        for tensor in self.tensors:
            tensor.restore()


class _KeptTensor:
    """The values of a buffer, and where they are."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.copy = tensor, tensor.detach().clone()
        self.data = tensor.data if tensor.layout == torch.strided else None

    def is_written(self) -> bool:
        return not is_same(self.tensor, self.copy)

    def restore(self) -> None:
        if self.data is not None and self.tensor.data_ptr() != self.data.data_ptr():
            self.tensor.data = self.data
        if self.is_written():
            with torch.no_grad():
                self.tensor.copy_(self.copy)


def _are_identical(now: PyTree, then: PyTree) -> bool:
    if len(now) != len(then):
        return False
    if isinstance(now, dict):  # in another order they count as changed, and are put back
        is_held = all(map(operator.is_, now.values(), then.values()))
        return is_held and (all(map(operator.is_, now, then)) or list(now) == list(then))
    return now == then if isinstance(now, set) else all(map(operator.is_, now, then))


def _refill(now: PyTree, then: PyTree) -> None:
    now.clear()
    now.extend(then) if isinstance(now, list) else now.update(then)


def is_same(value: Tensor, copy: Tensor) -> bool:
    """Whether a tensor has the values of its copy."""
    if value.is_meta:
        return True
    parts, others = _dense_parts(value), _dense_parts(copy)
    return all(_is_equal(a, b) for a, b in zip(parts, others, strict=True))


def _is_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, what is not a number in the same places."""
    if torch.equal(one, other):
        return True
    has_both = one.shape == other.shape and one.dtype == other.dtype
    return has_both and bool(((one == other) | ((one != one) & (other != other))).all())


def _dense_parts(value: Tensor) -> list[Tensor]:
    """What a sparse tensor consists of; a dense one is its only part."""
    if value.layout == torch.sparse_coo:
        return [value._indices(), value._values()]
    if value.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices(), value.col_indices(), value.values()]
    if value.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [value.ccol_indices(), value.row_indices(), value.values()]
    return [value]
