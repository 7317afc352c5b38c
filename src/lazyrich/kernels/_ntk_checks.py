"""What the tangent kernel asks of its input, and how it says so."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich._ground import InputError, Params, Predictor

from ._trace import trace

_DRAWING = frozenset({"random_bits", "random_gamma", "rng_bit_generator", "threefry2x32"})


def is_concrete(value: Any) -> bool:
    """Whether an array has a value now, rather than standing for one in a trace."""
    try:
        return hasattr(value, "addressable_shards")
    except jax.errors.ConcretizationTypeError:
        return False


def checked_inputs(x: Any, x2: Any | None) -> tuple[Array, Array | None]:
    """The inputs as arrays; two sets must have rows of one shape."""
    x = jnp.asarray(x)
    if x2 is None:
        return x, None
    x2 = jnp.asarray(x2)
    if x2.ndim == 0 or len(x2) == 0 or x2.shape[1:] != x.shape[1:]:
        raise InputError(
            f"x2 has shape {x2.shape}; it must hold one row or more of the shape of x's rows, "
            f"{x.shape[1:]}."
        )
    return x, x2


def row_function(
    predict: Predictor, treedef: Any, n_outputs: int | None
) -> Callable[[Sequence[Array], Array], Array]:
    """The predictor on one row alone, (leaves, row) -> (c,)."""
    count = n_outputs or 1

    def predict_row(leaves: Sequence[Array], row: Array) -> Array:
        output = predict(jax.tree.unflatten(treedef, list(leaves)), row[None])
        if output.size != count:
            raise InputError(
                f"predict returned shape {output.shape} for one row but {count} outputs for a row "
                "of the whole batch; it must treat batches of any length alike."
            )
        return output.reshape(count)

    return predict_row


def check_draws(predict: Predictor, treedef: Any, leaves: Sequence[Array], row: Any) -> None:
    """Refuse predictors that draw new random numbers for each row, as dropout does."""

    def drawn(n: int) -> int:
        rows = jax.ShapeDtypeStruct((n, *row.shape), row.dtype)
        program = trace(
            lambda leaves, x: predict(jax.tree.unflatten(treedef, leaves), x), list(leaves), rows
        )
        slots = [s for step in program.steps if step.name in _DRAWING for s in step.outs]
        return sum(int(np.prod(program.shapes[slot].shape)) for slot in slots)

    if drawn(1) != drawn(2):
        raise InputError(
            "predict draws random numbers for each row of the batch, so its rows are different "
            "functions; switch dropout and other noise off (inference mode) first."
        )


def row_mixing(predict: Predictor, params: Params, x: Array) -> Array:
    """How much the output of the first row changes with the second, relative to itself.

    Both batches go through the same compiled loop body, so that for independent rows the
    change is zero to the last bit, however much cancellation there is inside.
    """
    first, last = x[0], x[-1]
    batches = jnp.stack([jnp.stack([first, last]), jnp.stack([first, first])])
    outputs = jax.lax.map(lambda batch: predict(params, batch)[0], batches)
    change = jnp.max(jnp.abs(outputs[0] - outputs[1]))
    return change / jnp.maximum(jnp.max(jnp.abs(outputs)), jnp.finfo(outputs.dtype).tiny)


def check_result(kernel: Array, mixing: Array) -> None:
    """Refuse what a predictor of mixed rows, or one that is not finite, has given."""
    if not is_concrete(kernel) or not is_concrete(mixing):
        return
    if mixing > float(jnp.finfo(mixing.dtype).eps) ** 0.5:
        raise InputError(
            "predict mixes the rows of a batch: the output of one row changes with another row "
            "(batch statistics?); each row of the output must depend on its own row alone."
        )
    if bool(jnp.isfinite(kernel.sum())):
        return
    finite = jnp.isfinite(kernel).all(tuple(range(1, kernel.ndim)))
    broken = np.flatnonzero(~np.asarray(finite))
    if broken.size:
        raise InputError(
            f"The kernel holds NaN or infinite entries in {broken.size} of {len(kernel)} rows, the "
            f"first of them row {broken[0]}; look for overflow in params, x and predict."
        )
