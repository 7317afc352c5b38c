"""The exact tangent kernel of any module, on the module's device."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lazyrich._base import InputError

from ._block import Block, bytes_per_row, make_block
from ._by_blocks import by_blocks, piece_of
from ._confirmed import is_confirmed
from ._graph import has_code_of_a_user
from ._kernel_entries import refuse_infinite, refuse_large
from ._layout import LayoutMattersError, WatchLayout, has_group_norm, laid_out
from ._memory import budget, keep_freed_memory
from ._mixed_rows import (
    refuse_mixed_backward,
    refuse_mixed_rows,
    refuse_other_alone,
    refuse_other_values,
)
from ._model import (
    Chosen,
    parameter_dtype,
    refuse_training_mode,
    trainable_parameters,
    unchanged,
    unwrap,
)
from ._pilot import first_outputs
from ._plan import Planned
from ._random_cotangents import Probe
from ._row_axis import Reading
from ._rows import (
    N_ROWS,
    Inputs,
    Observed,
    Output,
    batch_of,
    n_rows,
    observed_values,
    outputs,
    pilot_rows,
    require_batch,
    require_device,
    rows,
    rows_at,
    usable,
    watched_values,
)
from ._state import FirstCall, refuse_reading


def ntk(
    model: nn.Module,
    x: Inputs,
    x2: Inputs | None = None,
    *,
    trace_outputs: bool = False,
    output: Output = None,
    params: Chosen = None,
    memory: str | int | None = None,
) -> Tensor:
    """The empirical tangent kernel Θ[i, j, a, b] = ∇f_a(x_i) · ∇f_b(x′_j) of a module.

    Exact, with respect to the trainable parameters at their present values. Where a
    parameter meets the rows through a matrix product, a convolution, a table, a gain or a
    bias, whatever module or function that stands in, cotangents and activations are
    contracted, (g·g′)∘(h·h′), or the gradients of rows are formed by one batched product,
    whichever costs less; a parameter used several times is taken at all its places. A
    parameter used in a way that is not understood has its Jacobian formed row by row,
    that parameter alone (`explain_ntk` names it). The model is left as it was: modes,
    buffers, gradients, random numbers, and what its modules hold in up to 20 000 tensors,
    lists, dicts and objects, beside objects with ``__slots__`` and arrays of objects.

    Args:
        model: any module, also in DDP, ``torch.compile`` or Accelerate wrappers.
        x: n rows: a tensor, a tuple of arguments, or a dict of named arguments.
        x2: m other rows; None means the rows of ``x``.
        trace_outputs: whether to sum over equal outputs, Σ_a Θ[i, j, a, a].
        output: from what the model returns to a tensor (n,) or (n, c), such as
            ``lambda out: out.logits[:, -1]``.
        params: names or beginnings of names of the parameters that count, or a test of a
            name; None for all trainable ones.
        memory: bound on the memory used, such as ``"2GiB"``; None is half of what is free.

    Returns:
        Θ of shape (n, m, c, c), on the device of the model, without a graph; of shape
        (n, m) if traced or if the outputs are (n,). Float64 if a parameter is, else
        float32, also for half types. Symmetric and positive semidefinite if ``x2`` is None.

    Raises:
        InputError: if rows are mixed (batch norm in training mode), if dropout is on, if
            the outputs are not real numbers (n,) or (n, c), if nothing is trainable, if
            devices differ, if parameters are complex or split among processes, or if an
            output or the kernel is NaN or infinite.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> ntk(model, torch.tensor([[1.0, 2.0], [3.0, 0.0]]), trace_outputs=True)
        tensor([[5., 3.],
                [3., 9.]])

    References:
        Novak et al. (2022), "Fast finite width neural tangent kernel".
    """
    model = unwrap(model)
    parameters = trainable_parameters(model, params)
    batches = _batches(x, x2, parameters)
    refuse_training_mode(model)
    with unchanged(model) as kept:
        batches = [usable(batch) for batch in batches]
        asked = _Asked(model, output, parameters, trace_outputs, budget(memory, parameters))
        keep_freed_memory()
        first = FirstCall(model, kept)
        try:
            result = _laid_out_kernel(asked, batches, first)
            first.refuse_kept(batches, output)  # what is done only where no gradient is recorded
        finally:
            first.restore()
        return result


class _Asked(NamedTuple):
    """What a kernel is of.

    Attributes:
        model: a module without wrappers.
        output: as for `ntk`.
        parameters: by name.
        traced: whether equal outputs are summed.
        memory: in bytes.
    """

    model: nn.Module
    output: Output
    parameters: dict[str, nn.Parameter]
    traced: bool
    memory: float


class _Rows(NamedTuple):
    """The rows of a kernel, and the calls that were made before.

    Attributes:
        batches: one or two.
        given: the same in the layout in which they were given.
        first: looks for what the model's calls so far leave to later ones.
        former: what was seen of each call; None for one of which nothing was.
    """

    batches: Sequence[Inputs]
    given: Sequence[Inputs]
    first: FirstCall
    former: list[Reading | None]

    def counts(self) -> list[int]:
        """How many rows each batch has."""
        return [n_rows(batch) for batch in self.batches]


def _laid_out_kernel(asked: "_Asked", batches: Sequence[Inputs], first: FirstCall) -> Tensor:
    """The kernel, from images in the layout that takes the least time."""
    laid = laid_out(asked.model, batches)
    as_given = _Rows(batches, batches, first, [])
    if laid is not None:
        try:
            return _kernel(asked, as_given._replace(batches=laid))
        except LayoutMattersError:
            pass
        except InputError as error:
            if error.__cause__ is None:
                raise  # what a model keeps would be the same in a second attempt
            # Else PyTorch raised it, which may be of the layout.
    return _kernel(asked, as_given)


def _batches(x: Inputs, x2: Inputs | None, parameters: dict[str, nn.Parameter]) -> list[Inputs]:
    batches = [batch_of(one) for one in ([x] if x2 is None else [x, x2])]
    for name, batch in zip(("x", "x2"), batches, strict=False):
        require_batch(batch, name)
        require_device(batch, parameters, name)
    return batches


class _Start(NamedTuple):
    """What a few rows show.

    Attributes:
        planned: how each parameter is met.
        is_vector: whether outputs are (n,).
        sizes: rows of a block, outputs at a time, outputs.
    """

    planned: Planned
    is_vector: bool
    sizes: tuple[int, int, int]


def _start(asked: _Asked, of: _Rows) -> _Start:
    """Run a few rows.

    Raises:
        LayoutMattersError: if the layout is another one than was given, and what the model
            returns may depend on it.
    """
    model, output, parameters, traced, memory = asked
    dtype, counts = parameter_dtype(parameters), of.counts()
    watch = WatchLayout() if of.given is not of.batches else None
    seen = first_outputs(model, of.batches, output, of.first, watch)
    refuse_reading(seen.reading, *of.former)
    of.former.append(seen.reading)
    if watch is not None and _needs_given_layout(watch, seen.values):
        raise LayoutMattersError
    is_vector, pilot = seen.values.ndim == 1, seen.as_columns()
    c = pilot.values.shape[1]
    refuse_large(counts[0], counts[-1], 1 if traced else c, dtype, memory)
    planned = Planned.of(pilot, parameters)
    of_row = bytes_per_row(pilot.values.device, parameters, planned, dtype)
    size, step = _sizes(of_row, memory / 4, max(counts), c, traced=traced)
    return _Start(planned, is_vector, (size, step, c))


def _needs_given_layout(watch: WatchLayout, outputs: Tensor) -> bool:
    return watch.has_read or has_code_of_a_user(outputs) or has_group_norm(outputs)


def _kernel(asked: _Asked, of: _Rows, *, is_quick: bool = True) -> Tensor:
    """The kernel.

    Args:
        asked: of what.
        of: the rows.
        is_quick: whether gradients may be compared with exact ones at the end, once for all.

    Raises:
        LayoutMattersError: as `_start`.
    """
    model, output, parameters, traced, _ = asked
    counts, start = of.counts(), _start(asked, of)
    size, step, c = start.sizes
    is_quick &= (
        start.planned.seen.are_apart and counts[0] > N_ROWS and (size, step) == (max(counts), c)
    )
    planned = start.planned if is_quick else start.planned.checked(parameters)
    checked: list[Tensor] = []

    def block(which: int, begin: int) -> Block:
        chosen = rows(of.batches[which], begin, begin + size)
        made = make_block(model, chosen, output, parameters, planned, parameter_dtype(parameters))
        refuse_reading(made.seen.reading, *of.former)
        if made.values.shape[1] != c:
            raise InputError(
                f"The model returned {c} outputs for a row first and {made.values.shape[1]} later; "
                "let their number depend neither on the rows nor on how often it was called."
            )
        if which < len(checked):
            refuse_other_values(made.values, checked[which], begin, model.parameters())
        return made

    held: list[Block] = []
    for which, count in enumerate(counts):
        held += [block(which, 0)] if count <= size else []
        seen = held[-1].seen if count <= size else _seen(asked, of, which, start)
        _refuse_mixed(asked, of, which, seen, size, is_compared=is_quick and count > N_ROWS)
        checked.append(seen.values.detach())
    if is_quick and not _are_confirmed(asked, of, held, planned):
        held.clear()
        return _kernel(asked, of, is_quick=False)
    if len(held) == len(counts):
        result = piece_of(held[0], held[-1], step, traced=traced or c == 1)
    else:
        del held
        result = by_blocks(block, counts, start.sizes, traced=traced or c == 1)
    return _arranged(result, start, traced=traced)


def _are_confirmed(asked: _Asked, of: _Rows, held: Sequence[Block], planned: Planned) -> bool:
    """Whether a few rows of each batch have the gradients that they have by themselves."""
    probes = [planned.probe]
    for batch, count in zip(of.batches[1:], of.counts()[1:], strict=True):
        probe = Probe(outputs(asked.model, rows_at(batch, pilot_rows(count)), asked.output))
        probe.compute([], asked.parameters)
        probes.append(probe)
    return all(
        is_confirmed(block, probe, pilot_rows(block.n))
        for block, probe in zip(held, probes, strict=True)
    )


def _seen(asked: _Asked, of: _Rows, which: int, start: _Start) -> Observed:
    """The outputs of a batch that is too large for a block, without their graph."""
    seen = observed_values(asked.model, of.batches[which], asked.output)
    refuse_reading(seen.reading, *of.former)
    of.former.append(seen.reading)
    # What is done only where gradients are recorded was seen in the first rows.
    return seen._replace(are_apart=seen.are_apart and start.planned.seen.are_apart)


def _refuse_mixed(
    asked: _Asked, of: _Rows, which: int, seen: Observed, size: int, *, is_compared: bool
) -> None:
    """Refuse a model that mixes the rows of a batch, or keeps something of them.

    Args:
        asked: of what.
        of: the rows.
        which: of the batches.
        seen: of a call with all its rows.
        size: rows of a block.
        is_compared: whether gradients of these rows are compared later, if they are apart.
    """
    (model, output, *_), batch, apart = asked, of.batches[which], seen.are_apart
    refuse = refuse_other_alone if is_compared and apart else refuse_mixed_rows
    refuse(model, batch, seen.values, output, are_apart=apart, as_given=of.given[which])
    if not seen.values.requires_grad:  # of a batch that is larger than a block
        first = rows(batch, 0, size)
        refuse_mixed_backward(model, first, outputs(model, first, output), output, are_apart=apart)
    if not apart:  # a call after this one may read what this one has kept
        _, after = watched_values(model, rows(batch, 0, 1), output)
        refuse_reading(after, *of.former, seen.reading)


def _arranged(result: Tensor, start: _Start, *, traced: bool) -> Tensor:
    """The kernel with the axes that were asked for."""
    if not traced and start.sizes[2] > 1:
        result = result.permute(0, 2, 1, 3)
    refuse_infinite(result)
    return result if result.ndim == 4 or traced or start.is_vector else result[:, :, None, None]


def _sizes(
    of_row: tuple[float, float], memory: float, n: int, c: int, *, traced: bool
) -> tuple[int, int]:
    """Rows of a block, and outputs at a time.

    Args:
        of_row: bytes of a row: its graph and activations, and what is kept for each output.
        memory: bytes that a block may take.
        n: number of rows.
        c: number of outputs.
        traced: whether equal outputs are summed, so that not all are needed at a time.
    """
    of_graph, of_output = of_row[0], max(of_row[1], 1.0)  # nothing, if no parameter is used
    size = max(1, int(memory / (of_graph + of_output * (1 if traced else c))))
    size = min(size, n)
    return size, min(c, max(1, int(memory / (of_output * size)))) if traced else c
