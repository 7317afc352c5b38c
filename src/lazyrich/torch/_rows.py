"""The model as a function of a batch, with one row of outputs per row of inputs."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import PyTree
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lazyrich._base import InputError, kind_of

from ._graph import has_code_of_a_user
from ._kept import called
from ._magnitude import is_finite
from ._row_axis import Reading, watched

# What models raise at inputs that they cannot take; anything else is theirs to raise.
_OF_INPUT = (
    AssertionError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError,
)  # fmt: skip

# Rows on which a plan is made and checked.
N_ROWS = 2

Inputs = PyTree
"""A tensor, a tuple of tensors (positional), or a dict of tensors (by keyword)."""

Output = Callable[[object], Tensor] | None
"""From what the model returns to a tensor (n,) or (n, c); None takes it as it is."""


def batch_of(x: PyTree) -> Inputs:
    """Rows as a batch, with dicts for other mappings, such as what a tokenizer returns."""

    def seen(leaf: PyTree) -> PyTree:
        return batch_of(dict(leaf)) if isinstance(leaf, Mapping) else leaf

    return pytree.tree_map(seen, x)


def n_rows(x: Inputs) -> int:
    """The number of rows of a batch that `require_batch` accepts."""
    return next(len(leaf) for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor))


def require_batch(x: Inputs, name: str = "x") -> int:
    """The common length of the leading axes of a batch that somebody gave.

    Raises:
        InputError: if there is no tensor, no row, if a tensor is not dense or finite, if the
            lengths differ, or inside a transformation.
    """
    if is_transformed():
        raise InputError(
            "A tangent kernel looks at values, which transformations such as torch.func.vmap do "
            "not allow; call it outside of them, on a whole batch."
        )
    tensors = [leaf for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)]
    if not tensors:
        raise InputError(
            f"{name} is {kind_of(x)} without a tensor; give a tensor, a tuple of tensors, "
            "or a dict of tensors by the names of the model's arguments."
        )
    if any(t.is_nested or t.layout != torch.strided for t in tensors):
        raise InputError(f"{name} holds a sparse or nested tensor; give a dense one, padded.")
    lengths = {int(t.shape[0]) if t.ndim else -1 for t in tensors}
    if len(lengths) > 1 or -1 in lengths:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        number = "; give what is one number for all rows as a number, not as a tensor"
        raise InputError(
            f"The tensors of {name} have shapes {shapes}; all of them must have one row for each "
            f"example along the first axis{number if -1 in lengths else ''}."
        )
    if lengths == {0}:
        raise InputError(f"{name} has no rows; give one example or more.")
    for tensor in tensors:
        is_float = tensor.is_floating_point()
        if is_float and not tensor.is_meta and not is_finite(tensor):
            raise InputError(f"{name} holds NaN or infinite entries; remove or repair them first.")
    return lengths.pop()


def is_transformed() -> bool:
    """Whether a transformation of ``torch.func`` is under way, in which no value can be read."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def usable(x: Inputs) -> Inputs:
    """The same batch, with copies of tensors that inference mode made, which have no graph.

    Rows are constants: what they were computed from, which may be the model itself, is no part
    of its gradient, and its graph is the caller's.
    """

    def constant(leaf: PyTree) -> PyTree:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.is_inference():
            return leaf.clone()
        return leaf if leaf.is_leaf else leaf.detach().requires_grad_(leaf.requires_grad)

    return pytree.tree_map(constant, x)


def own(x: Inputs) -> Inputs:
    """Copies of the tensors of a batch, for a model that changes its inputs in place."""
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, x)


def rows(x: Inputs, start: int, stop: int) -> Inputs:
    """Some rows of a batch, of every tensor in it."""
    return pytree.tree_map(lambda leaf: leaf[start:stop] if isinstance(leaf, Tensor) else leaf, x)


def rows_at(x: Inputs, index: Tensor | Sequence[int]) -> Inputs:
    """Rows of a batch by their numbers, of every tensor in it, laid out as they are there."""
    chosen = torch.as_tensor(index, device="cpu")
    return pytree.tree_map(
        lambda leaf: leaf[chosen.to(leaf.device)] if isinstance(leaf, Tensor) else leaf, x
    )


def pilot_rows(n: int) -> list[int]:
    """The first rows of n that are run: the first one, and one from the middle.

    In the batch, the second has another place and other neighbours than among these two, on
    which its output may depend; of few rows they are the first two.
    """
    middle = (n - 1) // 2 | 1
    return [0, middle] if middle > 1 else list(range(min(n, N_ROWS)))


def require_device(x: Inputs, parameters: dict[str, nn.Parameter], name: str = "x") -> None:
    """Refuse inputs on another device than the model, and a model without values.

    Raises:
        InputError: naming both devices.
    """
    _refuse_other_devices(x, parameters, name)
    for one, parameter in parameters.items():
        if parameter.is_meta:
            raise InputError(
                f"The parameter {one!r} is on the device 'meta' and has no values; load them first "
                "(model.to_empty, then load_state_dict)."
            )


def _refuse_other_devices(x: Inputs, parameters: dict[str, nn.Parameter], name: str) -> None:
    devices = {p.device for p in parameters.values()}
    for leaf in pytree.tree_leaves(x):
        if isinstance(leaf, Tensor) and len(devices) == 1 and leaf.device not in devices:
            home = devices.pop()
            todo = f"move it with .to({str(home)!r})"
            if home.type == "meta":  # where nothing has values
                todo = "load the model's values first (model.to_empty, then load_state_dict)"
            raise InputError(f"{name} is on {leaf.device} and the model on {home}; {todo}.")


def outputs(model: nn.Module, x: Inputs, output: Output) -> Tensor:
    """The outputs of a batch as (n, c); c is 1 where they are (n,)."""
    value = given_outputs(model, x, output)
    return value if value.ndim == 2 else value[:, None]


def given_outputs(model: nn.Module, x: Inputs, output: Output) -> Tensor:
    """The outputs of a batch as the model or ``output`` gives them.

    Args:
        model: a module without wrappers.
        x: a batch.
        output: from what the model returns to a tensor.

    Returns:
        Shape (n, c) or (n,).

    Raises:
        InputError: if that is not a real tensor of shape (n,) or (n, c).
    """
    with called(model):
        return _checked(chosen_output(_called(model, x), output), n_rows(x))


def _checked(value: Tensor, n: int) -> Tensor:
    if value.is_nested or value.layout != torch.strided:
        raise InputError(
            "The model returned a sparse or nested tensor; choose dense outputs with output=, such "
            "as output=lambda out: out.to_dense()."
        )
    if n == 1 and value.ndim < 2 and value.shape != (1,):
        value = value[None]  # a model that ends in ``squeeze`` drops the axis of a single row
    if value.ndim not in (1, 2) or len(value) != n or 0 in value.shape:
        raise InputError(
            f"The model returned shape {tuple(value.shape)} for {n} rows; wanted ({n},) or "
            f"({n}, c): choose the outputs that count with output=, such as "
            "output=lambda out: out[:, -1]."
        )
    refuse_no_numbers(value)
    return value


def refuse_no_numbers(value: Tensor) -> None:
    """Refuse outputs that are not floating-point numbers.

    Raises:
        InputError: naming their type.
    """
    if not value.is_floating_point():
        raise InputError(
            f"The model returned {value.dtype} numbers; a tangent kernel needs real outputs "
            "(the logits, not their argmax)."
        )


def values_of(model: nn.Module, x: Inputs, output: Output) -> Tensor:
    """The outputs of a batch, (n, c), without their graph."""
    try:
        with torch.no_grad():
            return outputs(model, x, output)
    except InputError:
        with torch.enable_grad():  # a model that needs a graph, to differentiate inside
            return outputs(model, x, output).detach()


class Observed(NamedTuple):
    """Outputs, and what was seen of the call that made them.

    Attributes:
        values: of a batch.
        are_apart: whether every operation keeps its rows apart.
        reading: of the operations; None if they cannot be seen.
    """

    values: Tensor
    are_apart: bool
    reading: Reading | None

    def as_columns(self) -> "Observed":
        """The same with outputs (n, c)."""
        return self if self.values.ndim == 2 else self._replace(values=self.values[:, None])


def observed_outputs(
    model: nn.Module, x: Inputs, output: Output, *, as_given: bool = False
) -> Observed:
    """The outputs of a batch with their graph, and what was seen of the call.

    Args:
        model: a module without wrappers.
        x: a batch.
        output: as for `outputs`.
        as_given: leave outputs (n,) as they are.
    """
    with called(model):
        made, reading = _watched(lambda: chosen_output(_called(model, x), output), model, x)
    value = _checked(made, n_rows(x))
    # A backward pass that somebody wrote may mix rows that the forward pass keeps apart.
    are_apart = reading is not None and reading.keeps_apart(made)
    are_apart = are_apart and not has_code_of_a_user(value)
    seen = Observed(value, are_apart, reading)
    return seen if as_given else seen.as_columns()


def observed_values(model: nn.Module, x: Inputs, output: Output) -> Observed:
    """As `observed_outputs`, without their graph."""
    try:
        with torch.no_grad():
            return observed_outputs(model, x, output)
    except InputError:
        return Observed(values_of(model, x, output), False, None)


def watched_values(model: nn.Module, x: Inputs, output: Output) -> tuple[Tensor, Reading | None]:
    """As `values_of`, and what was seen of the operations; None if they cannot be seen."""
    return _watched(lambda: values_of(model, x, output), model, x)


def _watched(
    call: Callable[[], Tensor], model: nn.Module, x: Inputs
) -> tuple[Tensor, Reading | None]:
    leaves = [leaf for leaf in pytree.tree_leaves(x) if isinstance(leaf, Tensor)]
    try:
        return watched(call, leaves, [*model.parameters(), *model.buffers()])
    except InputError:  # some models cannot be observed
        return call(), None


def _called(model: nn.Module, x: Inputs) -> PyTree:
    """What the model returns for a batch: a tensor, a tuple of arguments, or named ones."""
    x = own(x)
    with taken(model, x):
        if isinstance(x, dict):
            return model(**x)
        if isinstance(x, list | tuple):
            return model(*x)
        return model(x)


@contextmanager
def taken(model: nn.Module, given: PyTree, *, what: str = "rows") -> Generator[None]:
    """Say in one sentence, of errors that a model raises, that it cannot take what was given."""
    try:
        yield
    except (torch.OutOfMemoryError, InputError):
        raise
    except _OF_INPUT as error:
        wanted = "a tensor, a tuple of arguments or a dict of named ones,"
        wanted = wanted if what == "rows" else "them"
        raise InputError(
            f"The model cannot take these {what} ({said(error)}); give {wanted} in the types and "
            f"shapes that it takes{_other_types(model, given)}."
        ) from error


def _other_types(model: nn.Module, x: Inputs) -> str:
    """In words, that floating-point inputs have another type than the parameters."""
    leaves = [*pytree.tree_leaves(x)]
    given = {t.dtype for t in leaves if isinstance(t, Tensor) and t.is_floating_point()}
    wanted = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if not given or not wanted or given <= wanted:
        return ""
    names = [" and ".join(sorted(str(one) for one in kinds)) for kinds in (given, wanted)]
    return f": they hold {names[0]}, and the parameters {names[1]}"


def chosen_output(made: PyTree, output: Output) -> Tensor:
    """A tensor out of what a model returned.

    Raises:
        InputError: if it is none, or if ``output`` fails.
    """
    value = made if output is None else _chosen(made, output)
    if not isinstance(value, Tensor):
        where = "output= returned" if output is not None else "The model returned"
        raise InputError(
            f"{where} {kind_of(value)}, not a tensor; give "
            "output=lambda out: out.logits (or out[0], out['logits']) to choose one."
        )
    return value


def _chosen(made: PyTree, output: Callable[[object], object]) -> PyTree:
    if not callable(output):
        raise InputError(
            f"output is {kind_of(output)}; give a function from what the model returns to "
            "a tensor, such as output=lambda out: out.logits."
        )
    try:
        return output(made)
    except (torch.OutOfMemoryError, InputError):
        raise
    except Exception as error:  # the function is the user's
        raise InputError(
            f"output= fails on what the model returned, {kind_of(made)} ({said(error)}); "
            "give a function from that to a tensor (n,) or (n, c)."
        ) from error


def said(error: BaseException) -> str:
    """An error's type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
