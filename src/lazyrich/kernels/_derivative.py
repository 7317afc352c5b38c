"""Explain in one sentence why JAX cannot differentiate a predictor, or run it row by row."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

import jax
from jaxtyping import Array, PyTree

from lazyrich._base import InputError

from ._ntk._traced_predictor import said

NO_DERIVATIVE = (
    "use operations that have a derivative (lax.scan, or fori_loop with fixed bounds, in place of "
    "while_loop), give a function of your own a rule with jax.custom_jvp, or put stop_gradient "
    "around the arguments of what is constant."
)
_NO_ROWS = (
    "replace that operation, or say how it is applied to many rows at once (vmap_method= of a "
    "callback)."
)

_NO_PULLBACK = (
    "replace that operation (a sparse matrix of parameters by its todense(), for example), or give "
    "it a rule with jax.custom_vjp."
)


@contextmanager
def needs_derivative(
    predict_row: Callable[[Sequence[Array], PyTree], Array],
    leaves: Sequence[Array],
    rows: PyTree,
) -> Generator[None]:
    """Explain an error raised inside, if JAX cannot differentiate the predictor row by row.

    The predictor is traced for that only after an error.

    Args:
        predict_row: the predictor on one row, (leaves, row) -> (c,).
        leaves: the parameter arrays.
        rows: a pytree of arrays, (n, ...) each.

    Raises:
        InputError: with the message of JAX; other errors are raised as they are.
    """
    try:
        yield
    except InputError:
        raise
    except Exception:  # of predict or JAX; raised again unless its cause is found here
        row = jax.tree.map(lambda leaf: leaf[0], rows)
        _try("differentiate predict", NO_DERIVATIVE, partial(_pulled, predict_row), leaves, row)
        many = jax.vmap(predict_row, (None, 0))
        _try("run predict on many rows at once", _NO_ROWS, many, leaves, rows)
        pulled = partial(_pulled, many)
        _try("differentiate predict on many rows at once", _NO_PULLBACK, pulled, leaves, rows)
        raise


def _try(what: str, wanted: str, function: Callable[..., object], *arguments: PyTree) -> None:
    try:
        jax.eval_shape(function, *arguments)
    except Exception as error:  # predict is a user's function
        raise InputError(f"JAX cannot {what} ({said(error)}); {wanted}") from error


def _pulled(
    predict_row: Callable[[Sequence[Array], PyTree], Array], leaves: Sequence[Array], row: PyTree
) -> PyTree:
    outputs, pull = jax.vjp(lambda leaves: predict_row(leaves, row), leaves)
    return pull(outputs)
