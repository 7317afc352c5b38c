"""The first rows of a batch, whose outputs say how each parameter is met."""

from collections.abc import Sequence
from contextlib import nullcontext

from torch import nn

from ._layout import WatchLayout
from ._mixed_rows import refuse_mixed_rows
from ._rows import (
    Inputs,
    Observed,
    Output,
    n_rows,
    observed_outputs,
    pilot_rows,
    rows_at,
    values_of,
)
from ._state import FirstCall


def first_outputs(
    model: nn.Module,
    batches: Sequence[Inputs],
    output: Output,
    first: FirstCall,
    watch: WatchLayout | None = None,
) -> Observed:
    """The outputs of the first rows, with their graph, and what was seen of the call.

    Args:
        model: a module without wrappers.
        batches: of rows.
        output: as for `ntk`.
        first: looks for what this call and those before it leave to later ones.
        watch: notices whether this call reads the layout of a value.
    """
    few = rows_at(batches[0], pilot_rows(n_rows(batches[0])))
    try:
        # Observed as the blocks are, since PyTorch chooses other operations then.
        with watch or nullcontext():
            found = observed_outputs(model, few, output, as_given=True)
    except Exception:
        # An error is reported for all rows rather than for these, if it occurs there too.
        for batch in batches:
            refuse_mixed_rows(model, batch, values_of(model, batch, output), output)
        raise
    if first.refuse_kept(batches, output):
        # What is kept was found to have no influence.
        return observed_outputs(model, few, output, as_given=True)._replace(reading=None)
    return found
