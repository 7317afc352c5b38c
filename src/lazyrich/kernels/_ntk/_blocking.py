"""The kernel block by block: bounded memory, and half the work if it is symmetric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._contract import contract
from ._factors import Factors, factors, product_dtype
from ._liveness import ENTRYWISE
from ._output_blocks import sum_over_blocks
from ._plan import Plan, multiplies_cotangents_first
from ._work import FREE

# Factors of all rows are kept if they take less than this or a fifth of what is free; else each
# block makes its own again. In powers of two, lest each run has its own rounding.
_FACTOR_BYTES = 512 * 2**20
_SHARE_OF_FREE = 5
# What one backward pass, or one block of the kernel with its temporaries, may take.
_WORK_BYTES = 256 * 2**20
# From this on passes of all outputs at once are slower than a few outputs at a time, whose
# values stay in the cache.
_LARGE_PASS_BYTES = 64 * 2**20
# Rows × outputs of one backward pass where outputs are taken a few at a time: large enough for
# fast matrix products.
_PASS_EXTENT = 64
# Rows × outputs of a block: large enough for fast matrix products, small enough for the
# block to be mirrored and summed while it is in the cache.
_FULL_EXTENT = 512
_TRACED_EXTENT = 512


def _kept_bytes(free: int | None) -> int:
    most = _FACTOR_BYTES
    while free is not None and 2 * most * _SHARE_OF_FREE <= free:
        most *= 2
    return most


@dataclass(frozen=True)
class Layout:
    """How the rows are cut.

    Attributes:
        block_size: the most rows of a block of the kernel.
        chunk_size: rows of one backward pass.
        has_kept_factors: whether the factors of all rows are held at once.
        jacobian_bytes: what the parts of two sets of Jacobians may take, or None.
        pass_outputs: outputs of one backward pass; fewer than all if the kernel of all rows
            is computed for some outputs at a time.
    """

    block_size: int
    chunk_size: int
    has_kept_factors: bool
    jacobian_bytes: int | None
    pass_outputs: int


def make_layout(
    plan: Plan,
    n_rows: int,
    *,
    traced: bool,
    block_size: int | None,
    free: int | None,
    work_bytes: int | None = None,
) -> Layout:
    """Choose the blocks for a number of rows (of both sets together).

    Args:
        plan: the plan.
        n_rows: the number of rows.
        traced: whether to sum over equal outputs.
        block_size: the most rows of a block, or None.
        free: bytes that are free; None if that is not known.
        work_bytes: what everything beside the kernel may take; None takes what is fast.
    """
    part = None if work_bytes is None else max(1, work_bytes // 4)
    program, c = plan.program, plan.n_outputs
    item = product_dtype(program).itemsize
    row_bytes = _factor_bytes(plan, c)
    work = _WORK_BYTES if part is None else min(_WORK_BYTES, part)
    block_work = _WORK_BYTES if part is None else min(_WORK_BYTES, part)
    pass_bytes = _pass_bytes(plan, c) + row_bytes
    chunk = max(1, work // max(1, pass_bytes))
    if block_size is not None:
        chunk = min(chunk, block_size)
        block = block_size
    else:
        extent = _TRACED_EXTENT if traced else max(1, _FULL_EXTENT // c)
        widest = max(1, int((block_work / (item * _pair_numbers(plan, traced))) ** 0.5))
        block = min(extent, widest)
    is_large = n_rows > chunk or n_rows * pass_bytes > _LARGE_PASS_BYTES
    if traced and is_large and n_rows <= block:
        few = _pass_outputs(plan, n_rows, work)
        if few < c:
            return Layout(block, n_rows, True, part, few)
    most = _kept_bytes(free) if part is None else part
    kept = n_rows * row_bytes <= most
    if not kept:
        block = min(block, max(1, most // (2 * row_bytes)))
    return Layout(block, chunk, kept, part, c)


def _pass_outputs(plan: Plan, n_rows: int, most: int) -> int:
    """Outputs for which one backward pass of all rows is made; all if that does not help.

    The patches of convolutions are the same for all outputs, and too many to be read again
    for each; so are what pairs of rows hold if they are more than what the passes write.
    """
    c = plan.n_outputs
    few = min(c, max(1, _PASS_EXTENT // n_rows))
    few = max(k for k in range(1, few + 1) if c % k == 0)
    item = product_dtype(plan.program).itemsize
    read_again = n_rows * (c // few) * _pair_numbers(plan, True) * item
    if plan.has_convolutions or read_again > _pass_bytes(plan, c):
        return c
    taken = n_rows * (_pass_bytes(plan, few) + _factor_bytes(plan, few))
    return few if taken <= most else c


def blocked_kernel(
    plan: Plan,
    leaves: Sequence[Array],
    x: Array,
    x2: Array | None,
    *,
    traced: bool,
    layout: Layout,
) -> Array:
    """The kernel of the rows of ``x`` against those of ``x2`` (or against themselves).

    Args:
        plan: the plan of the predictor.
        leaves: the parameter arrays.
        x: rows, (n, ...).
        x2: other rows, (m, ...), or None.
        traced: whether to sum over equal outputs.
        layout: how the rows are cut.

    Returns:
        Θ, (n, m) if traced, else (n, m, c, c).
    """
    if layout.pass_outputs < plan.n_outputs:
        return _over_outputs(plan, leaves, x, x2, layout)
    other = x if x2 is None else x2
    sizes = (_even(len(x), layout.block_size), _even(len(other), layout.block_size))
    shape = (len(x), len(other)) + (() if traced else (plan.n_outputs,) * 2)
    dtype = plan.program.shapes[plan.program.outputs[0]].dtype
    # Traced once, however often blocks make factors anew.
    make = jax.jit(lambda leaves, rows: _chunked_factors(plan, leaves, rows, layout.chunk_size))
    made = partial(make, list(leaves))
    left = _source(plan, made, x, sizes[0], layout)
    right = left if x2 is None else _source(plan, made, x2, sizes[1], layout)

    def block(held: Factors, b: int | Array) -> Array:
        value = contract(plan, held, right(b), traced=traced, jacobian_bytes=layout.jacobian_bytes)
        wanted = (*sizes, *shape[2:])
        value = jnp.broadcast_to(jnp.zeros((), dtype) if value is None else value, wanted)
        return value.astype(dtype)

    if shape[:2] == sizes:
        return block(left(0), 0)
    rows = _once_in_a_row(left) if not layout.has_kept_factors else _at_each_block(left)
    return _fill(block, rows, jax.ShapeDtypeStruct(shape, dtype), sizes, is_symmetric=x2 is None)


def _over_outputs(
    plan: Plan, leaves: Sequence[Array], x: Array, x2: Array | None, layout: Layout
) -> Array:
    """The traced kernel, summed over blocks of outputs; all rows at once."""

    def kernel(basis: Array, given: PyTree) -> Array:
        leaves, x, x2 = given
        left = factors(plan, leaves, x, basis)
        right = left if x2 is None else factors(plan, leaves, x2, basis)
        value = contract(plan, left, right, traced=True, jacobian_bytes=layout.jacobian_bytes)
        value = jnp.zeros(()) if value is None else value
        return jnp.broadcast_to(value, (len(x), len(x if x2 is None else x2)))

    c, dtype = plan.n_outputs, plan.program.shapes[plan.program.outputs[0]].dtype
    blocks = jnp.eye(c, dtype=dtype).reshape(-1, layout.pass_outputs, c)
    return sum_over_blocks(kernel, blocks, (list(leaves), x, x2)).astype(dtype)


class _Rows(NamedTuple):
    """The left factors of the blocks: those at the start, and those of a later block.

    They are made anew only where a new row of blocks begins, if they are made and not cut
    out of kept ones.
    """

    start: PyTree
    of: Callable[[PyTree, Array, Array], tuple[PyTree, Factors]]


def _at_each_block(left: Callable[[Array], Factors]) -> _Rows:
    return _Rows((), lambda held, a, begins: (held, left(a)))


def _once_in_a_row(left: Callable[[Array], Factors]) -> _Rows:
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(left, 0))

    def of(held: Factors, a: Array, begins: Array) -> tuple[Factors, Factors]:
        held = jax.lax.cond(begins, left, lambda _: held, a)
        return held, held

    return _Rows(zeros, of)


def _fill(
    block: Callable[[Factors, Array], Array],
    rows: _Rows,
    kernel: jax.ShapeDtypeStruct,
    sizes: tuple[int, int],
    *,
    is_symmetric: bool,
) -> Array:
    """Fill a kernel block by block, of a symmetric one only half and its mirror image.

    The last blocks overlap their neighbours rather than being shorter; what is written
    twice is the same.
    """
    starts = [_starts(n, size) for n, size in zip(kernel.shape[:2], sizes, strict=True)]
    pairs = [(a, b) for a in starts[0] for b in starts[1] if not is_symmetric or a <= b]
    chosen = jnp.asarray(pairs)
    begins = jnp.asarray([k == 0 or pairs[k - 1][0] != a for k, (a, _) in enumerate(pairs)])
    rest = (0,) * (len(kernel.shape) - 2)

    def put(k: Array, state: tuple[Array, PyTree]) -> tuple[Array, object]:
        filled, held = state
        a, b = chosen[k, 0], chosen[k, 1]
        held, factors = rows.of(held, a, begins[k])
        value = block(factors, b)
        if is_symmetric:
            mirrored = value.transpose(1, 0, *reversed(range(2, value.ndim)))
            filled = jax.lax.dynamic_update_slice(filled, mirrored, (b, a, *rest))
        return jax.lax.dynamic_update_slice(filled, value, (a, b, *rest)), held

    start = jnp.zeros(kernel.shape, kernel.dtype), rows.start
    return jax.lax.fori_loop(0, len(pairs), put, start)[0]


def _even(n: int, most: int) -> int:
    """Rows of a block if n rows are cut evenly into blocks of at most ``most``."""
    return -(-n // -(-n // most))


def _starts(n: int, size: int) -> list[int]:
    return [min(start, n - size) for start in range(0, n, size)]


def _source(
    plan: Plan, made: Callable[[Array], Factors], rows: Array, size: int, layout: Layout
) -> Callable[[int | Array], Factors]:
    """Where a block's factors come from: kept ones, or a new backward pass."""
    if layout.has_kept_factors:
        kept = made(rows)
        if size == len(rows):
            return lambda start: kept
        return lambda start: _map_rows(
            plan, lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), kept
        )
    return lambda start: made(jax.lax.dynamic_slice_in_dim(rows, start, size))


def _chunked_factors(plan: Plan, leaves: Sequence[Array], rows: Array, chunk: int) -> Factors:
    n = len(rows)
    if n <= chunk:
        return factors(plan, leaves, rows)
    chunk = _even(n, chunk)
    n_chunks = -(-n // chunk)
    padding = jnp.repeat(rows[-1:], n_chunks * chunk - n, axis=0)
    chunks = jnp.concatenate([rows, padding]).reshape(n_chunks, chunk, *rows.shape[1:])
    stacked = jax.lax.map(lambda part: factors(plan, leaves, part), chunks)
    joined = _map_rows(plan, lambda a: a.reshape(-1, *a.shape[2:])[:n], stacked)
    # What is the same for every row was made once for each chunk.
    return _map_constants(plan, lambda a: a[0], joined)


def _map_rows(plan: Plan, function: Callable[[Array], Array], given: Factors) -> Factors:
    """Apply a function to the factors that have a row axis."""
    return _map(plan, function, lambda a: a, given)


def _map_constants(plan: Plan, function: Callable[[Array], Array], given: Factors) -> Factors:
    """Apply a function to the factors that have no row axis."""
    return _map(plan, lambda a: a, function, given)


def _map(
    plan: Plan,
    rows: Callable[[Array], Array],
    constants: Callable[[Array], Array],
    given: Factors,
) -> Factors:
    cotangents = tuple(
        constants(a) if group.is_constant else rows(a)
        for group, a in zip(plan.groups, given.cotangents, strict=True)
    )
    jacobians = tuple(
        constants(a) if is_constant else rows(a)
        for is_constant, a in zip(plan.constant, given.jacobians, strict=True)
    )
    rest = (given.activations, given.weights, given.bottlenecks)
    activations, weights, narrow = jax.tree.map(rows, rest)
    return Factors(cotangents, activations, weights, jacobians, narrow)


def _factor_bytes(plan: Plan, c: int) -> int:
    """Bytes of the factors of one row and c outputs."""
    shapes = plan.program.shapes
    count = sum(c * int(np.prod(shapes[plan.program.inputs[p]].shape)) for p in plan.explicit)
    for group in plan.groups:
        count += c * group.n_batches * group.n_positions * group.n_units
        for member in group.members:
            count += group.n_batches * group.n_positions * (member.n_inner or member.depth())
    for group in plan.formed:
        count += c * group.n_batches * group.n_units * group.members[0].n_inner
    for way in plan.bottlenecks:
        # The derivative on all other ways is held for a moment.
        count += c * (2 * way.size + int(np.prod(shapes[plan.program.inputs[way.param]].shape)))
    return count * product_dtype(plan.program).itemsize


def _pass_bytes(plan: Plan, c: int) -> int:
    """Bytes that the forward and c backward passes of one row take for a while."""
    program = plan.program
    rowwise = program.depends_on(program.inputs[-1:])
    sizes = {slot: int(np.prod(program.shapes[slot].shape)) for slot in rowwise}
    kept: set[int] = set()
    for step in program.steps:
        if step.name not in ENTRYWISE and step.name not in FREE:
            kept.update(slot for slot in (*step.ins, *step.outs) if slot in rowwise)
    groups = (*plan.groups, *plan.formed)
    cotangents = sum(sizes.get(tap.slot, 0) for group in groups for tap in group.taps)
    patches = [g.n_batches * g.n_positions * m.n_inner for g in plan.formed for m in g.members]
    count = sum(sizes[slot] for slot in kept) + 2 * max(patches, default=0)
    count += c * (cotangents + 3 * max(sizes.values(), default=0))
    return count * product_dtype(program).itemsize


def _pair_numbers(plan: Plan, traced: bool) -> int:
    """Temporary numbers for each pair of rows in a block."""
    c = 1 if traced else plan.n_outputs
    count = c * c
    for group in plan.groups:
        batches, positions = group.n_batches, group.n_positions
        count += c * c
        if group.forms_jacobians:
            continue
        count += batches * positions**2
        if traced or group.is_plain or group.is_constant:
            continue
        if multiplies_cotangents_first(group, c):
            count += c * c * batches * positions**2
        else:
            count += c * batches * positions * group.n_units
    for cross in plan.crosses:
        k, q = cross.left[0], cross.right[0]
        pairs = plan.groups[k].n_positions * plan.groups[q].n_positions
        count += pairs * (2 * plan.n_outputs if cross.overlap.is_turned else c * c) + c * c
    return count


def work_bytes(plan: Plan, layout: Layout, n: int, m: int, *, traced: bool) -> int:
    """Bytes that one block of an n × m kernel and its temporaries take."""
    pairs = min(layout.block_size, n) * min(layout.block_size, m)
    return pairs * _pair_numbers(plan, traced) * product_dtype(plan.program).itemsize


def layout_bytes(plan: Plan, layout: Layout, n_rows: int, *, traced: bool) -> int:
    """An estimate of all that is held at once beside the kernel."""
    held = n_rows if layout.has_kept_factors else 2 * min(layout.block_size, n_rows)
    block = work_bytes(plan, layout, n_rows, n_rows, traced=traced)
    c = layout.pass_outputs
    passes = min(layout.chunk_size, n_rows) * _pass_bytes(plan, c)
    return held * _factor_bytes(plan, c) + passes + block
