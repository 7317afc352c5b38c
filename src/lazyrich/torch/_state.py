"""What a module keeps from one call to the next."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from lazyrich._base import InputError

from ._kept import KeptParameter, KeptState
from ._row_axis import Reading
from ._rows import Inputs, Output, n_rows, rows, values_of, watched_values

# As many rows may show what is taken from all rows of a call.
_SEVERAL = 4


class FirstCall:
    """Looks for what a model's calls leave to later ones, around calls that are made anyway.

    Args:
        model: a module without wrappers that has not been called yet.
        copies: of its parameters, where there are some.
    """

    def __init__(self, model: nn.Module, copies: Iterable[KeptParameter] = ()) -> None:
        tables = {id(m.weight) for m in model.modules() if getattr(m, "max_norm", None) is not None}
        self._counted = {
            name: (p, p._version)
            for name, p in model.named_parameters()
            if id(p) not in tables and not p.is_inference()
        }
        self._copies = {id(one.parameter): one for one in copies}
        self._model, self._kept, self._is_tried = model, KeptState(model), False

    def is_changed(self) -> bool:
        """Whether an attribute or a buffer is not what it was before the call."""
        return self._kept.is_changed()

    def restore(self) -> None:
        """Make attributes and buffers what they were."""
        self._kept.restore()

    def refuse_written(self) -> None:
        """Refuse a model whose calls have written to a parameter.

        Raises:
            InputError: naming the first of them.
        """
        for name, (p, version) in self._counted.items():
            copy = self._copies.get(id(p))  # what is written to ``p.data`` is not counted
            if p._version != version or (copy is not None and copy.is_written()):
                raise _refusal(
                    f"writes to its parameter {name!r} when it is called, so its outputs may depend"
                )

    def refuse_kept(self, batches: Sequence[Inputs], output: Output) -> bool:
        """Refuse a model whose calls so far decide what later ones return.

        Args:
            batches: of rows; what is kept may follow from their shape and number.
            output: from what the model returns to a tensor.

        Returns:
            Whether something was changed, is restored now, and has no influence.

        Raises:
            InputError: as `refuse_kept_values`.
        """
        self.refuse_written()
        if self._is_tried or not self.is_changed():
            return False
        self.restore()
        for batch in batches:
            copies = self._copies.values()
            refuse_kept_values(self._model, batch, output, copies, n_several=n_rows(batch))
        self._is_tried = True
        return True


def refuse_reading(later: Reading | None, *former: Reading | None) -> None:
    """Refuse a model of which a later call read what a former one made of its rows and kept.

    Args:
        later: what was seen of the later call; None if nothing was.
        former: the same of each former call.

    Raises:
        InputError: if it did.
    """
    if later is not None and any(one is not None and later.reads(one) for one in former):
        raise _refusal(
            "keeps values outside of its attributes and buffers, and its outputs may depend"
        )


def refuse_kept_values(
    model: nn.Module,
    x: Inputs,
    output: Output,
    copies: Iterable[KeptParameter] = (),
    *,
    n_several: int = _SEVERAL,
) -> None:
    """Refuse a model whose first call decides what later ones return.

    Such as a layer that takes its shift from the first batch it sees: whichever rows are run
    afterwards agree with each other. One row is run, and several. If that changed an attribute or
    a buffer, the one must have the same output beside others in a first call, and in a call after
    itself, after several and after another row. What a call makes of its rows and keeps elsewhere,
    no later call may read.

    Args:
        model: a module without wrappers.
        x: a batch.
        output: from what the model returns to a tensor.
        copies: of the parameters, where there are some.
        n_several: so many rows are several; a model may keep something of many alone.

    Raises:
        InputError: if an output depends on the first call, or if a call writes to a parameter.
    """
    call = FirstCall(model, copies)
    one, several = rows(x, 0, 1), rows(x, 0, min(n_several, n_rows(x)))
    try:
        alone, first = watched_values(model, one, output)
        is_changed = call.is_changed()
        again, second = watched_values(model, one, output)
        call.restore()
        others = [again, values_of(model, several, output)[:1]]
        if is_changed or call.is_changed():
            is_changed = True
            others.append(values_of(model, one, output))
            call.restore()
            values_of(model, rows(x, n_rows(x) - 1, n_rows(x)), output)
            others.append(values_of(model, one, output))
    except InputError:
        return  # said for all rows
    finally:
        call.restore()
    call.refuse_written()
    gap = max(float((other - alone).abs().max()) for other in others)
    scale = max(float(other.abs().max()) for other in (alone, *others))
    if is_changed and gap > 1e3 * torch.finfo(alone.dtype).eps * scale:
        raise _refusal("keeps values when it is called, and its outputs depend")
    if not is_changed:
        refuse_reading(second, first)


def _refusal(what: str) -> InputError:
    return InputError(
        f"The model {what} on the rows of its first call or on the number of calls, and there "
        "is no tangent kernel; if it takes starting values from its first batch, keep them in a "
        "buffer, and run it on one first."
    )
