"""Larger first layers: a larger initial scale of the first layers."""

from functools import singledispatch

import equinox as eqx
from jaxtyping import PyTree, ScalarLike

from lazyrich._base import InputError, Params, require_positive
from lazyrich.models import MLP, CommitteeParams, Transformer


def scale_first_layer(params: Params, scale: ScalarLike) -> Params:
    """The first layer times κ and the last divided by κ.

    With one hidden layer of ReLU, or any activation of degree one, the function stays what
    it was; what changes is which layer learns. κ > 1 lets the last layer's weights, which
    are small, move the features of the first fast ("upstream"); κ < 1 is lazier. Of a
    transformer the first layer are embedding and positions, the last the unembedding; the
    biases of the last layer stay.

    Args:
        params: of an MLP with a hidden layer, a transformer, or a committee machine with
            trained readouts.
        scale: κ, above zero.

    Returns:
        The parameters.

    Raises:
        InputError: if κ is not above zero, or the net has no two layers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lazyrich.models import MLPNet
        >>> net = MLPNet(widths=(8,)).init(jax.random.key(0), n_inputs=2, n_outputs=1)
        >>> x = jnp.ones((1, 2))
        >>> bool(jnp.allclose(net(x), scale_first_layer(net, 3.0)(x), rtol=1e-5))
        True

    References:
        Kunin et al. (2024), Get rich quick, arXiv:2406.06158.
    """
    require_positive(scale=scale)
    return _scaled(params, scale)


@singledispatch
def _scaled(params: PyTree, scale: ScalarLike) -> Params:
    raise InputError(
        f"first_layer_scale is not defined for the layers of {type(params).__name__}; take an "
        "mlp or a transformer."
    )


@_scaled.register
def _(params: MLP, scale: ScalarLike) -> MLP:
    first, *rest = params.weights
    if not rest:
        raise InputError(
            "first_layer_scale needs a hidden layer, and the net has none; give net.widths."
        )
    weights = (first * scale, *rest[:-1], rest[-1] / scale)
    biases = params.biases
    if biases is not None:
        biases = (biases[0] * scale, *biases[1:])
    return eqx.tree_at(
        lambda net: (net.weights, net.biases),
        params,
        (weights, biases),
        is_leaf=lambda leaf: leaf is None,
    )


@_scaled.register
def _(params: Transformer, scale: ScalarLike) -> Transformer:
    return eqx.tree_at(
        lambda net: (net.embedding, net.positions, net.unembedding),
        params,
        (params.embedding * scale, params.positions * scale, params.unembedding / scale),
    )


@_scaled.register
def _(params: CommitteeParams, scale: ScalarLike) -> CommitteeParams:
    if params.readouts is None:
        raise InputError(
            "first_layer_scale needs trained readouts, and those of the committee machine are "
            "fixed; give net.readouts=normal."
        )
    return CommitteeParams(params.weights * scale, params.readouts / scale)
