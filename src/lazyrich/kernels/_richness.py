"""How rich a trained network is, independently of its accuracy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lazyrich._base import (
    InputError,
    Params,
    Predictor,
    full_precision,
    real_arrays,
    require_finite,
)

from ._arrays import unit_scaled
from ._distance import kernel_distance, relative_change
from ._inputs import Inputs, as_parameters, as_rows
from ._linearize import linearize
from ._ntk._entry import ntk
from ._parameters import split_params


class Richness(NamedTuple):
    """Three ways of having left the lazy regime; all are zero in its limit.

    Attributes:
        kernel_distance: ‖K − K₀‖_F/‖K₀‖_F on the given inputs, dimensionless.
        parameter_change: ‖θ − θ₀‖/‖θ₀‖, dimensionless; infinite for a start at zero.
        linearized_gap: ‖f(θ) − f_lin(θ)‖/‖f(θ) − f(θ₀)‖, the share of the function's change
            that the expansion around θ₀ misses at the same θ; NaN if nothing has changed.

    Example:
        >>> found = richness(lambda w, x: x @ w, jnp.ones(2), 2 * jnp.ones(2), jnp.eye(2))
        >>> [round(float(value), 6) for value in found]  # a linear net stays lazy wherever it goes
        [0.0, 1.0, 0.0]
    """

    kernel_distance: Float[Array, ""]
    parameter_change: Float[Array, ""]
    linearized_gap: Float[Array, ""]


@full_precision
def richness(
    predict: Predictor,
    params0: Params,
    params: Params,
    x: Inputs,
    *,
    block_size: int | None = None,
) -> Richness:
    """How far a network has left the lazy regime, from its start, its end and some inputs.

    No labels and no accuracy: rich is not the same as good. The first and the last
    number are about functions; the second alone says little, for a wide lazy network
    moves little and a narrow one much.

    Args:
        predict: a predictor.
        params0: θ₀, at the start.
        params: θ, later, with the same structure.
        x: inputs on which kernels and functions are compared; test inputs say more.
        block_size: as for ``ntk``, whose traced kernel is compared.

    Returns:
        A Richness.

    Raises:
        InputError: as ``ntk`` and ``linearize``.

    Example:
        >>> square = lambda params, x: (x @ params) ** 2
        >>> start, end, x = jnp.array([1.0]), jnp.array([1.1]), jnp.array([[1.0], [2.0]])
        >>> report = richness(square, start, end, x)
        >>> [round(float(number), 3) for number in report]
        [0.21, 0.1, 0.048]

    References:
        Chizat, Oyallon and Bach (2019); Fort et al. (2020) for kernel distances.
    """
    split_params(params0)  # says clearly what cannot be parameters
    params0, params, x = as_parameters(params0), as_parameters(params), as_rows(x).batch
    # The linearized network first: it says clearly if the parameters do not match.
    predicted = linearize(predict, params0)(params, x)
    output0, output = predict(params0, x), predict(params, x)
    kernels = [
        ntk(predict, at, x, trace_outputs=True, block_size=block_size) for at in (params0, params)
    ]
    return Richness(
        kernel_distance=kernel_distance(*kernels),
        parameter_change=relative_change(split_params(params0)[0], split_params(params)[0]),
        linearized_gap=relative_change([output - output0], [predicted - output0]),
    )


def low_rank_measure(
    features: Float[Array, "n p"], outputs: Float[Array, "n *c"]
) -> Float[Array, ""]:
    """How far the last features are from holding the outputs and nothing else, D_LR.

    1 − CKA of two kernels on the same rows: that of the features before the last layer,
    and the projection onto the functions that the network puts out. A network deep in
    the rich regime keeps no direction that its outputs do not use; then this is zero.

    It is a measure of a state, not of a movement, and needs a look behind the predictor.
    Compare it with its own value at the start, at equal numbers of rows and outputs: a
    random network does not score one, and one with as many outputs as feature
    directions of equal size scores zero however lazy it is. Directions of equal size
    are part of the ideal, so targets of unequal power keep it above zero.

    Args:
        features: Φ(x), activations before the last linear layer, one row each.
        outputs: f(x) on the same rows, one or several.

    Returns:
        A number in [0, 1], dimensionless, small for rich; NaN if the features or the
        outputs do not vary. More rows than features are needed for it to mean much.

    Raises:
        InputError: if the rows disagree or something is not finite.

    Example:
        >>> y = jnp.array([1.0, -1.0, 2.0])
        >>> abs(round(float(low_rank_measure(jnp.outer(y, jnp.array([3.0, 4.0])), y)), 5))
        0.0

    References:
        Nam et al. (2024), arXiv:2410.04264, whose projection is onto the span of the
        outputs; ours is onto that of the centred outputs, which is the same thing if
        they have no mean or if constants are in their span.
    """
    features, outputs = real_arrays(features=features, outputs=outputs)
    is_matched = features.ndim == 2 and outputs.ndim in (1, 2) and len(features) == len(outputs)
    if not is_matched or 0 in features.shape + outputs.shape:
        raise InputError(
            f"The features have shape {features.shape} and the outputs {outputs.shape}; wanted "
            "(n, p) and (n,) or (n, c) on the same rows."
        )
    require_finite(features=features, outputs=outputs)
    return _low_rank_measure(features, outputs.reshape(len(outputs), -1))


@jax.jit
@full_precision
def _low_rank_measure(features: Array, outputs: Array) -> Array:
    left, right = _centered_unit(features), _centered_unit(outputs)
    basis, sizes, _ = jnp.linalg.svd(right, full_matrices=False)
    cutoff = max(right.shape) * jnp.finfo(right.dtype).eps * sizes[0]
    basis = basis * (sizes > cutoff)
    rank = jnp.sum(sizes > cutoff, dtype=right.dtype)
    overlap = jnp.square(jnp.linalg.norm(basis.T @ left))
    smaller = left @ left.T if left.shape[0] < left.shape[1] else left.T @ left
    return 1 - overlap / (jnp.linalg.norm(smaller) * jnp.sqrt(rank))


def _centered_unit(values: Array) -> Array:
    values, _ = unit_scaled(values)
    centered = values - values.mean(0)
    rounding = 8 * jnp.finfo(values.dtype).eps * jnp.abs(values).max()
    largest = jnp.abs(centered).max()
    return jnp.where(largest > rounding, centered / jnp.where(largest > 0, largest, 1), 0)
