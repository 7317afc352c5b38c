"""Every probe by its name."""

from typing import Annotated

from pydantic import Field

from ._kernel_probes import Alignment, Difficulty, KernelMovement, KernelRegression
from ._output_probes import Terms, TestLossError, ThresholdAccuracy
from ._parameter_probes import ParameterChange, WeightNorm
from ._probe import Probe

PROBES: dict[str, type[Probe]] = {
    "weight_norm": WeightNorm,
    "parameter_change": ParameterChange,
    "threshold_accuracy": ThresholdAccuracy,
    "kernel_movement": KernelMovement,
    "alignment": Alignment,
    "kernel_regression": KernelRegression,
    "difficulty": Difficulty,
    "test_loss_error": TestLossError,
    "terms": Terms,
}
"""Every probe by its name."""

AnyProbe = Annotated[
    WeightNorm
    | ParameterChange
    | ThresholdAccuracy
    | KernelMovement
    | Alignment
    | KernelRegression
    | Difficulty
    | TestLossError
    | Terms,
    Field(discriminator="kind"),
]
