"""What a run leaves behind."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from lazyrich._base import Config, Params, Status

FORMER_RECORDS = {
    f"twin_{name}": f"linearized_{name}"
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "change")
}
"""Names under which records of the linearized network were once kept."""


class Description(NamedTuple):
    """Unit and axes of one measured quantity, as in ``Record``."""

    unit: str = "dimensionless"
    axes: tuple[str, ...] = ()
    coordinates: tuple[tuple[Any, ...] | None, ...] = ()


class Record(NamedTuple):
    """One measured quantity at every evaluation step.

    Attributes:
        values: measured numbers, evaluation steps first.
        unit: "dimensionless", "label units", "label units²" or "steps".
        axes: name of each axis after the first, such as ``("threshold",)``.
        coordinates: for each such axis its values, or None to count from zero.
    """

    values: Shaped[np.ndarray, "s ..."]
    unit: str = "dimensionless"
    axes: tuple[str, ...] = ()
    coordinates: tuple[tuple[Any, ...] | None, ...] = ()


class History(NamedTuple):
    """What a run left at its evaluation steps.

    Attributes:
        experiment: the settings it was made from.
        steps: optimizer updates made before each record; ends early where the run did.
        records: measured quantities by name; ``train_loss`` and ``test_loss`` always.
        status: ``ok``; ``diverged`` if a loss stopped being finite; ``out_of_steps`` if
            it was to stop when solved and was not.
        params: parameters at the last record.
        wall_seconds: time of the computation alone, compilation included, shared
            equally among runs that were computed together.
    """

    experiment: Config
    steps: Int[np.ndarray, " s"]
    records: dict[str, Record]
    status: Status
    params: Params
    wall_seconds: float

    @property
    def train_loss(self) -> np.ndarray:
        """Loss on the training points, label units² (MSE) or nats (cross-entropy)."""
        return self.records["train_loss"].values

    @property
    def test_loss(self) -> np.ndarray:
        """Loss on the test points."""
        return self.records["test_loss"].values
