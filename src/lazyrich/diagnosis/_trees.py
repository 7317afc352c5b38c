"""Parameters and rows of JAX networks: checked, split, named, and in double precision."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Params, kind_of

_MOST_ENTRIES = 1 << 27
"""Of pulled-back directions that are held at once."""


class Diverged(InputError):
    """Parameters or outputs that are not finite."""


def as_tree(params: Params, name: str) -> Params:
    """The parameters with arrays for leaves, if they are finite.

    Raises:
        InputError: if a leaf is not an array of numbers or not finite.
    """
    try:
        leaves, structure = jax.tree.flatten(params)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} cannot be flattened ({error}); give dicts with keys of one type, and arrays."
        ) from error
    if not leaves:
        raise InputError(f"{name} holds no array; give a pytree of arrays.")
    if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in leaves):
        raise InputError(
            f"{name} holds an array that was deleted (given to a function with donate_argnums?); "
            "pass the arrays that came back, or a copy made before."
        )
    arrays = []
    for leaf in leaves:
        value = host(leaf)
        kind = getattr(value, "dtype", np.asarray(value).dtype)
        if not (jnp.issubdtype(kind, jnp.number) or jnp.issubdtype(kind, jnp.bool_)):
            raise InputError(
                f"{name} holds a leaf of type {type(leaf).__name__}; keep arrays alone (for "
                "equinox: eqx.partition(model, eqx.is_array))."
            )
        is_float = jnp.issubdtype(kind, jnp.floating)
        if is_float and not np.isfinite(np.asarray(value).astype(float)).all():
            raise Diverged(
                f"{name} holds NaN or infinite entries: the run has diverged; give parameters "
                "from before that."
            )
        arrays.append(jnp.asarray(value) if is_float else leaf)
    return structure.unflatten(arrays)


def as_batch(x: PyTree, name: str) -> PyTree:
    """Inputs as JAX arrays.

    Raises:
        InputError: if they hold no rows, unlike numbers of rows, or NaN.
    """
    x = host(x) if not isinstance(x, Mapping | tuple | list) else x
    x = np.asarray(x) if isinstance(x, list) else x
    leaves = [host(leaf) for leaf in jax.tree.leaves(x)]
    arrays = [np.asarray(leaf) for leaf in leaves]
    if not arrays or any(a.dtype.kind not in "biuf" and a.dtype != jnp.bfloat16 for a in arrays):
        raise InputError(f"{name} is {kind_of(x)} that is not an array of numbers.")
    lengths = {len(a) if a.ndim else -1 for a in arrays}
    if len(lengths) > 1 or lengths & {-1, 0}:
        raise InputError(
            f"{name} has arrays of shapes {', '.join(str(a.shape) for a in arrays)}; all must "
            "have the same number of rows, one or more, along the first axis."
        )
    for a in arrays:
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            raise InputError(f"{name} holds NaN or infinite entries; remove or repair them first.")
    return jax.tree.unflatten(jax.tree.structure(x), [jnp.asarray(a) for a in arrays])


def host(value: PyTree) -> PyTree:
    """A tensor of PyTorch as a NumPy array; other things as they are."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        return np.asarray(value.float() if str(value.dtype) == "torch.bfloat16" else value)
    return value


def n_rows(x: PyTree) -> int:
    """Number of rows of a batch."""
    return len(jax.tree.leaves(x)[0])


def is_moving(leaf: PyTree) -> bool:
    """Whether a leaf is floating, so that it is trained."""
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))


def moving(params: Params) -> list[Array | np.ndarray]:
    """The floating leaves."""
    return [leaf for leaf in jax.tree.leaves(params) if is_moving(leaf)]


def rebuilt(params0: Params, new: Sequence[Array | np.ndarray]) -> Params:
    """A tree like the reference with other floating leaves."""
    fresh = iter(new)
    return jax.tree.map(lambda leaf: next(fresh) if is_moving(leaf) else leaf, params0)


def group_names(params: Params) -> list[str]:
    """The group of every floating leaf: the branch of the tree that it hangs on."""
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if is_moving(leaf):
            branch = path[:-1] if len(path) > 1 else path
            text = jax.tree_util.keystr(branch, simple=True, separator=".")
            names.append(text or "parameters")
    return names


def chunks(sizes: list[int]) -> list[tuple[int, ...]]:
    """Which leaves to handle together, so that few enough numbers are held at once."""
    found: list[list[int]] = [[]]
    held = 0
    for k, size in enumerate(sizes):
        if found[-1] and held + size > _MOST_ENTRIES:
            found.append([])
            held = 0
        found[-1].append(k)
        held += size
    return [tuple(chunk) for chunk in found]


def doubled(tree: PyTree) -> PyTree:
    """Floating leaves in double precision, from the host so that no bit is lost."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf).astype(np.float64)) if is_moving(leaf) else leaf,
        tree,
    )
