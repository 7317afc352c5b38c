"""The program of one row, known from an earlier call with the same program of all rows.

Tracing is most of what a repeated call costs, so a predictor is traced on all rows alone
where its program of one row is known to be the same function.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from .._ntk._traced_predictor import Traced

# Arrays of more bytes than this are not kept in memory for a later call.
_MOST_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class RowProgram:
    """What an earlier call found to be the same function as a program of all rows.

    Attributes:
        row: the program of one row, without the arrays that it has captured.
        sources: for each of these arrays, which of those that the other program has
            captured is the same object, or its value.
        values: the values of those that were matched to none, which must be as they were.
        key: of both programs.
    """

    row: Traced
    sources: tuple[int | Array, ...]
    values: Mapping[int, Array]
    key: Hashable

    def beside(self, batch: Traced) -> Traced | None:
        """The program of one row with the arrays of now; None if it must be traced."""
        if any(not _is_same(batch.constants[k], value) for k, value in self.values.items()):
            return None
        constants = [batch.constants[s] if isinstance(s, int) else s for s in self.sources]
        return Traced(self.row.jaxpr, constants, self.row.outputs)


def row_program(batch: Traced, row: Traced, key: Hashable) -> RowProgram | None:
    """What later calls need in order to skip the trace of one row.

    Returns:
        None if it would keep too many bytes in memory.
    """
    where = {id(array): k for k, array in enumerate(batch.captured)}
    sources = [
        where.get(id(array), value)
        for array, value in zip(row.captured, row.constants, strict=True)
    ]
    matched = {source for source in sources if isinstance(source, int)}
    values = {k: value for k, value in enumerate(batch.constants) if k not in matched}
    kept = [source for source in sources if not isinstance(source, int)] + [*values.values()]
    if any(isinstance(value, Tracer) for value in kept):
        return None
    if sum(value.nbytes for value in kept) > _MOST_BYTES:
        return None
    return RowProgram(row.without_constants(), tuple(sources), values, key)


def _is_same(value: object, before: Array) -> bool:
    if isinstance(value, Tracer):
        return False
    some, other = np.asarray(value), np.asarray(before)
    return (
        some.dtype == other.dtype
        and some.shape == other.shape
        and some.tobytes() == other.tobytes()
    )
