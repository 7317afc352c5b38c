"""Check that a function is a predictor: its rows are independent, and it is deterministic."""

import jax
import numpy as np

from lazyrich._base import InputError, Params, Predictor, full_precision, require_finite

from ._inputs import Inputs, as_rows
from ._parameters import split_params
from ._predictor_call import predictor_call, require_row_wise


@full_precision
def check_predictor(predict: Predictor, params: Params, x: Inputs) -> None:
    """Refuse a function that is not a predictor, with a sentence that says what to do.

    Calls the predictor twice, reads off its traced program that each row of the output
    depends on its own row alone (and, where the program does not show it, changes every row
    while watching the others), and takes one gradient. A kernel of a network whose rows
    mix (batch statistics, dropout with one key for the batch) is a number without meaning.

    Args:
        predict: the function in question.
        params: its parameters.
        x: a small batch: an array (n, ...), or a tuple or dict of such.

    Raises:
        InputError: if the output is not one floating array of shape (n,) or (n, c), if
            two calls differ, if an output or the gradient is not finite, if a row's
            output depends on the other rows, or if params hold what is no real array.

    Example:
        >>> import jax.numpy as jnp
        >>> check_predictor(lambda params, x: x @ params, jnp.ones(2), jnp.ones((3, 2)))
        >>> centre = lambda params, x: (x - x.mean(0)) @ params
        >>> check_predictor(centre, jnp.ones(2), jnp.arange(6.0).reshape(3, 2))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: predict mixes the rows of a batch: the output of
        one row changes with another row; each row of the output must depend on its own row
        alone, so put batch normalisation into inference mode with stored statistics, and
        switch dropout off.
    """
    call = predictor_call(predict, params, x, asks_for_one_row=True)
    batch, tail = as_rows(x).batch, call.batch.outputs.shape[1:]
    moving, rebuild = split_params(params)
    require_finite(**{f"parameter {k}": leaf for k, leaf in enumerate(moving)})
    outputs = np.asarray(predict(rebuild(moving), batch))
    if not np.isfinite(outputs).all():
        raise InputError(
            f"The predictor gives {np.sum(~np.isfinite(outputs))} values that are NaN or infinite; "
            "check the inputs and the parameters."
        )
    if not np.array_equal(outputs, np.asarray(predict(rebuild(moving), batch))):
        raise InputError(
            "The predictor gives another output when it is called again; it must be pure, so "
            "switch dropout off or fix its random key."
        )
    if call.row.outputs.shape != (1, *tail):
        raise InputError(
            f"The predictor returned shape {call.row.outputs.shape} for one row; wanted "
            f"{(1, *tail)}, so do not squeeze the first axis."
        )
    require_row_wise(call)
    with call.needs_derivative():
        gradient = jax.grad(lambda leaves: predict(rebuild(leaves), batch).sum())(moving)
    if not all(np.isfinite(leaf).all() for leaf in gradient):
        raise InputError(
            "The predictor's gradient is NaN or infinite at these inputs; look for a square root, "
            "a norm or a logarithm at zero."
        )
