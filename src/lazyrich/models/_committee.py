"""The committee machine of the paper (§5, §12, §15.2), as a function of its weights."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike
from pydantic import Field, PositiveInt

from lazyrich._base import (
    InputError,
    Predictor,
    draw,
    hermite,
    require_finite,
    require_key,
    require_positive,
)

from ._net import Net, require_hyperparameters, require_vectors, scale_params


class CommitteeParams(NamedTuple):
    """Parameters of a committee machine.

    Attributes:
        weights: one row w_i for each hidden unit.
        readouts: v_i of each hidden unit, trained like the rest; None fixes all at one.

    Example:
        >>> CommitteeParams(jnp.ones((3, 2))).readouts is None
        True
    """

    weights: Float[Array, "N d"]
    readouts: Float[Array, " N"] | None = None


def committee_machine(epsilon: ScalarLike, *, degree: int | None = None) -> Predictor:
    """The net (1/N) Σ v_i φ(w_i·x) with φ(h) = h + (ε/2) h², Eqs. 3 and 21 at α = 1.

    With a degree k the activation is φ(h) = h + (ε/2) He_k(h) instead (§15.2), He_k the
    probabilists' Hermite polynomial: He₂(h) = h² − 1 differs from the square by a
    constant. The output scale α is applied by ``scale_output``.

    Args:
        epsilon: ε, strength of the nonlinear part, dimensionless.
        degree: k of the Hermite polynomial, 2 or more; None for the square.

    Returns:
        A predictor of ``CommitteeParams`` and inputs (n, d), with outputs (n,).

    Raises:
        InputError: if ε is not finite, or the degree is below 2.

    Example:
        >>> predict = committee_machine(0.5)
        >>> params = CommitteeParams(jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> predict(params, jnp.array([[2.0, 1.0]])).tolist()
        [3.0]

    References:
        Kumar et al. (2024), Eqs. 3 and 21, §15.2.
    """
    require_finite(epsilon=epsilon)
    if degree is not None and degree < 2:
        raise InputError(
            f"degree is {degree}; take a Hermite degree of 2 or more, or None for the square."
        )

    def predict(params: CommitteeParams, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        hidden = x @ params.weights.T
        curved = jnp.square(hidden) if degree is None else hermite(hidden, degree)
        active = hidden + 0.5 * epsilon * curved
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
    require_key(key)
    weight_key, readout_key = jax.random.split(key)
    weights = jnp.multiply(weight_scale, draw(jax.random.normal, weight_key, (width, dim)))
    if readouts == "fixed":
        return CommitteeParams(weights)
    if readouts == "normal":
        return CommitteeParams(weights, draw(jax.random.normal, readout_key, (width,)))
    if readouts == "signs":
        signs = jax.random.rademacher(readout_key, (width,), weights.dtype)
        return CommitteeParams(weights, signs)
    raise InputError(f'readouts is {readouts!r}; choose "fixed", "normal" or "signs".')


class CommitteeNet(Net):
    """Settings of a committee machine: (1/N) Σ v_i φ(w_i·x), one number out.

    σ multiplies the trained readouts too, unlike in ``init_committee_machine``.

    Attributes:
        width: N, number of hidden units.
        epsilon: ε, strength of the nonlinear part, dimensionless; may be traced.
        readouts: "fixed" at one, or trained from N(0, 1), "normal", or ±1, "signs".
        degree: None for φ(h) = h + (ε/2)h² (Eq. 3), k for h + (ε/2)He_k(h) (§15.2).

    Example:
        >>> net = CommitteeNet(width=50, epsilon=0.25)
        >>> params = net.init(jax.random.key(0), n_inputs=4, n_outputs=None)
        >>> net.predictor(epsilon=0.5)(params, jnp.ones((3, 4))).shape
        (3,)
    """

    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ("epsilon",)

    kind: Literal["committee"] = "committee"
    width: PositiveInt = 500
    epsilon: float = 0.02
    readouts: Literal["fixed", "normal", "signs"] = "fixed"
    degree: Annotated[int, Field(ge=2, le=12)] | None = None

    def init(
        self,
        key: PRNGKeyArray,
        *,
        n_inputs: int,
        n_outputs: int | None,
        vocabulary: int | None = None,
        weight_scale: ScalarLike = 1.0,
    ) -> CommitteeParams:
        """Parameters at initialisation, as described in ``Net``.

        Raises:
            InputError: if more than one number is to come out, or tokens go in.
        """
        require_vectors("A committee machine", vocabulary)
        if n_outputs is not None:
            raise InputError(
                f"A committee machine gives one number and the task needs {n_outputs} outputs; "
                "take an MLP, or a task with one label each."
            )
        params = init_committee_machine(key, self.width, dim=n_inputs, readouts=self.readouts)
        return scale_params(params, weight_scale)

    def predictor(self, **hyperparameters: ScalarLike) -> Predictor:
        """The net as a function; ``epsilon`` stands in for the field of that name."""
        require_hyperparameters(self, hyperparameters)
        return committee_machine(hyperparameters.get("epsilon", self.epsilon), degree=self.degree)
