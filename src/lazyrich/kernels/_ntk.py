"""The empirical neural tangent kernel, exact and fast, of any predictor."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Num

from lazyrich._ground import InputError, Params, Predictor

from ._checks import output_struct, split_params
from ._ntk_checks import (
    check_draws,
    check_result,
    checked_inputs,
    is_concrete,
    row_function,
    row_mixing,
)
from ._ntk_explain import Explanation, explanation
from ._structured import make_plan
from ._structured_blocks import blocked_kernel, make_layout


def ntk(
    predict: Predictor,
    params: Params,
    x: Num[Array, "n ..."],
    x2: Num[Array, "m ..."] | None = None,
    *,
    trace_outputs: bool = False,
    block_size: int | None = None,
) -> Float[Array, "n m"] | Float[Array, "n m c c"]:
    """The empirical neural tangent kernel Θ[i, j, a, b] = ∇f_a(x_i) · ∇f_b(x′_j).

    The gradient is with respect to all parameters at their present values. The result is
    exact, not an estimate, and is **not** divided by the number of outputs (some
    libraries divide the traced kernel by c).

    Gradients are seldom formed. The predictor is traced, and where a parameter enters
    through a dense contraction, a table lookup or an addition, the cotangents g of the
    value it enters and the activations h there are contracted, (g·g′)∘(h·h′). A parameter
    that enters in any other way has its Jacobian formed, that parameter alone;
    `explain_ntk` tells which went which way. Works under ``jit``, ``vmap`` and ``grad``.
    Called with concrete arrays it compiles itself once for each ``predict`` (the same
    function object: do not pass a new lambda in each turn of a loop) and shares the rows
    among the local devices.

    Args:
        predict: a predictor; each row of its output must depend on its own row of the
            input alone.
        params: θ, any pytree of arrays. Integer arrays count as constants.
        x: n rows.
        x2: m other rows; None means the rows of ``x``, and half of the work.
        trace_outputs: whether to sum over equal outputs, Σ_a Θ[i, j, a, a].
        block_size: rows for which the kernel and its temporaries are computed at once;
            None chooses it so that they stay within a few hundred megabytes.

    Returns:
        Θ of shape (n, m, c, c); of shape (n, m) if traced or if ``predict`` returns
        (n,). In squared output units over squared parameter units, of the dtype of the
        output. Zero if no parameter reaches the output. Symmetric and positive
        semidefinite (as an nc × nc matrix) if ``x2`` is None.

    Raises:
        InputError: if the predictor does not return (n,) or (n, c) real numbers, if it
            mixes rows or draws random numbers for each row, if the parameters hold
            something else than arrays, if ``block_size`` is below one, or if the kernel is
            not finite. Mixing and finiteness are checked for concrete arrays only.

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
    if block_size is not None and block_size < 1:
        raise InputError(f"block_size is {block_size}; it must be one row or more, or None.")
    leaves, treedef, n_outputs, x, x2 = _prepare(predict, params, x, x2)
    fixed = _Fixed(treedef, n_outputs, trace_outputs, block_size, _devices(leaves, x, x2))
    if all(is_concrete(value) for value in (*leaves, x, x2) if value is not None):
        # A predictor can itself hold arrays (a linearised twin does): those are data of
        # the compiled function, the rest of it is part of the function.
        parts, structure = jax.tree.flatten(predict)
        arrays = [part if is_concrete(part) else None for part in parts]
        rest = tuple(None if is_concrete(part) else part for part in parts)
        kernel, mixing = _compiled(structure, rest, fixed, arrays, leaves, x, x2)
    else:
        kernel, mixing = _kernel(predict, fixed, leaves, x, x2)
    check_result(kernel, mixing)
    return kernel


def explain_ntk(
    predict: Predictor,
    params: Params,
    x: Num[Array, "n ..."],
    *,
    trace_outputs: bool = False,
) -> Explanation:
    """How `ntk` would treat each parameter array, and what that costs.

    Nothing is computed but the plan. Costs count multiplications for each pair of rows;
    the backward passes, which grow with the number of rows only, are left out.

    Args:
        predict: a predictor.
        params: θ, any pytree of arrays.
        x: rows; one is enough.
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
    leaves, treedef, n_outputs, x, _ = _prepare(predict, params, x, None)
    check_draws(predict, treedef, leaves, x[0])
    traced = trace_outputs or n_outputs in (None, 1)
    plan = make_plan(row_function(predict, treedef, n_outputs), leaves, x[0], traced=traced)
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    names = [jax.tree_util.keystr(path) or "params" for path, _ in paths]
    return explanation(plan, names, traced=traced)


class _Fixed(NamedTuple):
    """What a compiled kernel is compiled for."""

    treedef: Any
    n_outputs: int | None
    is_traced: bool
    block_size: int | None
    devices: tuple[Any, ...]


def _prepare(
    predict: Predictor, params: Params, x: Any, x2: Any
) -> tuple[list[Array], Any, int | None, Array, Array | None]:
    """Check the input: parameter arrays, their structure, the number of outputs, rows."""
    split_params(params)
    leaves, treedef = jax.tree.flatten(params)
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    outputs = output_struct(predict, treedef.unflatten(leaves), x)
    if 0 in outputs.shape:
        raise InputError(f"The predictor returned shape {outputs.shape}; it has no outputs.")
    x, x2 = checked_inputs(x, x2)
    return leaves, treedef, (outputs.shape[1] if outputs.ndim == 2 else None), x, x2


def _kernel(
    predict: Predictor, fixed: _Fixed, leaves: Sequence[Array], x: Array, x2: Array | None
) -> tuple[Array, Array]:
    """The kernel, and how much the predictor mixes rows."""
    treedef, n_outputs, traced, block_size, devices = fixed
    check_draws(predict, treedef, leaves, x[0])
    # With one output the full kernel is the traced one, which is simpler to compute.
    is_single = n_outputs in (None, 1)
    summed = traced or is_single
    plan = make_plan(row_function(predict, treedef, n_outputs), leaves, x[0], traced=summed)
    n_rows = len(x) + (0 if x2 is None else len(x2))
    layout = make_layout(plan, n_rows, traced=summed, block_size=block_size)
    compute = partial(blocked_kernel, plan, traced=summed, layout=layout)
    mixing = row_mixing(predict, jax.tree.unflatten(treedef, leaves), x)
    if len(devices) == 1:
        kernel = compute(leaves, x, x2)
    else:
        kernel = _shared(compute, devices, leaves, x, x if x2 is None else x2)
    if n_outputs == 1 and not traced:
        kernel = kernel[:, :, None, None]
    return kernel, mixing


@partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled(
    structure: Any, rest: tuple[Any, ...], fixed: _Fixed, arrays: list[Any], *inputs: Any
) -> tuple[Array, Array]:
    parts = [a if b is None else b for a, b in zip(arrays, rest, strict=True)]
    return _kernel(structure.unflatten(parts), fixed, *inputs)


def _shared(
    compute: Any, devices: tuple[Any, ...], leaves: Sequence[Array], x: Array, x2: Array
) -> Array:
    """The kernel with its rows shared among devices; all of them hold all of ``x2``."""
    rows, whole = PartitionSpec("rows"), PartitionSpec()
    share = -(-len(x) // len(devices))
    padding = jnp.repeat(x[-1:], share * len(devices) - len(x), axis=0)
    spread = jax.shard_map(
        compute,
        mesh=Mesh(np.asarray(devices), ("rows",)),
        in_specs=(whole, rows, whole),
        out_specs=rows,
        # Nothing is summed over devices, so there is nothing for this check to guard.
        check_vma=False,
    )
    return spread(list(leaves), jnp.concatenate([x, padding]), x2)[: len(x)]


def _devices(leaves: Sequence[Array], x: Array, x2: Array | None) -> tuple[Any, ...]:
    """The devices to share the rows among.

    Those of this process, if the caller put nothing on a device of their own choice and
    there is a row for each.
    """
    local = tuple(jax.local_devices())
    arrays = [value for value in (*leaves, x, x2) if value is not None]
    is_free = all(is_concrete(a) and not a.committed for a in arrays)
    return local if is_free and len(x) >= len(local) else local[:1]
