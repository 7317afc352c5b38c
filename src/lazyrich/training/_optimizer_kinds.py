"""Every optimizer by its kind."""

from typing import Annotated

from pydantic import Field

from ._optimizers import Adam, AdamW, GradientDescent
from .methods import (
    EGD,
    ColumnNormalization,
    GrokfastEMA,
    GrokfastMA,
    LateL2,
    Muon,
    NormConstraint,
    OrthogonalGradient,
)

AnyOptimizer = Annotated[
    GradientDescent
    | Adam
    | AdamW
    | GrokfastEMA
    | GrokfastMA
    | OrthogonalGradient
    | NormConstraint
    | LateL2
    | Muon
    | EGD
    | ColumnNormalization,
    Field(discriminator="kind"),
]
