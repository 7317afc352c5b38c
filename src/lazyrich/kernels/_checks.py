"""What every instrument of this room asks of its input, in one sentence each."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich._ground import InputError, Params, Predictor, require_finite


def require_nonnegative(**values: Any) -> None:
    """Refuse numbers below zero or not finite; traced values pass."""
    for name, value in values.items():
        require_finite(**{name: value})
        try:
            smallest = np.min(np.asarray(value), initial=0)
        except jax.errors.TracerArrayConversionError:
            continue
        if smallest < 0:
            raise InputError(f"{name} is {value}; it must be zero or above.")


def require_kernel(kernel: Array, targets: Array | None = None) -> None:
    """Refuse a kernel that is not a finite square matrix, or targets of other length."""
    shape = np.shape(kernel)
    if len(shape) == 4:
        raise InputError(
            f"The kernel has shape {shape}, one block for each pair of outputs; trace it, or "
            "unfold it with flatten_kernel and the targets with targets.reshape(-1)."
        )
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise InputError(f"The kernel has shape {shape}; it must be square, (n, n).")
    require_finite(kernel=kernel)
    if targets is None:
        return
    labels = np.shape(targets)
    if len(labels) not in (1, 2) or labels[0] != shape[0]:
        raise InputError(
            f"The targets have shape {labels}; a kernel of shape {shape} needs ({shape[0]},), "
            f"or ({shape[0]}, c) for c outputs."
        )
    require_finite(targets=targets)


def require_query_kernel(query_kernel: Array, kernel: Array) -> None:
    """Refuse a query kernel that is not finite of shape (m, n)."""
    shape, n = np.shape(query_kernel), np.shape(kernel)[0]
    if len(shape) != 2 or shape[1] != n:
        hint = " (pass its transpose)" if len(shape) == 2 and shape[0] == n else ""
        raise InputError(
            f"The query kernel has shape {shape}; it must be (m, {n}), one row for each query "
            f"point and one column for each training point{hint}."
        )
    require_finite(query_kernel=query_kernel)


def output_struct(predict: Predictor, params: Params, x: Array) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the predictor's output on a batch, at no cost.

    Raises:
        InputError: if the output is not one floating array of shape (n,) or (n, c).
    """
    n = np.shape(x)[0] if np.ndim(x) else 0
    if n == 0:
        raise InputError(
            f"The inputs have shape {np.shape(x)}; wanted a batch with one row or more."
        )
    out = jax.eval_shape(predict, params, x)
    if not isinstance(out, jax.ShapeDtypeStruct):
        raise InputError(
            f"The predictor returned a {type(out).__name__}; it must return one array, so wrap "
            "it in a function that keeps the predictions alone."
        )
    if out.ndim not in (1, 2) or out.shape[0] != n:
        raise InputError(
            f"The predictor returned shape {out.shape} for {n} rows; wanted ({n},) or ({n}, c)."
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise InputError(
            f"The predictor returned {out.dtype}, which has no derivative; return the real "
            "outputs before any rounding or argmax."
        )
    return out


def split_params(params: Params) -> tuple[list[Array], Callable[[list[Array]], Params]]:
    """The floating leaves of a tree, and the way back from such leaves to the tree.

    Integer and boolean leaves (tables, masks, counters) have no derivative: they stay
    as they are.

    Raises:
        InputError: if a leaf is no real array.
    """
    leaves, treedef = jax.tree.flatten(params)
    for leaf in leaves:
        if not isinstance(leaf, Array | np.ndarray | np.generic | float | int):
            raise InputError(
                f"The parameters hold a leaf of type {type(leaf).__name__}; keep arrays alone "
                "(for equinox: eqx.partition(model, eqx.is_array))."
            )
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise InputError(
                "The parameters hold a complex leaf; pass its real and imaginary parts instead."
            )
    moves = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]
    moving = [jnp.asarray(leaf) for leaf, move in zip(leaves, moves, strict=True) if move]
    if not moving:
        raise InputError(
            "The parameters hold no floating array, so there is nothing to differentiate."
        )

    def rebuild(new: list[Array]) -> Params:
        fresh = iter(new)
        return treedef.unflatten(
            next(fresh) if move else leaf for leaf, move in zip(leaves, moves, strict=True)
        )

    return moving, rebuild
