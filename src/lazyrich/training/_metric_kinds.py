"""Every metric by its name."""

from typing import Annotated

from pydantic import Field

from ._kernel_metrics import (
    Alignment,
    Difficulty,
    KernelMovement,
    KernelRegression,
    Linearization,
)
from ._metric import Metric
from ._output_metrics import Terms, TestLossError, ThresholdAccuracy
from ._parameter_metrics import ParameterChange, WeightNorm

METRICS: dict[str, type[Metric]] = {
    "weight_norm": WeightNorm,
    "parameter_change": ParameterChange,
    "threshold_accuracy": ThresholdAccuracy,
    "kernel_movement": KernelMovement,
    "linearization": Linearization,
    "alignment": Alignment,
    "kernel_regression": KernelRegression,
    "difficulty": Difficulty,
    "test_loss_error": TestLossError,
    "terms": Terms,
}
"""Every metric by its name."""

AnyMetric = Annotated[
    WeightNorm
    | ParameterChange
    | ThresholdAccuracy
    | KernelMovement
    | Linearization
    | Alignment
    | KernelRegression
    | Difficulty
    | TestLossError
    | Terms,
    Field(discriminator="kind"),
]
