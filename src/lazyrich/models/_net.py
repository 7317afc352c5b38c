"""The interface of a network's settings: parameters from a key, and a predictor."""

from abc import abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, ScalarLike

from lazyrich._base import (
    Config,
    InputError,
    Params,
    Predictor,
    require_finite,
    require_positive,
)


class Net(Config):
    """Settings of a net; abstract.

    Attributes:
        dynamic_hyperparameters: names of the fields that ``predictor`` takes as numbers that may be
            traced, so that runs which differ in them share one compilation.
        takes: "vectors" (n, d) or "tokens" (n, t).

    Example:
        >>> from lazyrich.models import MLPNet
        >>> issubclass(MLPNet, Net), MLPNet.takes
        (True, 'vectors')
    """

    dynamic_hyperparameters: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[str] = "vectors"

    if TYPE_CHECKING:

        @property
        def kind(self) -> str: ...

    @abstractmethod
    def init(
        self,
        key: PRNGKeyArray,
        *,
        n_inputs: int,
        n_outputs: int | None,
        vocabulary: int | None = None,
        weight_scale: ScalarLike = 1.0,
    ) -> Params:
        """Parameters at initialisation.

        Args:
            key: random key.
            n_inputs: inputs of a row, or tokens in it.
            n_outputs: outputs, or classes; None is one number without an axis.
            vocabulary: how many different tokens there are; None means vectors.
            weight_scale: σ, which multiplies every parameter, dimensionless.

        Raises:
            InputError: if the net does not take such inputs or give such outputs.
        """

    @abstractmethod
    def predictor(self, **hyperparameters: ScalarLike) -> Predictor:
        """The net as a function; ``hyperparameters`` stand in for the fields of those names."""


def scale_params(params: Params, weight_scale: ScalarLike) -> Params:
    """Every parameter times σ, in the precision it has.

    Raises:
        InputError: if σ is not finite or not above zero.
    """
    require_finite(weight_scale=weight_scale)
    require_positive(weight_scale=weight_scale)
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(weight_scale, leaf.dtype), params)


def require_vectors(name: str, vocabulary: int | None) -> None:
    """Refuse tokens, for a net that takes vectors."""
    if vocabulary is not None:
        raise InputError(
            f"{name} takes vectors and the task gives tokens (a vocabulary of {vocabulary}); "
            "ask the task for one-hot vectors, or take a transformer."
        )


def require_hyperparameters(net: Net, names: Collection[str]) -> None:
    """Refuse dynamic hyperparameters that a net does not have."""
    unknown = sorted(set(names) - set(net.dynamic_hyperparameters))
    if unknown:
        has = ", ".join(net.dynamic_hyperparameters) or "none"
        raise InputError(
            f"{type(net).__name__} has no dynamic hyperparameter {', '.join(unknown)}; "
            f"it has: {has}."
        )
