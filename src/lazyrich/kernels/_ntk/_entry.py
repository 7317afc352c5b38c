"""The empirical neural tangent kernel, exact and fast, of any predictor."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lazyrich._base import Params, Predictor, full_precision, memory_size

from .._checks import require_block_size
from .._finite import check_finite
from .._inputs import Inputs, as_parameters
from .._memory import free_bytes, require_room
from .._parameters import is_moving
from .._predictor_call import Arrays, PredictorCall, is_concrete, predictor_call
from .._rows._checks import RowChange, check_change, check_draws
from ._blocking import blocked_kernel, layout_bytes, make_layout, work_bytes
from ._budget import DEFAULT_SHARE, Budget, NoRoomError, budgets, refusal
from ._explain import Explanation, explanation
from ._planner import make_plan, with_jacobians_alone
from ._prediction import predicted
from ._program_key import Cache
from ._rates import are_measured, current_rates
from ._sharing import device_of, free_devices, shared_kernel
from ._work import Rates


@full_precision
def ntk(
    predict: Predictor,
    params: Params,
    x: Inputs,
    x2: Inputs | None = None,
    *,
    trace_outputs: bool = False,
    block_size: int | None = None,
    memory: str | int | None = None,
) -> Float[Array, "n m"] | Float[Array, "n m c c"]:
    """The empirical neural tangent kernel Θ[i, j, a, b] = ∇f_a(x_i) · ∇f_b(x′_j).

    The gradient is with respect to all parameters at their present values. The result is
    exact, not an estimate, and is **not** divided by the number of outputs (some
    libraries divide the traced kernel by c).

    Gradients are seldom formed. The predictor is traced, and where a parameter enters
    through a dense contraction, a table lookup or an addition, the cotangents g of the
    value it enters and the activations h there are contracted, (g·g′)∘(h·h′). A parameter
    that enters in any other way has its Jacobian formed, that parameter alone;
    `explain_ntk` lists the method of each. Works under ``jit``, ``vmap`` and ``grad``.
    The predictor is traced at each call, so it may have changed since the last one (a
    ``jax.jit`` is traced once, because JAX takes it for unchanging, which saves that time).
    Called with concrete arrays the kernel is compiled once for each traced program, whatever
    function it came from, and shares the rows among the local devices.

    Args:
        predict: a predictor; each row of its output must depend on its own row of the
            input alone.
        params: θ, any pytree of arrays. Integer arrays count as constants. Running statistics
            and other state are no parameters: leave them to ``predict``.
        x: n rows: an array (n, ...), what converts to one (lists, data frames, tensors), or
            a tuple or dict of arrays with n rows each.
        x2: m other rows; None means the rows of ``x``, and half of the work.
        trace_outputs: whether to sum over equal outputs, Σ_a Θ[i, j, a, a].
        block_size: rows for which the kernel and its temporaries are computed at once;
            None chooses it so that they stay within a few hundred megabytes.
        memory: bytes, or text such as "2GiB", within which the compiled program stays. What
            counts is what XLA says that the program takes for its temporaries and its
            result, before it runs; the inputs, what tracing and compiling take, and Python
            itself come on top (some hundred megabytes). The kernel is cut into smaller
            blocks of rows, units and outputs until it fits. Under ``jit``, where there is no
            compiled program yet, it is aimed at by an estimate. None takes what is fast, and
            where that is estimated to take more than three quarters of the memory that is
            free, those three quarters are the budget.

    Returns:
        Θ of shape (n, m, c, c); of shape (n, m) if traced or if ``predict`` returns
        (n,). In squared output units over squared parameter units, of the dtype of the
        output. Zero if no parameter reaches the output. Symmetric and positive
        semidefinite (as an nc × nc matrix) if ``x2`` is None.

    Raises:
        InputError: if the predictor does not return (n,) or (n, c) real numbers, if it
            mixes rows or draws random numbers for each row, if the parameters hold
            something else than trainable arrays, if ``block_size`` is below one, if the
            kernel does not fit the memory, free or given, or if it is not finite. Under
            ``jit``, where values cannot be looked at, the kernel of a predictor that mixes
            rows is NaN.

    Example:
        >>> x = jnp.array([[1.0, 2.0], [3.0, 0.0]])
        >>> ntk(lambda weights, x: x @ weights, jnp.zeros(2), x).tolist()
        [[5.0, 3.0], [3.0, 9.0]]
        >>> ntk(lambda weights, x: x @ weights, jnp.zeros((2, 3)), x).shape
        (2, 2, 3, 3)

    References:
        Kumar et al. (2024), Eq. 2, which includes the output scale α². Novak et al.
        (2022), "Fast finite width neural tangent kernel", for the structure.
    """
    require_block_size(block_size)
    most = None if memory is None else memory_size(memory)
    call = predictor_call(predict, params, x, x2)
    fixed = _Fixed(trace_outputs, block_size, free_devices(call.arrays), current_rates())
    _require_room_for_kernel(call, is_traced=trace_outputs)
    with call.needs_derivative():
        kernel, total, change = _within(call, fixed, most)
    if not is_concrete(kernel):
        return kernel if change is None else jnp.where(change.is_mixed(), jnp.nan, kernel)
    if change is not None:
        check_change(change)
    check_finite(kernel, total, call)
    return kernel


def _within(
    call: PredictorCall, fixed: "_Fixed", most: int | None
) -> tuple[Array, Array, RowChange | None]:
    """As `_computed`, within the memory given; without one, within what is free if need be."""
    if most is not None:
        fixed = _fixed_within(call, fixed, most)
    try:
        return _computed(call, fixed)
    except NoRoomError:
        free = free_bytes(device_of(call.arrays)) or 1
        return _computed(call, _fixed_within(call, fixed, max(1, int(DEFAULT_SHARE * free))))


def _computed(call: PredictorCall, fixed: "_Fixed") -> tuple[Array, Array, RowChange | None]:
    if call.arrays.are_concrete:
        return _compiled(call, fixed)(call)
    return _kernel(call, fixed, call.is_row_wise(), call.arrays)


@full_precision
def explain_ntk(
    predict: Predictor,
    params: Params,
    x: Inputs,
    *,
    trace_outputs: bool = False,
) -> Explanation:
    """How `ntk` would treat each parameter array, and what that costs.

    Nothing is computed but the plan, which is the one that takes the least time by the
    rates of the device (`measure_rates`). Costs count multiplications for each pair of rows;
    the predicted seconds and bytes are of the whole computation with its backward passes.
    They are estimates, made from the trace before XLA compiles it; seconds are mostly within
    a factor of two.

    Args:
        predict: a predictor.
        params: θ, any pytree of arrays.
        x: the rows for which seconds and bytes are predicted; for the ways one is enough.
        trace_outputs: whether the traced kernel is meant.

    Returns:
        One way for each parameter array; printed, it is a table.

    Raises:
        InputError: as `ntk`.

    Example:
        >>> params = {"gain": jnp.ones(3), "weights": jnp.ones((3, 2))}
        >>> layer = lambda params, x: (params["gain"] * x) @ params["weights"]
        >>> ways = explain_ntk(layer, params, jnp.ones((1, 3)))
        >>> ways["['weights']"].kind, ways["['gain']"].kind
        ('contraction', 'jacobian')
    """
    call = predictor_call(predict, params, x)
    check_draws(call.row, call.batch)
    summed = trace_outputs or call.n_outputs in (None, 1)
    row_predict, rows, _ = _on_single_rows(call, call.arrays)
    arrays, rates = call.arrays.leaves, current_rates()
    with call.needs_derivative():
        plan = make_plan(
            row_predict, arrays, rows[0], traced=summed, n_rows=call.n_rows, rates=rates
        )
        free = free_bytes(device_of(call.arrays))
        predict_time = partial(
            predicted, leaves=arrays, rows=rows, rates=rates, traced=summed, free=free
        )
        times = predict_time(plan), predict_time(with_jacobians_alone(plan))
    leaves = jax.tree_util.tree_leaves_with_path(as_parameters(params))
    moves = is_moving([leaf for _, leaf in leaves])
    named = [
        (jax.tree_util.keystr(path) or "params", np.shape(leaf), moves[k])
        for k, (path, leaf) in enumerate(leaves)
    ]
    return explanation(
        plan,
        named,
        times,
        traced=summed,
        n_rows=call.n_rows,
        has_measured_rates=are_measured(),
    )


Made = TypeVar("Made")


class _Fixed(NamedTuple):
    """What a compiled kernel is compiled for, besides the program."""

    is_traced: bool
    block_size: int | None
    devices: tuple[jax.Device, ...]
    rates: Rates
    budget: Budget | None = None


class _Compiled:
    """The compiled kernel of all predictors that are one program.

    It keeps nothing of the predictor, whose program is at hand at each call.
    """

    def __init__(self, fixed: _Fixed, is_row_wise: bool) -> None:
        self._fixed, self._is_row_wise = fixed, is_row_wise
        self._now = threading.local()
        self._run = jax.jit(lambda arrays: self._now.kernel(arrays))
        self._measured: jax.stages.Compiled | None = None

    def __call__(self, call: PredictorCall) -> tuple[Array, Array, RowChange | None]:
        run = self._run if self._measured is None else self._measured
        return self._with(call, run)

    def bytes_taken(self, call: PredictorCall) -> int:
        """What the compiled program takes beside its inputs."""
        compiled = self._measured
        if compiled is None:
            compiled = self._with(call, lambda arrays: self._run.lower(arrays).compile())
            self._measured = compiled
        found = compiled.memory_analysis()
        if found is None:  # a device that does not say: then the budget is aimed at
            return 0
        return found.temp_size_in_bytes + found.output_size_in_bytes

    def _with(self, call: PredictorCall, do: Callable[[Arrays], Made]) -> Made:
        self._now.kernel = partial(_kernel, call, self._fixed, self._is_row_wise)
        try:
            return do(call.arrays)
        finally:
            self._now.kernel = None


def _fixed_within(call: PredictorCall, fixed: _Fixed, memory: int) -> _Fixed:
    """The largest pieces with which the compiled kernel stays within a number of bytes."""
    size = _kernel_bytes(call, is_traced=fixed.is_traced)
    summed = fixed.is_traced or call.n_outputs in (None, 1)
    least = None
    for budget in budgets(memory, size, call.n_outputs or 1, summed=summed):
        tried = fixed._replace(budget=budget)
        if not call.arrays.are_concrete:
            if budget.work > memory:  # more than the estimate, which only measuring allows
                continue
            return tried
        taken = _compiled(call, tried).bytes_taken(call)
        if taken <= memory:
            return tried
        least = taken if least is None else min(least, taken)
    assert least is not None
    raise refusal(memory, least)


_COMPILED = Cache(128)


def _compiled(call: PredictorCall, fixed: _Fixed) -> _Compiled:
    """The compiled kernel of this program."""
    is_row_wise = call.is_row_wise()
    if call.key is None:
        return _Compiled(fixed, is_row_wise)
    key = call.key, fixed, is_row_wise
    return _COMPILED.get(key, lambda: _Compiled(fixed, is_row_wise))


def _kernel(
    call: PredictorCall, fixed: _Fixed, is_row_wise: bool, arrays: Arrays
) -> tuple[Array, Array, RowChange | None]:
    """The kernel, its sum, and what trying rows has shown where the program did not."""
    # With one output the full kernel is the traced one, which is simpler to compute.
    summed = fixed.is_traced or call.n_outputs in (None, 1)
    row_predict, x, x2 = _on_single_rows(call, arrays)
    n_blocks = 1 if fixed.budget is None else fixed.budget.n_output_blocks
    kernel_of = partial(_kernel_of_outputs, call, fixed, arrays.leaves, (x, x2), summed=summed)
    if n_blocks == 1:
        kernel = kernel_of(row_predict)
    else:
        kernel = _over_output_blocks(kernel_of, row_predict, call.n_outputs or 1, n_blocks)
    if call.n_outputs == 1 and not fixed.is_traced:
        kernel = kernel[:, :, None, None]
    return kernel, kernel.sum(), None if is_row_wise else call.try_rows(arrays)


def _kernel_of_outputs(
    call: PredictorCall,
    fixed: _Fixed,
    leaves: Sequence[Array],
    rows: tuple[Array, Array | None],
    row_predict: Callable[[Sequence[Array], Array], Array],
    *,
    summed: bool,
) -> Array:
    """The kernel of all outputs of a predictor of single rows."""
    x, x2 = rows
    n_rows = len(x) + (0 if x2 is None else len(x2))
    one_side = n_rows if x2 is None else -(-n_rows // 2)
    plan = make_plan(row_predict, leaves, x[0], traced=summed, n_rows=one_side, rates=fixed.rates)
    free = free_bytes(device_of(call.arrays))
    layout = make_layout(
        plan,
        n_rows,
        traced=summed,
        block_size=fixed.block_size,
        free=free,
        work_bytes=None if fixed.budget is None else fixed.budget.work,
    )
    is_free = fixed.budget is None and fixed.block_size is None and free is not None
    most = DEFAULT_SHARE * free if is_free else np.inf
    if layout_bytes(plan, layout, n_rows, traced=summed) > most:
        raise NoRoomError
    work = work_bytes(plan, layout, call.n_rows, call.n_query, traced=summed)
    require_room(work, "One block of the kernel", device_of(call.arrays), "make block_size smaller")
    compute = partial(blocked_kernel, plan, traced=summed, layout=layout)
    if len(fixed.devices) == 1:
        return compute(leaves, x, x2)
    return shared_kernel(compute, fixed.devices, leaves, x, x if x2 is None else x2)


def _over_output_blocks(
    kernel_of: Callable[[Callable[[Sequence[Array], Array], Array]], Array],
    row_predict: Callable[[Sequence[Array], Array], Array],
    n_outputs: int,
    n_blocks: int,
) -> Array:
    """A kernel summed over outputs, of some outputs at a time; zeros fill the last block."""
    size = -(-n_outputs // n_blocks)
    missing = n_blocks * size - n_outputs

    def add(kernel: Array | float, start: Array) -> Array:
        def some_outputs(leaves: Sequence[Array], row: Array) -> Array:
            padded = jnp.pad(row_predict(leaves, row), (0, missing))
            return jax.lax.dynamic_slice_in_dim(padded, start, size)

        return kernel + kernel_of(some_outputs)

    starts = size * jnp.arange(n_blocks)
    zeros = jax.eval_shape(lambda: add(0.0, starts[0]))
    return jax.lax.fori_loop(
        0, n_blocks, lambda k, kernel: add(kernel, starts[k]), jnp.zeros(zeros.shape, zeros.dtype)
    )


def _on_single_rows(
    call: PredictorCall, arrays: Arrays
) -> tuple[Callable[[Sequence[Array], Array], Array], Array, Array | None]:
    """The predictor on one row, and the rows; rows of several arrays go by their number."""
    predict_row = call.row_function(arrays.row_constants)
    if len(arrays.rows) == 1:
        x2 = None if arrays.query is None else arrays.query[0]
        return lambda leaves, row: predict_row(leaves, [row]), arrays.rows[0], x2
    n, tables = call.n_rows, arrays.rows
    if arrays.query is not None:
        pairs = zip(arrays.rows, arrays.query, strict=True)
        tables = [jnp.concatenate(pair) for pair in pairs]
    numbers = jnp.arange(len(tables[0]))
    return (
        lambda leaves, number: predict_row(leaves, [table[number] for table in tables]),
        numbers[:n],
        None if arrays.query is None else numbers[n:],
    )


def _require_room_for_kernel(call: PredictorCall, *, is_traced: bool) -> None:
    """Refuse a kernel that does not fit."""
    n, m, c = call.n_rows, call.n_query, call.n_outputs or 1
    size = _kernel_bytes(call, is_traced=is_traced)
    outputs = f" with {c}² entries each" if c > 1 and not is_traced else ""
    what = f"A kernel of {n} × {m} rows{outputs}"
    require_room(size, what, device_of(call.arrays))


def _kernel_bytes(call: PredictorCall, *, is_traced: bool) -> int:
    entries = 1 if is_traced else (call.n_outputs or 1) ** 2
    return call.n_rows * call.n_query * entries * np.dtype(call.dtype).itemsize
