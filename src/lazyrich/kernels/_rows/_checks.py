"""Is each row of the output one function of its own row of the input alone?

Where the traced program shows it, that holds for all inputs and parameters. Where it does not,
the predictor is run: some rows are changed, and the outputs of the others are compared.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.lax import GatherDimensionNumbers
from jaxtyping import Array, Float, PyTree

from lazyrich._base import InputError
from lazyrich.kernels._equation import Equation

from .._ntk._trace import flatten
from .._ntk._traced_predictor import Traced, equations, operations
from ._dependence import depends_on_own_row_alone
from ._places import LENGTHS, RowLengths, are_alike
from ._rules import Rules
from ._shaping import SHAPING, Numbers

_PLAIN = (bool, int, float, complex, str, np.generic, np.dtype, Enum)
_DRAWING = frozenset({"random_bits", "random_gamma", "rng_bit_generator", "threefry2x32"})
# Of a call into other code the program has the arguments and not what is computed from them,
# and of a backward rule not what it does to sums over rows.
_OPAQUE = frozenset({"custom_vjp_call", "ffi_call", "io_callback", "pure_callback"})

_MIXES = (
    "predict mixes the rows of a batch: the output of one row changes with another row; each row "
    "of the output must depend on its own row alone, so put batch normalisation into inference "
    "mode with stored statistics, and switch dropout off."
)
_COUNTS = (
    "predict computes something else for a row by itself than for the same row in a batch (does it "
    "use a mean over the batch, the place of the row, or a rule with another derivative?); each "
    "row of the output must depend on its own row alone, whatever its place and the number of rows."
)


def check_draws(row: Traced, batch: Traced) -> None:
    """Refuse predictors that draw new random numbers for each row, as dropout does."""

    def drawn(of: Traced) -> int:
        program = flatten(of.closed)
        slots = [s for step in program.steps if step.name in _DRAWING for s in step.outs]
        return sum(int(np.prod(program.shapes[slot].shape)) for slot in slots)

    if drawn(row) != drawn(batch):
        raise InputError(
            "predict draws random numbers for each row of the batch, so its rows are different "
            "functions; switch dropout off, and other noise (inference mode), first."
        )


def is_row_wise(batch: Traced, row: Traced, few: Traced, n_leaves: int) -> bool:
    """Whether the program shows that its rows are independent, and one function.

    Args:
        batch: the predictor on two rows or more.
        row: on one row.
        few: on up to ``N_ROWS`` rows, another number than that of ``batch``.
        n_leaves: how many of the arguments are parameters.
    """
    n_few = few.closed.jaxpr.invars[n_leaves].aval.shape[0]
    if getattr(few.outputs, "shape", None) != (n_few, *batch.outputs.shape[1:]):
        return False  # such as outputs along the first axis
    programs, rules = (row.closed, few.closed, batch.closed), Rules()
    numbers = Numbers(n_few, batch.outputs.shape[0])
    if not are_alike(*programs, numbers) or not _OPAQUE.isdisjoint(operations(few.closed)):
        return False
    of_row, *of_others = (_constants(program, rules) for program in programs)
    if any(found != of_row for found in of_others):
        return False
    if any(not _same_constants(of.captured, row.captured) for of in (few, batch)):
        return False
    lengths = RowLengths(*programs, rules, numbers)
    return depends_on_own_row_alone(few.closed, n_leaves, lengths)


def _constants(closed: jex.ClosedJaxpr, rules: Rules) -> list[str]:
    """The constants of a program in order, some of which may follow from the number of rows.

    Numbers, types and settings of operations except lengths; those of rules for derivatives too.
    """
    found = []
    for eqn in _with_rules(closed, rules):
        # As text, because NaN does not equal NaN.
        found += [repr(atom.val) for atom in eqn.invars if isinstance(atom, jex.Literal)]
        if eqn.primitive.name in SHAPING:
            continue
        for name, value in eqn.params.items():
            if isinstance(value, GatherDimensionNumbers):  # the rest differs where a length is one
                found += [repr(value.collapsed_slice_dims), repr(value.start_index_map)]
            elif name not in LENGTHS and _is_plain(value):
                found.append(repr(value))
        found += [str(getattr(var.aval, "dtype", "")) for var in eqn.outvars]
    return found


def _with_rules(closed: jex.ClosedJaxpr, rules: Rules) -> Iterator[Equation]:
    for eqn in equations(closed.jaxpr):
        yield eqn
        rule = rules.of(eqn)
        if rule is not None:
            yield from equations(rule.jaxpr)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, _PLAIN)


def _same_constants(some: Sequence[PyTree], others: Sequence[PyTree]) -> bool:
    return len(some) == len(others) and all(
        a is b or (not (isinstance(a, Tracer) or isinstance(b, Tracer)) and np.array_equal(a, b))
        for a, b in zip(some, others, strict=True)
    )


class RowChange(NamedTuple):
    """How much outputs change with other rows, as measured.

    Attributes:
        mixing: the largest change of an output with other rows, relative to the largest output.
        counting: the same between a row in the batch and by itself.
    """

    mixing: Float[Array, ""]
    counting: Float[Array, ""]

    def is_mixed(self) -> Array:
        """Whether it is more than rounding."""
        # The same program gives the same rounding; a row by itself is another program.
        eps = float(jnp.finfo(self.mixing.dtype).eps)
        return ~((self.mixing <= eps**0.5) & (self.counting <= eps**0.25))


def check_change(change: RowChange) -> None:
    """Refuse a predictor whose rows change with other rows."""
    if bool(change.is_mixed()):
        eps = float(jnp.finfo(change.mixing.dtype).eps)
        raise InputError(_COUNTS if change.mixing <= eps**0.5 else _MIXES)


def try_rows(
    predict: Callable[[Sequence[Array], Sequence[Array]], Array],
    predict_row: Callable[[Sequence[Array], Sequence[Array]], Array],
    leaves: Sequence[Array],
    inputs: Sequence[Array],
) -> RowChange:
    """Measure how outputs change with other rows, and for rows by themselves.

    Args:
        predict: (leaves, inputs) -> (n,) or (n, c).
        predict_row: the same for one row, of shape (1, ...).
        leaves: the parameter arrays.
        inputs: the input arrays, (n, ...).
    """
    keys = jax.random.split(jax.random.key(0), 3)
    random = [_random_like(key, leaf) for key, leaf in _numbered(keys[0], inputs)]
    more = [_random_like(key, leaf) for key, leaf in _numbered(keys[1], inputs)]
    mixing = jnp.maximum(
        _change(predict, leaves, inputs, random), _change(predict, leaves, random, more)
    )
    moved = [_moved(key, leaf) for key, leaf in _numbered(keys[2], leaves)]

    def alone(leaves: Sequence[Array], inputs: Sequence[Array]) -> Array:
        outputs = jax.vmap(lambda row: predict_row(leaves, [leaf[None] for leaf in row])[0])
        return outputs(list(inputs))

    results, pull = jax.vjp(lambda leaves: predict(leaves, inputs), moved)
    rows, pull_rows = jax.vjp(lambda leaves: alone(leaves, inputs), moved)
    cotangent = jax.random.normal(keys[2], results.shape, results.dtype)
    dtype = mixing.dtype
    gaps = [_gap([results], [rows]), _gap(pull(cotangent)[0], pull_rows(cotangent)[0])]
    return RowChange(mixing, jnp.stack(gaps).max().astype(dtype))


def _numbered(key: Array, leaves: Sequence[Array]) -> Iterator[tuple[Array, Array]]:
    return zip(jax.random.split(key, len(leaves)), leaves, strict=True)


def _random_like(key: Array, leaf: Array) -> Array:
    """Random entries of the type and size of those in an array."""
    if leaf.dtype == bool:
        return jax.random.bernoulli(key, 0.5, leaf.shape)
    if jnp.issubdtype(leaf.dtype, np.integer):
        low, high = jnp.minimum(leaf.min(), 0), jnp.maximum(leaf.max(), 1)
        return jax.random.randint(key, leaf.shape, low, high + 1, leaf.dtype)
    if not jnp.issubdtype(leaf.dtype, np.inexact):
        return jnp.roll(leaf, 1, 0)  # keys of random numbers
    size = jnp.max(jnp.where(jnp.isfinite(leaf), jnp.abs(leaf), 0), initial=0)
    return jnp.where(size > 0, size, 1) * jax.random.normal(key, leaf.shape, leaf.dtype)


def _moved(key: Array, leaf: Array) -> Array:
    """Parameters nearby, since terms may cancel at special values such as zero."""
    size = jnp.sqrt(jnp.mean(jnp.square(leaf)))
    step = 0.1 * jnp.where(size > 0, size, 1)
    return leaf + step.astype(leaf.dtype) * jax.random.normal(key, leaf.shape, leaf.dtype)


def _change(predict: Callable[..., Array], leaves: PyTree, inputs: PyTree, other: PyTree) -> Array:
    """The largest change of outputs with other rows, relative to the largest output.

    For each binary digit, the rows whose number has it are replaced, then those that lack it:
    for any two rows there is a batch in which one is kept and the other replaced. All batches
    run through one compiled loop body, so that for independent rows the change is zero to the
    last bit, even where large terms cancel.
    """
    n = inputs[0].shape[0]
    digits = np.arange(max(1, (n - 1).bit_length()))
    has_digit = (np.arange(n) >> digits[:, None] & 1).astype(bool)
    masks = jnp.asarray(np.concatenate([np.zeros((1, n), bool), has_digit, ~has_digit]))

    def outputs(mask: Array) -> Array:
        return predict(leaves, [_select(mask, b, a) for a, b in zip(inputs, other, strict=True)])

    results = jax.lax.map(outputs, masks)
    here = jnp.broadcast_to(results[0], results.shape)
    kept = ~masks.reshape(*masks.shape, *(1,) * (results.ndim - 2))
    return _relative(jnp.where(kept, results, here), here)


def _select(mask: Array, chosen: Array, rest: Array) -> Array:
    return jnp.where(mask.reshape(-1, *(1,) * (chosen.ndim - 1)), chosen, rest)


def _gap(some: Sequence[Array], others: Sequence[Array]) -> Array:
    flat = [jnp.concatenate([leaf.reshape(-1) for leaf in leaves]) for leaves in (others, some)]
    return _relative(*flat)


def _relative(values: Array, wanted: Array) -> Array:
    """Largest difference over largest value; infinite where a value should be finite and is not."""
    is_finite = jnp.isfinite(wanted)
    wanted = jnp.where(is_finite, wanted, 0)
    change = jnp.where(is_finite, jnp.abs(values - wanted), 0)
    change = jnp.where(jnp.isfinite(change), change, jnp.inf)
    largest = jnp.max(jnp.abs(wanted), initial=0)
    return jnp.max(change, initial=0) / jnp.maximum(largest, jnp.finfo(wanted.dtype).tiny)
