"""What a module keeps from one call to the next."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._kept import ON_COPIES, Kept, are_identical
from ._rounding import rounding_of
from ._row_axis import Reading
from ._rows import Inputs, Output, n_rows, rows, values_of, watched_values

# As many rows may show what is taken from all rows of a call.
_SEVERAL = 4
# Where a module has its parameters and parts.
_NAMES = ("_parameters", "_modules")
# A model that changes itself is called so many times more: it may do otherwise only later.
MORE_CALLS = 3


class FirstCall:
    """Looks for what a model's calls leave to later ones, around calls that are made anyway.

    Args:
        model: a module without wrappers.
        kept: the model as it is, before it is called.
    """

    def __init__(self, model: nn.Module, kept: Kept) -> None:
        self._parameters = {
            name: (p, p.requires_grad, None if p.is_inference() else p._version)
            for name, p in model.named_parameters()
        }
        registers = [vars(module) for module in model.modules()]
        # Those of scripted modules are no dicts.
        self._are_plain = all(isinstance(of.get(name), dict) for of in registers for name in _NAMES)
        self._registers = [
            (of, name, dict(of[name])) for of in registers for name in _NAMES if self._are_plain
        ]
        self._copies = {id(one.parameter): one for one in kept.parameters}
        self._tables = {  # which a call shortens, row by row
            id(module.weight)
            for module in model.modules()
            if getattr(module, "max_norm", None) is not None
        }
        self._model, self._kept, self._is_tried = model, kept, False

    def is_changed(self) -> bool:
        """Whether an attribute or a buffer is not what it was before the call."""
        return self._kept.state.is_changed()

    def restore(self) -> None:
        """Make attributes and buffers what they were."""
        self._kept.state.restore()

    def deed(self, *, with_values: bool = True) -> str | None:
        """What the calls since have done to the model's parameters; None if nothing.

        Args:
            with_values: whether values are compared: what is written to ``p.data`` is not counted.
        """
        now = self._named()
        for name in now.keys() - self._parameters.keys():
            return f"makes its parameter {name!r}"
        for name, (p, has_gradient, version) in self._parameters.items():
            if now.get(name) is not p:
                return f"replaces its parameter {name!r}"
            if p.requires_grad != has_gradient:
                return f"{'freezes' if has_gradient else 'unfreezes'} its parameter {name!r}"
            if id(p) in self._tables or version is None:
                continue
            copy = self._copies.get(id(p)) if with_values else None
            if p._version != version or (copy is not None and copy.is_written()):
                return f"writes to its parameter {name!r}"
        return None

    def _named(self) -> dict[str, nn.Parameter]:
        """The model's parameters, for whose names all modules are gone through if some changed."""
        if self._are_plain and all(
            are_identical(of[name], then) for of, name, then in self._registers
        ):
            return {name: p for name, (p, *_) in self._parameters.items()}
        return dict(self._model.named_parameters())

    def refuse_written(self) -> None:
        """Refuse a model whose calls have written to a parameter, or made or replaced one.

        Raises:
            InputError: naming the first of them.
        """
        refuse_deeds(self.deed())

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
        is_written = self._kept.state.is_written()
        self.restore()
        for batch in batches:
            refuse_kept_values(self._model, batch, output, self._kept, n_several=n_rows(batch))
        self._is_tried = True
        if is_written:
            self._write_to_copies(rows(batches[0], 0, _SEVERAL), output)
        return True

    def _write_to_copies(self, few: Inputs, output: Output) -> None:
        """Have each call from now on write to copies, where that changes nothing.

        Raises:
            InputError: if something else holds what is written to.
        """
        try:
            plain = values_of(self._model, few, output)
            self.restore()
            ON_COPIES[id(self._model)] = self._kept.state
            replaced = values_of(self._model, few, output)
        except InputError:
            return  # said for all rows
        finally:
            self.restore()
        if differ(plain, [replaced]):
            raise InputError(
                "The model writes to a tensor in each call that something else than its modules "
                "holds too, such as a function or a hook, so calls cannot be kept apart; let it be "
                "reached through the module."
            )


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
    kept: Kept,
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
        kept: the model as it is.
        n_several: so many rows are several; a model may keep something of many alone.

    Raises:
        InputError: if an output depends on the first call, or if a call writes to a parameter.
    """
    call = FirstCall(model, kept)
    one, several = rows(x, 0, 1), rows(x, 0, min(n_several, n_rows(x)))
    deeds = []

    def restore(*, with_values: bool = False) -> None:
        deeds.append(call.deed(with_values=with_values))
        call.restore()  # no parameter, so that the last look at their values is enough

    try:
        alone, first = watched_values(model, one, output)
        is_changed = call.is_changed()
        again, second = watched_values(model, one, output)
        others = [again]
        if is_changed:
            others += [values_of(model, one, output) for _ in range(MORE_CALLS)]
        restore()
        others.append(values_of(model, several, output)[:1])
        if is_changed or call.is_changed():
            is_changed = True
            others.append(values_of(model, one, output))
            restore()
            values_of(model, rows(x, n_rows(x) - 1, n_rows(x)), output)
            others.append(values_of(model, one, output))
    except InputError:
        return  # said for all rows
    finally:
        restore(with_values=True)
    refuse_deeds(*deeds)
    if is_changed and differ(alone, others):
        least = rounding_of(model, one, output)
        call.restore()
        if differ(alone, others, least=least):
            raise _refusal("keeps values when it is called, and its outputs depend")
    if not is_changed:
        refuse_reading(second, first)


def differ(one: Tensor, others: Iterable[Tensor], *, least: float = 0.0) -> bool:
    """Whether some values differ from others by more than rounding.

    Args:
        one: values.
        others: of the same shape, else they differ.
        least: what rounding alone may add to them, beyond some of their own digits.
    """
    others = list(others)
    if any(other.shape != one.shape for other in others):
        return True
    if one.numel() == 0:
        return False
    gap = max(float((other - one).abs().max()) for other in others)
    scale = max(float(other.abs().max()) for other in (one, *others))
    return gap > max(1e3 * torch.finfo(one.dtype).eps * scale, least)


def refuse_deeds(*deeds: str | None) -> None:
    """Refuse a model for what its calls did to its parameters.

    Args:
        deeds: as `FirstCall.deed` says them.

    Raises:
        InputError: saying the first of them.
    """
    for deed in filter(None, deeds):
        raise _refusal(f"{deed} when it is called, so its outputs may depend")


def _refusal(what: str) -> InputError:
    return InputError(
        f"The model {what} on the rows of its first call or on the number of calls, and there "
        "is no tangent kernel; call model.eval() if that ends it, and if it takes starting values "
        "from its first batch, keep them in a buffer, and run it on one first."
    )
