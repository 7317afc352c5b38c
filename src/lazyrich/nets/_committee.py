"""The committee machine of the paper (§5, §12), as a function of its weights."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from lazyrich._ground import InputError, Predictor, require_finite, require_positive


class CommitteeParams(NamedTuple):
    """Parameters of a committee machine.

    Attributes:
        weights: one row w_i for each hidden unit.
        readouts: v_i of each hidden unit, trained like the rest; None fixes all at one.
    """

    weights: Float[Array, "N d"]
    readouts: Float[Array, " N"] | None = None


def committee_machine(epsilon: ScalarLike) -> Predictor:
    """The net (1/N) Σ v_i φ(w_i·x) with φ(h) = h + (ε/2) h², Eqs. 3 and 21 at α = 1.

    The output scale α is applied by ``scale_output``.

    Args:
        epsilon: ε, strength of the quadratic part, dimensionless.

    Returns:
        A predictor of ``CommitteeParams`` and inputs (n, d), with outputs (n,).

    Raises:
        InputError: if ε is not finite.

    Example:
        >>> predict = committee_machine(0.5)
        >>> params = CommitteeParams(jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> predict(params, jnp.array([[2.0, 1.0]])).tolist()
        [3.0]

    References:
        Kumar et al. (2024), Eqs. 3 and 21.
    """
    require_finite(epsilon=epsilon)

    def predict(params: CommitteeParams, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        hidden = x @ params.weights.T
        active = hidden + 0.5 * epsilon * jnp.square(hidden)
        if params.readouts is None:
            return active.mean(-1)
        return active @ params.readouts / len(params.readouts)

    return predict


def init_committee_machine(
    key: PRNGKeyArray,
    width: int,
    *,
    dim: int,
    weight_scale: ScalarLike = 1.0,
    readouts: Literal["fixed", "normal", "signs"] = "fixed",
) -> CommitteeParams:
    """Weights w ~ N(0, σ²) and readouts of a committee machine at initialisation.

    Args:
        key: random key; weights and readouts get keys of their own.
        width: N, number of hidden units.
        dim: D, number of inputs.
        weight_scale: σ, standard deviation of every weight, dimensionless.
        readouts: "fixed" at one (§5); trained from v ~ N(0, 1), "normal", or from
            v = ±1 at random, "signs" (§12).

    Returns:
        The parameters.

    Raises:
        InputError: if a size or scale is zero or below, or the readouts are unknown.

    Example:
        >>> params = init_committee_machine(jax.random.key(0), 500, dim=100)
        >>> params.weights.shape
        (500, 100)
    """
    require_finite(weight_scale=weight_scale)
    require_positive(width=width, dim=dim, weight_scale=weight_scale)
    weight_key, readout_key = jax.random.split(key)
    weights = jnp.multiply(weight_scale, jax.random.normal(weight_key, (width, dim)))
    if readouts == "fixed":
        return CommitteeParams(weights)
    if readouts == "normal":
        return CommitteeParams(weights, jax.random.normal(readout_key, (width,)))
    if readouts == "signs":
        signs = jax.random.rademacher(readout_key, (width,), weights.dtype)
        return CommitteeParams(weights, signs)
    raise InputError(f'readouts is {readouts!r}; choose "fixed", "normal" or "signs".')
