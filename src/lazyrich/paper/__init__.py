"""The paper's figures and claims, one file a figure.

Chooses experiments, draws, and compares what was measured with the printed sentence.
No mathematics here: that stands in the rooms below.

Vocabulary: a *panel* is experiments that lie in one grid, and what they measured; a
*claim* is a sentence of the paper with a statistic and a threshold; a *verdict* is
holds, does not hold or undecided, from the statistic over seeds; a *preset* is a set of
settings, ``paper`` (the authors') or ``quick`` (minutes).
"""

from ._claims import CLAIMS as CLAIMS
from ._claims import HISTORY as HISTORY
from ._recipe import Panel as Panel
from ._recipe import Recipe as Recipe
from ._reproduce import Reproduction as Reproduction
from ._reproduce import read_verdicts as read_verdicts
from ._reproduce import reproduce as reproduce
from ._verdict import Claim as Claim
from ._verdict import Verdict as Verdict
from ._verdict import judge as judge
from .figures import FIGURES as FIGURES
from .gallery import write_report as write_report
