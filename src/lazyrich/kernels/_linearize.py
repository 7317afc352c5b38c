"""Linearize a predictor in its parameters: the lazy limit, again a predictor (Eq. 1)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lazyrich._base import InputError, Params, Predictor

from ._derivative import NO_DERIVATIVE
from ._inputs import Inputs, as_parameters, as_rows
from ._ntk._traced_predictor import push_forward, said
from ._parameters import split_params


def linearize(predict: Predictor, params0: Params) -> Predictor:
    """The first-order expansion of a predictor in its parameters, Eq. 1.

    f_lin(θ, x) = f(θ₀, x) + ∇_θ f(θ₀, x)·(θ − θ₀). The linearized network is itself a predictor of
    θ, so whatever trains the network trains the linearized network, and it has the same tangent
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
        >>> linearized = linearize(square, jnp.array([1.0]))
        >>> linearized(jnp.array([3.0]), jnp.array([[1.0]])).tolist()  # 1 + 2·(3 − 1)
        [5.0]

    References:
        Kumar et al. (2024), Eq. 1; Lee et al. (2019).
    """
    split_params(params0)
    if not isinstance(predict, jax.tree_util.Partial):
        predict = jax.tree_util.Partial(SameObject(predict))
    return jax.tree_util.Partial(_linearized, predict, as_parameters(params0))


class SameObject:
    """A function that is equal to itself alone, whatever equality and hash it defines."""

    def __init__(self, function: Predictor) -> None:
        self._function = function

    def __call__(self, *arguments: PyTree) -> PyTree:
        return self._function(*arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObject) and self._function is other._function

    def __hash__(self) -> int:
        return id(self._function)


def _linearized(predict: Predictor, params0: Params, params: Params, x: Inputs) -> Array:
    params = as_parameters(params)
    if jax.tree.structure(params) != jax.tree.structure(params0):
        raise InputError(
            f"The parameters have structure {jax.tree.structure(params)}; the linearized network "
            "was taken at "
            f"{jax.tree.structure(params0)}, so pass a tree like that one."
        )
    here, (there, rebuild) = split_params(params)[0], split_params(params0)
    if [leaf.shape for leaf in here] != [leaf.shape for leaf in there]:
        raise InputError(
            "The parameters have other shapes than those at which the network was linearized; "
            "pass a tree like that one."
        )
    change = [jnp.asarray(a - b, b.dtype) for a, b in zip(here, there, strict=True)]
    batch = as_rows(x).batch

    def outputs(leaves: list[Array]) -> Array:
        return predict(rebuild(leaves), batch)

    try:
        output, tangent = push_forward(outputs, there, change)
    except InputError:
        raise
    except Exception as error:  # predict is a user's function
        raise InputError(
            f"predict fails on these rows, or JAX cannot differentiate it ({said(error)}); give "
            f"parameters and rows in the shapes that it takes, and {NO_DERIVATIVE}"
        ) from error
    return output + tangent
