"""Convert rows and parameters in any accepted form to JAX arrays."""

from collections.abc import Iterator
from numbers import Number
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import PyTreeDef
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, kind_of, real_array

Inputs = PyTree
"""Rows: an array (n, ...), what converts to one, or a pytree of arrays with n rows each."""


class Rows(NamedTuple):
    """A batch of rows.

    Attributes:
        leaves: the arrays, each with the rows along its first axis.
        structure: how the predictor wants them put together.
    """

    leaves: tuple[Array, ...]
    structure: PyTreeDef

    @property
    def batch(self) -> PyTree:
        """The batch as the predictor takes it."""
        return self.structure.unflatten(self.leaves)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.leaves[0])


def as_rows(x: Inputs, name: str = "The inputs") -> Rows:
    """The inputs as arrays.

    Lists of numbers or of rows, data frames and tensors become one array; dicts, tuples
    and other pytrees stay as they are, with arrays for leaves.

    Raises:
        InputError: if there are no rows, if the arrays have unlike numbers of rows, or if
            something is not an array of numbers.
    """
    x = _lists_to_arrays(x, name)
    leaves, structure = jax.tree.flatten(x)
    if not leaves:
        raise InputError(f"{name} hold no array; wanted a batch with one row or more.")
    leaves = tuple(as_array(leaf, name) for leaf in leaves)
    lengths = [leaf.shape[0] if leaf.ndim else 0 for leaf in leaves]
    if len(set(lengths)) > 1:
        raise InputError(
            f"{name} are arrays of shapes {', '.join(str(leaf.shape) for leaf in leaves)}; all "
            "of them must have the rows of the batch along their first axis."
        )
    if lengths[0] == 0:
        raise InputError(
            f"{name} have shape {leaves[0].shape}; wanted a batch with one row or more."
        )
    return Rows(leaves, structure)


def as_query_rows(x2: Inputs | None, rows: Rows) -> Rows | None:
    """Other rows, which must be like the first; one program serves both sets."""
    if x2 is None:
        return None
    shapes = ", ".join(str(shape) for shape in _row_shapes(rows))
    wanted = f"it must hold one row or more of the shape of x's rows, {shapes}."
    if hasattr(x2, "shape") and 0 in x2.shape[:1]:
        raise InputError(f"x2 has shape {x2.shape}; {wanted}")
    other = as_rows(x2, "x2")
    if other.structure != rows.structure:
        raise InputError(
            f"x2 has the structure {other.structure} and x {rows.structure}; give both in one "
            "structure."
        )
    if _row_shapes(other) != _row_shapes(rows):
        given = ", ".join(str(leaf.shape) for leaf in other.leaves)
        raise InputError(f"x2 has shape {given}; {wanted}")
    return other


def in_one_type(rows: Rows, other: Rows) -> tuple[Rows, Rows]:
    """Both sets in the types that hold both, for one program serves them."""
    types = [_common_type(a, b) for a, b in _pairs(rows, other)]

    def converted(part: Rows) -> Rows:
        leaves = (a.astype(t) for a, t in zip(part.leaves, types, strict=True))
        return Rows(tuple(leaves), part.structure)

    return converted(rows), converted(other)


def _common_type(a: Array, b: Array) -> np.dtype:
    """The type in which both keep their values."""
    if a.dtype == b.dtype:
        return a.dtype
    wanted = "convert one of them to the type of the other."
    try:
        common = jnp.promote_types(a.dtype, b.dtype)
    except jax.dtypes.TypePromotionError:
        raise InputError(f"x has the type {a.dtype} and x2 {b.dtype}; {wanted}") from None
    if not jnp.issubdtype(common, np.integer) or (_fits(a, common) and _fits(b, common)):
        return common
    raise InputError(
        f"x has the type {a.dtype} and x2 {b.dtype}, and {common} does not hold the values of "
        f"both; {wanted}"
    )


def _fits(values: Array, dtype: DTypeLike) -> bool:
    """Whether whole numbers or booleans keep their values in a type of whole numbers."""
    if jnp.can_cast(values.dtype, dtype):
        return True
    if isinstance(values, Tracer):
        return False
    limits = jnp.iinfo(dtype)
    return limits.min <= int(values.min()) and int(values.max()) <= limits.max


def as_parameters(params: PyTree) -> PyTree:
    """The same tree with what can be an array as an array; whole Python numbers stay."""
    return jax.tree.map(_parameter, _lists_to_arrays(params, "The parameters", wants_float=True))


def as_array(value: PyTree, name: str) -> Array:
    """One array of numbers from whatever holds such.

    Raises:
        InputError: if it holds something else.
    """
    if isinstance(value, Array):
        _require_present(value, name)
        return value
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise InputError(f"{name} hold masked entries; fill or remove them first.")
    array = _to_numpy(value)
    if array is None or not (array.dtype == bool or jnp.issubdtype(array.dtype, np.number)):
        raise InputError(
            f"{name} hold {kind_of(value)} that is not an array of numbers; convert it first."
        )
    kept = jax.dtypes.canonicalize_dtype(array.dtype)
    if jnp.issubdtype(kept, np.integer) and array.size and kept != array.dtype:
        limits = np.iinfo(kept)
        if array.min() < limits.min or array.max() > limits.max:
            raise InputError(
                f"{name} hold whole numbers that do not fit {kept}; switch on jax_enable_x64, or "
                "make them smaller."
            )
    # A copy: the caller's memory may change before the computation has read it.
    return jnp.array(array)


def _require_present(array: Array, name: str) -> None:
    """Refuse an array whose memory was given away."""
    if not isinstance(array, Tracer) and array.is_deleted():
        raise InputError(
            f"{name} hold an array of shape {array.shape} that was deleted (given to a function "
            "with donate_argnums?); pass the arrays that came back, or a copy made before."
        )


def _to_numpy(value: PyTree) -> np.ndarray | None:
    try:
        if hasattr(value, "detach"):  # a tensor of PyTorch
            value = value.detach().cpu()
            return value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
        return _plain(np.asarray(value))
    except (ValueError, TypeError, RuntimeError):
        return None


def _plain(array: np.ndarray) -> np.ndarray:
    """The same numbers in a type that JAX knows."""
    if array.dtype == object:  # fractions, or a column that may hold missing values
        array = np.array(array.tolist())
    if array.dtype == object:
        array = np.asarray(real_array("value", array))
    if array.dtype in (np.longdouble, np.clongdouble):
        return array.astype(np.float64 if array.dtype == np.longdouble else np.complex128)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _parameter(leaf: PyTree) -> PyTree:
    if isinstance(leaf, bool | int):
        return leaf
    if isinstance(leaf, Array):
        _require_present(leaf, "The parameters")
        return leaf
    if isinstance(leaf, float | complex) or hasattr(leaf, "__array__") or hasattr(leaf, "detach"):
        return as_array(leaf, "The parameters")
    return leaf


def _lists_to_arrays(tree: PyTree, name: str, *, wants_float: bool = False) -> PyTree:
    """Lists and tuples (of lists) of numbers as arrays; those that hold arrays stay."""

    def is_table(node: object) -> bool:
        if not isinstance(node, list | tuple) or hasattr(node, "_fields"):
            return False
        numbers = jax.tree.leaves(node)
        if not numbers or not all(isinstance(n, Number | np.generic) for n in numbers):
            return False
        # Whole numbers among the parameters are settings, such as the widths of layers.
        return not wants_float or any(isinstance(n, float | np.floating) for n in numbers)

    def convert(node: PyTree) -> PyTree:
        return as_array(node, name) if is_table(node) else node

    try:
        return jax.tree.map(convert, tree, is_leaf=is_table)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} cannot be flattened ({error}); give dicts with keys of one type, and arrays."
        ) from error


def _pairs(rows: Rows, other: Rows) -> Iterator[tuple[Array, Array]]:
    return zip(rows.leaves, other.leaves, strict=True)


def _row_shapes(rows: Rows) -> list[tuple[int, ...]]:
    return [leaf.shape[1:] for leaf in rows.leaves]
