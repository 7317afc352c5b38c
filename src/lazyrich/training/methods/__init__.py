"""Methods that are said to make networks generalise sooner, one file each.

An *optimizer* here is AdamW with something before or after it, or takes its place; an
*objective* is what a step descends in place of the loss that is recorded; an *initial
law* changes the parameters before the first step. Each file has the equation and the
reference. Nothing here knows how methods are compared.
"""

from typing import Annotated

from pydantic import Field

from ._column_normalization import ColumnNormalization as ColumnNormalization
from ._column_normalization import normalize_columns as normalize_columns
from ._egalitarian import EGD as EGD
from ._egalitarian import egalitarian_gradient as egalitarian_gradient
from ._first_layers import scale_first_layer as scale_first_layer
from ._grokfast import GrokfastEMA as GrokfastEMA
from ._grokfast import GrokfastMA as GrokfastMA
from ._grokfast import grokfast_ema as grokfast_ema
from ._grokfast import grokfast_ma as grokfast_ma
from ._jacobian_alignment import JacobianAlignment as JacobianAlignment
from ._jacobian_alignment import jacobian_penalty as jacobian_penalty
from ._late_l2 import LateL2 as LateL2
from ._late_l2 import late_l2 as late_l2
from ._muon import Muon as Muon
from ._norm_constraint import NormConstraint as NormConstraint
from ._norm_constraint import constrain_norm as constrain_norm
from ._objective import Batch as Batch
from ._objective import Objective as Objective
from ._objective import Plain as Plain
from ._orthogonal_gradient import OrthogonalGradient as OrthogonalGradient
from ._orthogonal_gradient import orthogonal_gradient as orthogonal_gradient
from ._stablemax import StableMax as StableMax
from ._stablemax import stablemax_cross_entropy as stablemax_cross_entropy
from ._temperature import Temperature as Temperature

AnyObjective = Annotated[
    Plain | Temperature | StableMax | JacobianAlignment, Field(discriminator="kind")
]
"""Settings of any objective, told apart by their ``kind``."""
