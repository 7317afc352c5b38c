"""Every probe by its name."""

from typing import Annotated

from pydantic import Field

from ._kernel_metrics import Alignment, Difficulty, KernelMovement, KernelRegression
from ._metric import Probe
from ._output_metrics import Terms, TestLossError, ThresholdAccuracy
from ._parameter_metrics import ParameterChange, WeightNorm

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
