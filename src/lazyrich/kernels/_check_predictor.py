"""Is this function a predictor? Asked once, before anything is believed about it."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from lazyrich._ground import InputError, Params, Predictor, require_finite

from ._checks import output_struct, split_params


def check_predictor(predict: Predictor, params: Params, x: Shaped[Array, "n ..."]) -> None:
    """Refuse a function that is no predictor, with a sentence that says what to do.

    Compares the first, middle and last row alone with the same rows in the batch, and
    takes one gradient: a few passes over the data. A kernel of a network whose rows
    mix (batch statistics, dropout with one key for the batch) is a number without
    meaning, and nothing else would tell.

    Args:
        predict: the function in question.
        params: its parameters.
        x: a small batch, two rows or more (with one row nothing can be compared).

    Raises:
        InputError: if the output is not one floating array of shape (n,) or (n, c), if
            two calls differ, if an output or the gradient is not finite, if a row's
            output depends on the other rows, or if params hold what is no real array.

    Example:
        >>> check_predictor(lambda params, x: x @ params, jnp.ones(2), jnp.ones((3, 2)))
        >>> centre = lambda params, x: (x - x.mean(0)) @ params
        >>> check_predictor(centre, jnp.ones(2), jnp.arange(6.0).reshape(3, 2))
        Traceback (most recent call last):
        ...
        lazyrich._ground._errors.InputError: The predictor mixes the rows of a batch: row 0
        alone gives another output than among the others; put batch normalisation into
        inference mode with stored statistics, and switch dropout off.
    """
    outputs = output_struct(predict, params, x)
    moving, rebuild = split_params(params)
    require_finite(**{f"parameter {k}": leaf for k, leaf in enumerate(moving)})
    batch = np.asarray(predict(params, x))
    if not np.isfinite(batch).all():
        raise InputError(
            f"The predictor gives {np.sum(~np.isfinite(batch))} values that are NaN or infinite; "
            "check the inputs and the parameters."
        )
    if not np.array_equal(batch, np.asarray(predict(params, x))):
        raise InputError(
            "The predictor gives another output when it is called again; it must be pure, so "
            "switch dropout off or fix its random key."
        )
    n = len(batch)
    # Batches of other sizes are summed in another order, which is no dependence.
    tolerance = np.sqrt(jnp.finfo(outputs.dtype).eps) * max(np.abs(batch).max(), 1e-30)
    for row in sorted({0, n // 2, n - 1}):
        alone = np.asarray(predict(params, x[row : row + 1]))
        if alone.shape != (1, *batch.shape[1:]):
            raise InputError(
                f"The predictor returned shape {alone.shape} for one row; wanted "
                f"{(1, *batch.shape[1:])}, so do not squeeze the first axis."
            )
        if not (np.abs(alone[0] - batch[row]) <= tolerance).all():
            raise InputError(
                f"The predictor mixes the rows of a batch: row {row} alone gives another output "
                "than among the others; put batch normalisation into inference mode with stored "
                "statistics, and switch dropout off."
            )
    gradient = jax.grad(lambda leaves: predict(rebuild(leaves), x).sum())(moving)
    if not all(np.isfinite(leaf).all() for leaf in gradient):
        raise InputError(
            "The predictor's gradient is NaN or infinite at these inputs; look for a square root, "
            "a norm or a logarithm at zero."
        )
