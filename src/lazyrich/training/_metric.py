"""What a metric is, and what it sees of a run."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Shaped

from lazyrich._base import Config, Params, Predictor
from lazyrich.models import Net
from lazyrich.tasks import Task, TaskData

from ._history import Description
from ._hyperparameters import Hyperparameters


class Snapshot(NamedTuple):
    """A network's run at one evaluation, as metrics see it.

    Attributes:
        predict: the scaled net, a ``Predictor`` of ``params``.
        params: θ, the parameters now.
        params0: θ₀, those at initialisation.
        data: training and test points, labels scaled.
        outputs: of the scaled net on the training points.
        test_outputs: of the scaled net on the test points.
        hyper: α, ε and the like.
        center: whether the output at θ₀ is subtracted.
    """

    predict: Predictor
    params: Params
    params0: Params
    data: TaskData
    outputs: Shaped[Array, "n ..."]
    test_outputs: Shaped[Array, "m ..."]
    hyper: Hyperparameters
    center: bool


class Metric(Config):
    """Settings of a metric; abstract. Metrics are pure: jit- and vmap-safe.

    Attributes:
        is_prepared: whether ``reference`` is computed before any batch, in double precision.
            For decompositions: batched, they have hung XLA's CPU threads, and in single
            precision they take small modes for null ones.
        names: of all records that ``measure`` returns.
    """

    is_prepared: ClassVar[bool] = False
    names: ClassVar[Sequence[str]] = ()

    kind: str

    def check(self, task: Task, net: Net) -> None:
        """Refuse, with an ``InputError``, a task or net that cannot be measured so."""

    def reference(self, start: Snapshot) -> Any:
        """What ``measure`` compares with, computed once from the run at step 0."""
        return None

    @abstractmethod
    def measure(self, now: Snapshot, reference: Any) -> dict[str, Array]:
        """The measured quantities by name."""

    def describe(self, params: Params) -> dict[str, Description]:
        """Units and axes of quantities that are not plain dimensionless numbers."""
        return {}
