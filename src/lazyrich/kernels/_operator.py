"""Kernels too big for a matrix: products K·v, a block of rows at a time."""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Bool, Float, Int, PyTree, ScalarLike

from lazyrich._base import (
    InputError,
    Params,
    Predictor,
    full_precision,
    real_array,
    require_finite,
    require_nonnegative,
)

from ._checks import require_block_size
from ._inputs import Inputs, as_rows
from ._ntk._traced_predictor import push_forward
from ._predictor_call import PredictorCall, predictor_call, require_row_wise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowPredictor:
    """A predictor on one row, as it was when it was traced.

    Attributes:
        constants: the arrays that it has captured.
        program: what it does with them; compared by what that is.
    """

    constants: list[PyTree]
    program: "_Program" = field(metadata={"static": True})

    def __call__(self, leaves: list[Array], x: PyTree) -> Array:
        """The outputs for a batch."""
        call = self.program.call
        predict_row = call.row_function(self.constants)
        outputs = jax.vmap(lambda row: predict_row(leaves, row))(jax.tree.leaves(x))
        return outputs[:, 0] if call.n_outputs is None else outputs


class _Program:
    """A traced predictor without its arrays, equal to any that does the same."""

    def __init__(self, call: PredictorCall) -> None:
        self.call = call.without_arrays()
        self._key = object() if call.row.key is None else (call.row.key, call.n_outputs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NTKOperator:
    """The tangent kernel K(x, x2) as a linear map; call it with v to get K·v.

    A pytree, so it goes through ``jit`` and into any matrix-free library that takes a
    function. Made by ``ntk_operator``, of the predictor as it is then: what the predictor
    depends on may change later without changing the operator.

    Attributes:
        predict: the predictor of the parameters below, as a pytree.
        params: the parameter arrays where the kernel is taken.
        x: rows of K.
        x2: columns of K.
        doubt: zero; NaN under ``jit`` for a predictor that mixes rows.
        block_size: rows in memory at once.
        is_symmetric: whether x2 is x.

    Example:
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> operator = ntk_operator(lambda w, x: x @ w, jnp.ones(2), x)
        >>> operator(jnp.array([1.0, 0.0])).tolist()  # the first column of x xᵀ
        [5.0, 2.0]
    """

    predict: RowPredictor
    params: list[Array]
    x: PyTree
    x2: PyTree
    doubt: Array
    block_size: int = field(metadata={"static": True})
    is_symmetric: bool = field(metadata={"static": True})

    def __call__(self, v: Float[Array, "m *c"]) -> Float[Array, "n *c"]:
        """K·v, for v of the shape of predict's output on x2."""
        wanted, values = self.input_structure, real_array("v", v)
        if values.shape != wanted.shape:
            raise InputError(f"v has shape {values.shape}; this operator takes {wanted.shape}.")
        return _product(self, jnp.asarray(values, wanted.dtype))

    @property
    def input_structure(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of v."""
        call = self.predict.program.call
        tail = () if call.n_outputs is None else (call.n_outputs,)
        return jax.ShapeDtypeStruct((_count(self.x2), *tail), call.dtype)

    def as_lineax(self, *, ridge: ScalarLike = 0.0) -> lineax.AbstractLinearOperator:
        """K + ridge·I for lineax, tagged symmetric positive semi-definite if x2 is x."""
        if not self.is_symmetric:
            return lineax.FunctionLinearOperator(self, self.input_structure)
        shift = jnp.asarray(ridge, self.input_structure.dtype)
        return lineax.FunctionLinearOperator(
            jax.tree_util.Partial(_shifted, self, shift),
            self.input_structure,
            tags=(lineax.symmetric_tag, lineax.positive_semidefinite_tag),
        )


class OperatorRegression(NamedTuple):
    """Kernel regression by conjugate gradients, and whether it got there.

    Attributes:
        predictions: on the query rows, in label units.
        relative_residual: ‖y − (K + ridge·I)a‖/‖y‖ of the coefficients a, computed anew at
            the end; at most about the asked tolerance if is_converged.
        n_steps: how many kernel–vector products were made.
        is_converged: whether the tolerance was reached.

    Example:
        >>> x = jnp.eye(2)
        >>> operator = ntk_operator(lambda w, x: x @ w, jnp.ones(2), x)
        >>> found = operator_regression(operator, jnp.array([3.0, 1.0]), operator)
        >>> [round(p, 5) for p in found.predictions.tolist()], bool(found.is_converged)
        ([3.0, 1.0], True)
    """

    predictions: Float[Array, "m *c"]
    relative_residual: Float[Array, ""]
    n_steps: Int[Array, ""]
    is_converged: Bool[Array, ""]


@full_precision
def ntk_operator(
    predict: Predictor,
    params: Params,
    x: Inputs,
    x2: Inputs | None = None,
    *,
    block_size: int | None = None,
) -> NTKOperator:
    """The neural tangent kernel as a linear map, without ever holding the matrix.

    K·v = J(x)·(J(x2)ᵀv): one reverse and one forward derivative of a block of rows at a
    time. A product costs a few passes over the data; memory is one block's
    activations and two copies of the parameters.

    Args:
        predict: a predictor.
        params: where the kernel is taken.
        x: inputs of K's rows.
        x2: inputs of K's columns; None means x.
        block_size: rows in memory at once; None means all.

    Returns:
        An NTKOperator: call it with v of the shape of predict's output on x2, (m,) or
        (m, c), which makes it the full kernel over outputs, not the traced one.

    Raises:
        InputError: as ``ntk``.

    Example:
        >>> line = lambda params, x: x @ params
        >>> operator = ntk_operator(line, jnp.zeros(2), jnp.array([[1.0, 0.0], [1.0, 2.0]]))
        >>> operator(jnp.array([1.0, 1.0])).tolist()
        [2.0, 6.0]

    References:
        Kumar et al. (2024), Eq. 2.
    """
    require_block_size(block_size)
    call = predictor_call(predict, params, x, x2)
    doubt = require_row_wise(call)
    rows, structure = call.arrays.rows, as_rows(x).structure
    query = rows if call.arrays.query is None else call.arrays.query
    for name, leaves in (("x", rows), ("x2", query)):
        for leaf in leaves:
            if jnp.issubdtype(leaf.dtype, jnp.number):
                require_finite(**{name: leaf})
    operator = NTKOperator(
        RowPredictor(call.arrays.row_constants, _Program(call)),
        call.arrays.leaves,
        structure.unflatten(rows),
        structure.unflatten(query),
        doubt,
        block_size or max(call.n_rows, call.n_query),
        call.arrays.query is None,
    )
    with call.needs_derivative():  # traced here, so that an error is one of this call
        jax.eval_shape(_product, operator, operator.input_structure)
    return operator


@full_precision
def operator_regression(
    operator: NTKOperator,
    targets: Float[Array, "n *c"],
    query_operator: NTKOperator,
    *,
    ridge: ScalarLike = 0.0,
    tolerance: float = 1e-6,
    max_steps: int | None = None,
) -> OperatorRegression:
    """Kernel (ridge) regression by conjugate gradients, for kernels too big for a matrix.

    The same as ``kernel_regression`` on the full kernel. It takes about the square root of
    the condition number in products: a ridge is what makes it quick. Without one, on a
    singular kernel, it converges for targets that the kernel can reach.

    Args:
        operator: K on the training rows.
        targets: y, of the shape of predict's output, in label units.
        query_operator: K of query rows against the training rows:
            ``ntk_operator(predict, params, query, x)``.
        ridge: added to the diagonal, in the kernel's units.
        tolerance: of the residual relative to ‖y‖; not below a hundred times the dtype's
            rounding.
        max_steps: give up after so many products; None means ten times the size.

    Returns:
        An OperatorRegression; look at ``is_converged``.

    Raises:
        InputError: if shapes disagree, something is not finite, the operator is not
            symmetric, or ridge is negative.

    Example:
        >>> line = lambda params, x: x @ params
        >>> x, query = jnp.array([[1.0, 0.0], [1.0, 2.0]]), jnp.array([[0.0, 1.0]])
        >>> fit = operator_regression(
        ...     ntk_operator(line, jnp.zeros(2), x), jnp.array([1.0, 3.0]),
        ...     ntk_operator(line, jnp.zeros(2), query, x),
        ... )
        >>> [round(value, 4) for value in fit.predictions.tolist()], bool(fit.is_converged)
        ([1.0], True)
    """
    if not operator.is_symmetric:
        raise InputError("The operator pairs two input sets; make it from the training rows alone.")
    shapes = (
        jnp.shape(targets),
        operator.input_structure.shape,
        query_operator.input_structure.shape,
    )
    if len(set(shapes)) != 1:
        raise InputError(
            f"The targets have shape {shapes[0]}, the operator takes {shapes[1]} and the query "
            f"operator {shapes[2]}; all three must agree."
        )
    require_finite(targets=targets)
    require_nonnegative(ridge=ridge)
    targets = jnp.asarray(targets, operator.input_structure.dtype)
    tolerance = max(tolerance, 100 * float(jnp.finfo(targets.dtype).eps))
    steps = 10 * targets.size if max_steps is None else max_steps
    return _conjugate_gradients(operator, targets, query_operator, ridge, tolerance, steps)


@partial(jax.jit, static_argnames=("tolerance", "max_steps"))
@full_precision
def _conjugate_gradients(
    operator: NTKOperator,
    targets: Array,
    query_operator: NTKOperator,
    ridge: ScalarLike,
    tolerance: float,
    max_steps: int,
) -> OperatorRegression:
    scale = jnp.linalg.norm(targets)
    safe = jnp.where(scale > 0, scale, 1)
    # lineax measures entry by entry against the solution; on unit targets that is ‖y‖.
    shifted = operator.as_lineax(ridge=ridge)
    solver = lineax.CG(rtol=0.0, atol=tolerance, norm=_norm, max_steps=max_steps)
    solution = lineax.linear_solve(shifted, targets / safe, solver, throw=False)
    residual = jnp.linalg.norm(targets / safe - shifted.mv(solution.value))
    # Ten: the recursion's own residual drifts from the true one by rounding.
    return OperatorRegression(
        predictions=query_operator(solution.value) * scale,
        relative_residual=jnp.where(scale > 0, residual, 0),
        n_steps=jnp.asarray(solution.stats["num_steps"]),
        is_converged=residual <= 10 * tolerance,
    )


def _norm(values: Array) -> Array:
    return jnp.linalg.norm(values)


def _shifted(operator: NTKOperator, shift: Array, v: Array) -> Array:
    return operator(v) + shift * v


@jax.jit
@full_precision
def _product(operator: NTKOperator, v: Array) -> Array:
    size, leaves = operator.block_size, operator.params

    def pull(total: list[Array], block: tuple[PyTree, Array]) -> tuple[list[Array], None]:
        rows, cotangent = block
        back = jax.vjp(lambda leaves: operator.predict(leaves, rows), leaves)[1]
        return jax.tree.map(jnp.add, total, back(cotangent)[0]), None

    def push(rows: PyTree) -> Array:
        return push_forward(lambda leaves: operator.predict(leaves, rows), leaves, direction)[1]

    start = jax.tree.map(jnp.zeros_like, leaves)
    columns = _blocks(operator.x2, size), _blocks(v, size, fill_zero=True)
    direction = jax.lax.scan(pull, start, columns)[0]
    pushed = jax.lax.map(push, _blocks(operator.x, size))
    return pushed.reshape(-1, *v.shape[1:])[: _count(operator.x)] + operator.doubt


def _count(x: PyTree) -> int:
    """Number of rows of a batch of one or several arrays."""
    return len(jax.tree.leaves(x)[0])


def _blocks(batch: PyTree, size: int, *, fill_zero: bool = False) -> PyTree:
    """Rows in blocks of one size, the last filled up with the first row or with zeros."""

    def cut(rows: Array) -> Array:
        most = min(size, len(rows))
        missing = -len(rows) % most
        filler = jnp.repeat(rows[:1], missing, 0)
        filled = jnp.concatenate([rows, jnp.zeros_like(filler) if fill_zero else filler])
        return filled.reshape(-1, most, *rows.shape[1:])

    return jax.tree.map(cut, batch)
