"""The interface of every network: a pure function of parameters and a batch of inputs."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, PyTree

Params = PyTree
"""Any pytree of arrays."""


@runtime_checkable
class Predictor(Protocol):
    """A pure function ``predict(params, x) -> y`` on one batch.

    ``x`` has shape ``(n, ...)``; ``y`` has shape ``(n,)`` or ``(n, c)``. Each row of
    the output depends on its own row of the input only.

    Example:
        >>> def predict(params, x):
        ...     return x @ params
        >>> isinstance(predict, Predictor)
        True
    """

    def __call__(self, params: Params, x: Array, /) -> Array:
        """Predict one batch."""
        ...
