"""The paper's figures and claims, one file a figure.

Chooses experiments, plots them, and compares what was measured with the paper's sentence.
The mathematics is in the lower layers.

Vocabulary: a *panel* is experiments that lie in one grid, and what they measured; a
*claim* is a sentence of the paper with a statistic and a threshold; a *verdict* is
holds, does not hold or undecided, from the statistic over seeds, met or not of a single
draw; a *preset* is a set of settings: ``authors`` (their own draw), ``paper`` (their
settings over seeds) or ``quick`` (wide networks, in minutes).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._base import require_extra

require_extra("sweeps", __name__)
require_extra("plots", __name__)


from ._claims import CLAIMS as CLAIMS
from ._claims import HISTORY as HISTORY
from ._figure_spec import FigureSpec as FigureSpec
from ._figure_spec import Panel as Panel
from ._reproduce import Reproduction as Reproduction
from ._reproduce import reproduce as reproduce
from ._results import PRESETS as PRESETS
from ._results import Result as Result
from ._results import as_json as as_json
from ._results import read_results as read_results
from ._verdict import Claim as Claim
from ._verdict import Verdict as Verdict
from ._verdict import judge as judge
from ._words import LEGEND as LEGEND
from ._words import SYMBOLS as SYMBOLS
from ._words import by_claim as by_claim
from ._words import describe as describe
from ._words import in_short as in_short
from .figures import FIGURES as FIGURES

if TYPE_CHECKING:
    from .report import write_report as write_report


def __getattr__(name: str) -> Callable[..., Path]:
    if name != "write_report":
        raise AttributeError(f"module 'lazyrich.paper' has no attribute {name!r}")
    from .report import write_report  # needs an extra of its own

    return write_report
