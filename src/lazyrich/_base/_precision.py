"""Products in full float32, whatever the device would make of them."""

from collections.abc import Callable
from typing import TypeVar

import jax

Function = TypeVar("Function", bound=Callable[..., object])


def full_precision(function: Function) -> Function:
    """Ask for every digit of the products in a function; GPUs would round float32 to TF32.

    Args:
        function: any function, of which the products that ask for no precision count.

    Returns:
        The same function; what it computes on a CPU is the same to the last bit.

    Example:
        >>> import jax.numpy as jnp
        >>> squares = full_precision(lambda x: x @ x.T)
        >>> "Precision.HIGHEST" in str(jax.make_jaxpr(squares)(jnp.eye(2)))
        True
    """
    return jax.default_matmul_precision("highest")(function)
