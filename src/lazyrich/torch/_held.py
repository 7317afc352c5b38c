"""What modules hold beside parameters and other modules, through containers and plain objects."""

import random
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

# So many values are looked at, and numbers and texts beside them, of which a vocabulary has many;
# what a logger or a data set holds may be without end.
_MOST_VALUES = 20_000
_MOST_ENTRIES = 2_000_000
_CONTAINERS = (dict, OrderedDict, defaultdict, Counter, list, deque, set)
_GENERATORS = (
    torch.Generator, random.Random, np.random.Generator, np.random.RandomState,
    np.random.BitGenerator,
)  # fmt: skip
# Objects of these packages are values, or hold what is theirs.
_CLOSED = ("torch", "numpy", "jax", "jaxlib", "builtins", "logging", "threading")


class Place(NamedTuple):
    """Where a tensor or an array is held.

    Attributes:
        container: a list, or a dict, such as the attributes of a module; None in a tuple.
        key: where in it.
        value: what is held there.
    """

    container: PyTree
    key: PyTree
    value: PyTree


class Held(NamedTuple):
    """What a model holds.

    Attributes:
        containers: those that are changed in place: lists, dicts, attributes of objects.
        places: of tensors that are no parameters, and of arrays.
        generators: of random numbers.
    """

    containers: list[PyTree]
    places: list[Place]
    generators: list[PyTree]


def held(model: nn.Module) -> Held:
    """What a model holds, each container once."""
    parameters = {id(p) for p in model.parameters()}
    found, modules = Held([], [], []), list(model.modules())
    waiting: deque[PyTree] = deque(map(vars, modules))
    seen = {id(one) for one in waiting} | {id(module) for module in modules}
    n_values = n_entries = 0
    while waiting and n_values < _MOST_VALUES and n_entries < _MOST_ENTRIES:
        container = waiting.popleft()
        is_changeable = not isinstance(container, tuple)
        if is_changeable:
            found.containers.append(container)
        for key, value in islice(_entries(container), _MOST_ENTRIES - n_entries):
            n_entries += 1
            kind = _kind(type(value))
            if kind == "other":
                continue
            n_values += 1
            if n_values > _MOST_VALUES:
                break
            if kind == "tensor":
                if isinstance(value, Tensor) and is_functorch_wrapped_tensor(value):
                    continue  # of a transformation that has ended, without memory
                if id(value) not in parameters:
                    found.places.append(Place(container if is_changeable else None, key, value))
                if isinstance(value, Tensor) and id(vars(value)) not in seen:
                    seen.add(id(vars(value)))
                    waiting.append(vars(value))
            elif id(value) not in seen:
                seen.add(id(value))
                if kind == "generator":
                    found.generators.append(value)
                elif (inside := _inside(value, kind)) is not None:
                    waiting.append(inside)
    return found


def _entries(container: PyTree) -> Iterable[tuple[PyTree, PyTree]]:
    if isinstance(container, dict):
        return container.items()
    return () if isinstance(container, set) else enumerate(container)


def is_closed(of: type) -> bool:
    """Whether a type is of a package whose objects are values, or hold what is theirs."""
    return of.__module__.split(".")[0] in _CLOSED


# A model of forty layers has a thousand attributes of twenty types.
@lru_cache(maxsize=4096)
def _kind(of: type) -> str:
    """Which of "tensor", "generator", "container", "object" and "other" values of a type are."""
    if issubclass(of, Tensor | np.ndarray):
        return "tensor"
    if issubclass(of, _GENERATORS):
        return "generator"
    if of in _CONTAINERS or issubclass(of, tuple):
        return "container"
    is_object = not is_closed(of) or issubclass(of, nn.Module | UserDict | UserList)
    return "object" if is_object and not issubclass(of, type) else "other"


def _inside(value: PyTree, kind: str) -> PyTree:
    """A container, or the attributes of an object; None if it has none."""
    if kind == "container":
        return value
    try:
        attributes = vars(value)
    except Exception:  # or an attribute of its own by that name
        return None
    return attributes if type(attributes) is dict else None
