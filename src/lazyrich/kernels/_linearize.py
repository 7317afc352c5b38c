"""The linearised twin of a network: the lazy limit as a predictor (Eq. 1)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lazyrich._ground import InputError, Params, Predictor

from ._checks import split_params


def linearize(predict: Predictor, params0: Params) -> Predictor:
    """The first-order expansion of a predictor in its parameters, Eq. 1.

    f_lin(θ, x) = f(θ₀, x) + ∇_θ f(θ₀, x)·(θ − θ₀). The twin is itself a predictor of
    θ, so whatever trains the network trains the twin, and it has the same tangent
    kernel at every θ. It is a pytree too (θ₀ are its leaves): it can be passed through
    ``jit`` and ``vmap``.

    Args:
        predict: a predictor.
        params0: θ₀, where it is expanded. Integer leaves are kept at their θ₀.

    Returns:
        A predictor equal to predict at θ₀, with the same derivative there.

    Raises:
        InputError: if a leaf of params0 is no real array; when called, if its
            parameters have another tree structure or other shapes than params0.

    Example:
        >>> square = lambda params, x: (x @ params) ** 2
        >>> twin = linearize(square, jnp.array([1.0]))
        >>> twin(jnp.array([3.0]), jnp.array([[1.0]])).tolist()  # 1 + 2·(3 − 1)
        [5.0]

    References:
        Kumar et al. (2024), Eq. 1; Lee et al. (2019).
    """
    split_params(params0)
    if not isinstance(predict, jax.tree_util.Partial):
        predict = jax.tree_util.Partial(predict)
    return jax.tree_util.Partial(_linearized, predict, params0)


def _linearized(predict: Predictor, params0: Params, params: Params, x: Array) -> Array:
    if jax.tree.structure(params) != jax.tree.structure(params0):
        raise InputError(
            f"The parameters have structure {jax.tree.structure(params)}; the twin was taken at "
            f"{jax.tree.structure(params0)}, so pass a tree like that one."
        )
    here, (there, rebuild) = split_params(params)[0], split_params(params0)
    if [leaf.shape for leaf in here] != [leaf.shape for leaf in there]:
        raise InputError("The parameters have other shapes than those the twin was taken at.")
    change = [jnp.asarray(a - b, b.dtype) for a, b in zip(here, there, strict=True)]
    output, tangent = jax.jvp(lambda leaves: predict(rebuild(leaves), x), (there,), (change,))
    return output + tangent
