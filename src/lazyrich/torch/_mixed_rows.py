"""Whether the outputs and gradients of a row depend on that row alone, by trial."""

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lazyrich._base import InputError

from ._layout import LayoutMattersError
from ._magnitude import is_finite
from ._rounding import rounding, rounding_of
from ._row_gradients import Part, refuse_mixed_gradients, refuse_other_gradients
from ._rows import (
    N_ROWS,
    Inputs,
    Output,
    n_rows,
    outputs,
    pilot_rows,
    rows,
    rows_at,
    said,
    values_of,
)

_OF_SOME_ROWS = ", and keep labels of all rows out of output=, which is called on some rows alone"
# So few rows are run one by one; of more of them so many, and all in parts.
_FEW = 8
# So many have their gradients compared.
_FEWEST = 4


def refuse_mixed_rows(
    model: nn.Module,
    x: Inputs,
    whole: Tensor,
    output: Output,
    *,
    are_apart: bool = False,
    as_given: Inputs | None = None,
) -> None:
    """Refuse a model whose output or gradient for one row depends on the other rows.

    The arguments are those of `refuse_other_alone`.

    Raises:
        InputError: as `refuse_other_alone`, or if gradients differ.
        LayoutMattersError: as `refuse_other_alone`.
    """
    refuse_other_alone(model, x, whole, output, are_apart=are_apart, as_given=as_given)
    if len(whole) < 2:
        return
    if are_apart:
        _refuse_hidden(model, rows(x, 0, 2), output, [torch.tensor([1], device="cpu")])
    else:
        _refuse_hidden(model, x, output, _parts(len(whole), are_apart=False, is_as_given=True))
    refuse_mixed_backward(model, x, whole, output, are_apart=are_apart)
    if are_apart:
        return
    few = rows(x, 0, _FEWEST)
    alone = [slice(i, i + 1) for i in range(n_rows(few))]
    with torch.enable_grad():
        try:
            together = outputs(model, few, output)
        except InputError:
            return  # they were computed alone
    _refuse_gradients(model, few, together, output, alone)


def refuse_other_alone(
    model: nn.Module,
    x: Inputs,
    whole: Tensor,
    output: Output,
    *,
    are_apart: bool,
    as_given: Inputs | None,
) -> None:
    """Refuse a model whose output for rows alone is another one than beside others.

    Where every operation keeps rows apart, one of them is computed alone, since its output may
    also depend on how many there are, or change from call to call; it is one from the middle,
    since its output may depend on its place or on the rows before or after it. Elsewhere up to
    eight rows are computed one by one; more of them are laid out in a square, and its lines and
    its columns are computed: any two rows are apart in one of these parts. Eight are run one by
    one also then: what a few rows have in common with all of them, such as the length of the
    longest text, a row alone may not have.

    Args:
        model: a module without wrappers.
        x: a batch.
        whole: its outputs, (n, c).
        output: as for `outputs`.
        are_apart: whether every operation was seen to keep the rows apart.
        as_given: the batch in the layout in which it was given, which is that of the rows that
            are run alone; None if it is that of ``x``.

    Raises:
        InputError: if the two differ by more than rounding, or if an output is not finite.
        LayoutMattersError: if a row differs because of its layout.
    """
    whole, as_given = whole.detach(), x if as_given is None else as_given
    _refuse_infinite(whole)
    n = len(whole)
    scale = max(float(whole.abs().max()), torch.finfo(whole.dtype).tiny)
    tolerance = 1e3 * torch.finfo(whole.dtype).eps * scale
    for index in _parts(n, are_apart=are_apart, is_as_given=as_given is x):
        index = index.to(whole.device)
        try:
            alone = values_of(model, rows_at(as_given, index), output)
        except InputError as error:
            reason = error if error.__cause__ is None else said(error.__cause__)
            raise InputError(
                f"The model runs on {n} rows and not on {len(index)} of them alone ({reason}), so "
                "its output for one row depends on the other rows; give inputs whose first axis "
                f"is the batch{_OF_SOME_ROWS if output else ''}."
            ) from error
        gap = float((alone - whole[index]).abs().max())
        if gap > tolerance and gap > rounding_of(model, rows_at(as_given, index), output):
            laid = alone if as_given is x else values_of(model, rows_at(x, index), output)
            if float((alone - laid).abs().max()) > tolerance:
                raise LayoutMattersError
            _refuse_changing(model, x, whole, output)
            raise InputError(
                f"The model's output for one row depends on the other rows (by {gap / scale:.1g} "
                "of its size), so there is no tangent kernel of a row; call model.eval(), or "
                f"give inputs whose first axis is the batch{_OF_SOME_ROWS if output else ''}."
            )


def _refuse_infinite(whole: Tensor) -> None:
    if not is_finite(whole):
        bad = [int(i) for i in (~torch.isfinite(whole)).any(1).nonzero()[:3, 0]]
        raise InputError(
            f"The model's outputs are NaN or infinite, first in rows {bad}; there is no kernel of "
            "a model that has diverged."
        )


def refuse_mixed_backward(
    model: nn.Module, x: Inputs, whole: Tensor, output: Output, *, are_apart: bool
) -> None:
    """Refuse gradients of rows that are others beside all rows of a batch than without them.

    Where every operation keeps rows apart, two rows are run by themselves, since a gradient may
    also depend on how many there are. Elsewhere all are, in the lines and in the columns of a
    square, where each row has another place: any two rows are apart in one of these parts.

    Args:
        model: a module without wrappers.
        x: a batch.
        whole: its outputs, (n, c); without their graph nothing is computed.
        output: as for `outputs`.
        are_apart: whether every operation was seen to keep the rows apart.

    Raises:
        InputError: if they are.
    """
    n = len(whole)
    if not whole.requires_grad or n <= (N_ROWS if are_apart else _FEWEST):
        return
    if not are_apart:
        for parts in _partitions(n):
            _refuse_gradients(model, x, whole, output, parts)
        return
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    index = pilot_rows(n)
    with torch.enable_grad():
        few = outputs(model, rows_at(x, index), output)
        refuse_other_gradients(whole, few, index, trained)


def _refuse_gradients(
    model: nn.Module, x: Inputs, whole: Tensor, output: Output, parts: Sequence[Part]
) -> None:
    def call(part: Part) -> Tensor:
        is_slice = isinstance(part, slice)
        chosen = rows(x, part.start or 0, part.stop) if is_slice else rows_at(x, part)
        return outputs(model, chosen, output)

    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad():
        refuse_mixed_gradients(whole, call, parts, trained)


def refuse_other_values(
    values: Tensor, whole: Tensor, start: int, parameters: Iterable[Tensor]
) -> None:
    """Refuse outputs of a block of rows that are not those that were compared with rows alone.

    Args:
        values: outputs of the block, (k, c), with their graph.
        whole: outputs of all rows.
        start: the first row of the block.
        parameters: of the model.

    Raises:
        InputError: if the two differ by more than rounding.
    """
    wanted = whole[start : start + len(values)]
    gap = float((values.detach() - wanted).abs().max())
    is_large = gap > 1e3 * torch.finfo(whole.dtype).eps * float(whole.abs().max())
    if is_large and gap > rounding(values, parameters):
        raise InputError(
            f"The model's outputs for the rows {start} to {start + len(values) - 1} are others if "
            "these rows are run together and gradients are recorded than for all rows without "
            "gradients, so there is no tangent kernel of a row; let the outputs depend neither on "
            "the number of rows nor on whether gradients are recorded."
        )


def _refuse_hidden(model: nn.Module, x: Inputs, output: Output, parts: Sequence[Tensor]) -> None:
    """Refuse what mixes rows as soon as no parameter is zero.

    A parameter that is zero hides what it is multiplied with from the outputs, and not from
    their gradient. Where no parameter has a zero, nothing is computed.

    Args:
        model: a module without wrappers.
        x: rows that are run together.
        output: as for `outputs`.
        parts: rows of these that are run again, each time some of them.
    """
    with _without_zeros(model) as is_moved:
        if not is_moved:
            return
        try:
            whole = values_of(model, x, output)
            alone = [values_of(model, rows_at(x, index), output) for index in parts]
        except InputError:
            return  # the function has no value there
    beside = whole[torch.cat(list(parts)).to(whole.device)]
    gap = float((torch.cat(alone) - beside).abs().max() / whole.abs().max())
    if gap > 1e3 * torch.finfo(whole.dtype).eps:
        raise InputError(
            "The model's gradient for one row depends on the other rows or on the place of the "
            f"row (its output does so, by {gap:.1g} of its size, as soon as the parameters that "
            "are zero are not), so there is no tangent kernel of a row."
        )


@contextmanager
def _without_zeros(model: nn.Module) -> Generator[bool]:
    """For a while, small random numbers in place of zeros; whether there are any."""
    generator = torch.Generator().manual_seed(0)
    kept = []
    try:
        for p in model.parameters():
            is_zero = p.detach() == 0
            if p.requires_grad and p.is_floating_point() and bool(is_zero.any()):
                drawn = torch.randn(p.shape, generator=generator, device="cpu").to(p)
                size = p.detach().float().square().mean().sqrt()
                step = 0.1 * torch.where(size > 0, size, torch.ones_like(size))
                kept.append((p, p.data))
                # Other memory, which leaves alone what a graph has saved of the parameter.
                p.data = torch.where(is_zero, step.to(p.dtype) * drawn, p.detach())
        yield bool(kept)
    finally:
        for p, data in kept:
            p.data = data


def _refuse_changing(model: nn.Module, x: Inputs, whole: Tensor, output: Output) -> None:
    again = values_of(model, x, output)
    if again.shape != whole.shape or torch.allclose(again, whole, rtol=1e-3, equal_nan=True):
        return
    with torch.enable_grad():
        recorded = outputs(model, x, output).detach()
    if torch.allclose(recorded, whole, rtol=1e-3, equal_nan=True):
        raise InputError(
            "The model's outputs for the same rows are other ones where no gradient is recorded, "
            "as under torch.no_grad, so there is no tangent kernel of one function; let them not "
            "depend on that."
        )
    raise InputError(
        "The model's outputs for the same rows change from call to call (it draws random "
        "numbers, or updates buffers), so there is no tangent kernel; call model.eval()."
    )


def _parts(n: int, *, are_apart: bool, is_as_given: bool) -> list[Tensor]:
    """The rows that are run alone, together with those of the same part."""
    if n < 2 and is_as_given:
        return []
    if are_apart or n < 2:
        return [torch.tensor([min((n - 1) // 2 | 1, n - 1)], device="cpu")]
    partitions = _partitions(n)
    alone = torch.cat(partitions[0])[:_FEW, None] if len(partitions) > 1 else []
    return [*(part for parts in partitions for part in parts), *alone]


def _partitions(n: int) -> list[list[Tensor]]:
    """All rows in parts: few ones alone, others in the lines and in the columns of a square."""
    if n <= _FEW:
        return [list(torch.arange(n, device="cpu")[:, None])]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(n, generator=generator, device="cpu")
    side = math.isqrt(n - 1) + 1
    return [list(order.split(side)), [order[k::side] for k in range(side)]]
