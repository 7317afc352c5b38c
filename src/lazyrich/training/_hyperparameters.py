"""Dynamic hyperparameters: numbers in which runs may differ without recompilation."""

from collections import namedtuple
from functools import cache
from typing import NamedTuple

from jaxtyping import PyTree, ScalarLike

from lazyrich._base import Config


class Hyperparameters(NamedTuple):
    """Dynamic hyperparameters of a network's training, as arrays.

    Attributes:
        alpha: α, output scale.
        label_scale: factor of every label.
        net: those of the network, by the name of their field, such as ``net.epsilon``.
        optimizer: those of the optimizer, such as ``optimizer.learning_rate``.
        objective: those of the objective, such as ``objective.temperature``.

    Example:
        >>> Hyperparameters(alpha=2.0, label_scale=1.0, net=None, optimizer=None).alpha
        2.0
    """

    alpha: ScalarLike
    label_scale: ScalarLike
    net: PyTree
    optimizer: PyTree
    objective: PyTree = ()


def dynamic_part(part: Config, names: tuple[str, ...]) -> PyTree:
    """The fields of these names as a NamedTuple.

    Example:
        >>> from lazyrich.models import CommitteeNet
        >>> dynamic_part(CommitteeNet(epsilon=0.5), ("epsilon",)).epsilon
        0.5
    """
    return _kind(names)(*(getattr(part, name) for name in names))


@cache
def _kind(names: tuple[str, ...]) -> type[tuple]:
    return namedtuple("DynamicPart", names)
