"""One call of a predictor: its program, its arrays and the rows."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Params, Predictor

from ._derivative import needs_derivative
from ._inputs import Inputs, as_query_rows, as_rows, in_one_type
from ._ntk._program_key import Cache
from ._ntk._traced_predictor import Traced, require_outputs, traced
from ._parameters import split_params
from ._rows._checks import RowChange, check_change, check_draws, is_row_wise, try_rows
from ._rows._dependence import N_ROWS
from ._rows._program import RowProgram, row_program

_ROW_WISE: Cache[bool] = Cache(1024)
_ROW_PROGRAMS: Cache[RowProgram] = Cache(256)


class Arrays(NamedTuple):
    """Everything with values.

    Attributes:
        leaves: the parameters that have a derivative.
        rows: the arrays of the inputs, (n, ...) each.
        query: those of the other inputs, (m, ...) each, or None.
        row_constants: what the program of one row has captured.
        batch_constants: what the program of all rows has captured.
    """

    leaves: list[Array]
    rows: list[Array]
    query: list[Array] | None
    row_constants: list[PyTree]
    batch_constants: list[PyTree]

    def each(self) -> Iterator[PyTree]:
        """All of them."""
        return iter(jax.tree.leaves(self))

    @property
    def are_concrete(self) -> bool:
        """Whether all have values now."""
        return all(is_concrete(value) for value in self.each())


@dataclass(frozen=True, eq=False)
class PredictorCall:
    """A predictor that was traced for some parameters and inputs.

    Attributes:
        arrays: parameters, inputs and captured arrays.
        row: the predictor on one row.
        batch: the predictor on all rows, or on two if there is one.
        few: makes the trace on few rows; None if the rows are known to be independent.
        n_outputs: number of outputs c; None if the output has no axis for them.
        dtype: of the output.
        key: equal for equal programs of one row and of all; None if that cannot be said.
    """

    arrays: Arrays
    row: Traced
    batch: Traced
    few: Callable[[], Traced] | None
    n_outputs: int | None
    dtype: DTypeLike
    key: Hashable | None

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.arrays.rows[0])

    @property
    def n_query(self) -> int:
        """Number of other rows m; n if there are none."""
        return len((self.arrays.query or self.arrays.rows)[0])

    def is_row_wise(self) -> bool:
        """Whether the program shows that rows are independent.

        Raises:
            InputError: if it draws new random numbers for each row.
        """
        if self.few is None:
            return True
        if self.key is None:
            return self._shows_rows(self.few)
        found = _ROW_WISE.get(self.key, partial(self._shows_rows, self.few))
        asked = self.batch if self.n_rows > 1 else self.row
        known = row_program(asked, self.row, self.key) if found else None
        if known is not None:
            _ROW_PROGRAMS.put((asked.key, len(self.arrays.leaves)), known)
        return found

    def _shows_rows(self, make_few: Callable[[], Traced]) -> bool:
        check_draws(self.row, self.batch)
        try:
            few = make_few()
        except Exception:  # a predictor that cannot take so few rows may raise anything
            return False
        return is_row_wise(self.batch, self.row, few, len(self.arrays.leaves))

    def without_arrays(self) -> "PredictorCall":
        """The same program with no values, which would be kept alive with it."""
        none = Arrays([], [], None, [], [])
        row = self.row.without_constants()
        return replace(self, arrays=none, row=row, batch=row, few=None)

    def needs_derivative(self) -> AbstractContextManager[None]:
        """Explain an error inside that comes from what JAX cannot do with the predictor."""
        arrays = self.arrays
        row = self.row_function(arrays.row_constants)
        return needs_derivative(row, arrays.leaves, arrays.rows)

    def row_function(
        self, constants: Sequence[PyTree]
    ) -> Callable[[Sequence[Array], Sequence[Array]], Array]:
        """The predictor on one row alone, (leaves, arrays of the row) -> (c,)."""
        count = self.n_outputs or 1

        def predict_row(leaves: Sequence[Array], row: Sequence[Array]) -> Array:
            return self.row(constants, leaves, [value[None] for value in row]).reshape(count)

        return predict_row

    def try_rows(self, arrays: Arrays) -> RowChange:
        """Change rows and see, where the program does not show enough."""
        n = self.batch.outputs.shape[0]
        shape = self.batch.outputs.shape[1:]
        inputs = [jnp.broadcast_to(a, (n, *a.shape[1:])) for a in arrays.rows]
        return try_rows(
            lambda leaves, inputs: self.batch(arrays.batch_constants, leaves, inputs),
            lambda leaves, row: self.row(arrays.row_constants, leaves, row).reshape(1, *shape),
            arrays.leaves,
            inputs,
        )


def require_row_wise(call: PredictorCall) -> Array:
    """Refuse a predictor that mixes rows.

    Returns:
        Zero, to be added to results; NaN where the predictor mixes rows and an error
        cannot be raised, because values are not known yet.
    """
    zero = jnp.zeros((), call.dtype)
    if call.is_row_wise():
        return zero
    with call.needs_derivative():
        change = jax.jit(lambda arrays: call.try_rows(arrays))(call.arrays)
    if is_concrete(change.mixing):
        check_change(change)
        return zero
    return jnp.where(change.is_mixed(), jnp.nan, zero)


def predictor_call(
    predict: Predictor,
    params: Params,
    x: Inputs,
    x2: Inputs | None = None,
    *,
    asks_for_one_row: bool = False,
) -> PredictorCall:
    """Check the input and trace the predictor as it is now.

    Args:
        predict: the predictor.
        params: its parameters.
        x: rows.
        x2: other rows, or None.
        asks_for_one_row: whether to trace it on one row even if it is known what it
            does there.

    Raises:
        InputError: if parameters or inputs hold what they should not, or if the output is
            not one floating array of shape (n,) or (n, c).
    """
    leaves, rebuild = split_params(params)
    leaves = [_whole(leaf) for leaf in leaves]
    rows = as_rows(x)
    query = as_query_rows(x2, rows)
    rows = rows._replace(leaves=tuple(_whole(leaf) for leaf in rows.leaves))
    if query is not None:
        query = query._replace(leaves=tuple(_whole(leaf) for leaf in query.leaves))
    if query is not None:
        rows, query = in_one_type(rows, query)

    def on(n_rows: int) -> Traced:
        return traced(predict, rebuild, leaves, rows, n_rows)

    asked = on(rows.n_rows)
    outputs = require_outputs(asked.outputs, rows.n_rows)
    if 0 in outputs.shape:
        raise InputError(f"The predictor returned shape {outputs.shape}; it has no outputs.")
    count = outputs.shape[1] if len(outputs.shape) == 2 else None
    known = None
    if asked.key is not None and not asks_for_one_row:
        known = _ROW_PROGRAMS.find((asked.key, len(leaves)))
    row = None if known is None else known.beside(asked)
    if known is not None and row is not None:
        batch, few, key = asked, None, known.key
    else:
        row = on(1) if rows.n_rows > 1 else asked
        batch = asked if rows.n_rows > 1 else on(2)
        few = partial(on, N_ROWS - (rows.n_rows == N_ROWS))
        keys = row.key, batch.key
        key = None if None in keys else (*keys, len(leaves))
    size = getattr(row.outputs, "size", None)
    if size != (count or 1):
        raise InputError(
            f"predict returned shape {row.outputs.shape} for one row but {count or 1} outputs for "
            "a row of the whole batch; it must treat batches of any length alike."
        )
    arrays = Arrays(
        leaves,
        list(rows.leaves),
        None if query is None else list(query.leaves),
        row.constants,
        batch.constants,
    )
    return PredictorCall(arrays, row, batch, few, count, outputs.dtype, key)


def _whole(array: Array) -> Array:
    """The array on every device of its mesh, if its type says that it is cut among them.

    Raises:
        InputError: if it stands for another part on each device, inside ``shard_map``.
    """
    kind = jax.typeof(array)
    manual = getattr(kind, "manual_axis_type", None)
    if getattr(manual, "varying", getattr(kind, "vma", None)):
        raise InputError(
            "The tangent kernel cannot be taken inside shard_map of arrays that differ between the "
            "devices; call it outside, where the rows are divided among the devices."
        )
    sharding = getattr(kind, "sharding", None)
    if sharding is None or all(axis is None for axis in sharding.spec):
        return array
    return jax.sharding.reshard(array, NamedSharding(sharding.mesh, PartitionSpec()))


def is_concrete(value: object) -> bool:
    """Whether an array has a value now, rather than standing for one in a trace."""
    return not isinstance(value, Tracer)
