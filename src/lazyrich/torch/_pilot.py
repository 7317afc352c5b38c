"""The first rows of a batch, whose outputs say how each parameter is met."""

from collections.abc import Sequence

from torch import nn

from ._mixed_rows import refuse_mixed_rows
from ._rows import Inputs, Observed, Output, observed_outputs, rows, values_of
from ._state import FirstCall

# Rows on which a plan is made and checked.
N_ROWS = 2


def first_outputs(
    model: nn.Module, batches: Sequence[Inputs], output: Output, first: FirstCall
) -> Observed:
    """The outputs of the first rows, with their graph, and what was seen of the call.

    Args:
        model: a module without wrappers.
        batches: of rows.
        output: as for `ntk`.
        first: looks for what this call and those before it leave to later ones.
    """
    few = rows(batches[0], 0, N_ROWS)
    try:
        # Observed as the blocks are, since PyTorch chooses other operations then.
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
