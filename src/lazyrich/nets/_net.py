"""What every net's settings offer: parameters from a key, and a predictor."""

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import PRNGKeyArray, ScalarLike

from lazyrich._ground import Config, Params, Predictor


class Net(Config):
    """Settings of a net; abstract.

    Attributes:
        dials: names of the fields that ``predictor`` takes as numbers that may be
            traced, so that runs which differ in them share one compilation.
        takes: "vectors" (n, d) or "tokens" (n, t).
    """

    dials: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[str] = "vectors"

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
        """Parameters at initialisation, every one of them times ``weight_scale`` (σ)."""

    @abstractmethod
    def predictor(self, **dials: ScalarLike) -> Predictor:
        """The net as a function; ``dials`` stand in for the fields of those names."""
