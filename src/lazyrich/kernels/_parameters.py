"""The parameters of a predictor: which arrays have a derivative, and which are not parameters."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Params, kind_of

from ._inputs import as_parameters

# What frameworks call arrays that are kept up to date by other means than gradients.
_RUNNING = frozenset(
    {"batch_stats", "running_mean", "running_var", "moving_mean", "moving_variance", "mean_ema"}
    | {"var_ema", "batch_statistics"}
)


def split_params(params: Params) -> tuple[list[Array], Callable[[list[Array]], Params]]:
    """The floating leaves of a tree, and the way back from such leaves to the tree.

    Integer and boolean leaves (tables, masks, counters) have no derivative: they stay
    as they are, with values that a predictor can use for the length of a loop.

    Raises:
        InputError: if a leaf is no real array, or if the tree holds running statistics or
            other state beside the parameters.
    """
    params = as_parameters(params)
    _require_no_state(params)
    leaves, treedef = jax.tree.flatten(params)
    for leaf in leaves:
        if not isinstance(leaf, Array | float | int):
            raise InputError(
                f"The parameters hold a leaf of type {type(leaf).__name__}; keep arrays alone "
                "(for equinox: eqx.partition(model, eqx.is_array))."
            )
        if _is_of(jnp.result_type(leaf), jnp.complexfloating):
            raise InputError(
                "The parameters hold a complex leaf; pass its real and imaginary parts instead."
            )
    moves = is_moving(leaves)
    moving = [
        leaf if isinstance(leaf, Array) else jnp.asarray(leaf)
        for leaf, move in zip(leaves, moves, strict=True)
        if move
    ]
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


def is_moving(leaves: list[PyTree]) -> list[bool]:
    """Which leaves have a derivative."""
    return [_is_of(jnp.result_type(leaf), jnp.floating) for leaf in leaves]


@functools.cache
def _is_of(dtype: Any, kind: DTypeLike) -> bool:
    return bool(jnp.issubdtype(dtype, kind))


def _require_no_state(params: Params) -> None:
    """Refuse variables that hold running statistics or a cache next to the parameters."""
    if isinstance(params, Mapping) and "params" in params:
        others = [key for key in params if key != "params" and _has_floats(params[key])]
        if others:
            name = others[0]
            raise InputError(
                f"The parameters are collections, of which {', '.join(map(str, others))} hold no "
                "parameters; pass variables['params'] and close over the rest: lambda params, x: "
                f"model.apply({{'params': params, '{name}': variables['{name}']}}, x)."
            )
    for node in jax.tree.leaves(params, is_leaf=_is_state):
        if _is_state(node):
            raise InputError(
                f"The parameters hold {kind_of(node)}, which is state, not a parameter; "
                "close over it and pass the trainable part alone (for nnx: nnx.split(model, "
                "nnx.Param, ...); for equinox: eqx.nn.make_with_state and eqx.partition)."
            )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [str(getattr(key, "key", getattr(key, "name", ""))) for key in path]
        # State dicts of PyTorch have names such as "layers.0.running_mean".
        if not _RUNNING.isdisjoint(n.rsplit(".", 1)[-1] for n in names) and _has_floats(leaf):
            raise InputError(
                f"The parameters hold running statistics at {jax.tree_util.keystr(path)}, which "
                "are not parameters; close over them in the predictor and pass the trainable part "
                "alone."
            )


def _is_state(node: object) -> bool:
    """Whether a node is a container of state of flax's nnx or of equinox."""
    return _is_container_of_state(type(node)) and _has_floats(node)


@functools.cache
def _is_container_of_state(kind: type) -> bool:
    for base in kind.__mro__:
        package = base.__module__.split(".")[0]
        if package == "equinox" and base.__name__ in {"State", "StateIndex"}:
            return True
        if package == "flax" and base.__name__ == "Param":
            return False
        if package == "flax" and base.__name__ in {"Variable", "VariableState"}:
            return True
    return False


def _has_floats(tree: PyTree) -> bool:
    return any(
        isinstance(leaf, float) or "float" in str(getattr(leaf, "dtype", ""))
        for leaf in jax.tree.leaves(tree)
    )
