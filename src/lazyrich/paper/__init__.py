"""The paper's figures and claims, one file a figure.

Chooses experiments, draws, and compares what was measured with the printed sentence.
No mathematics here: that stands in the rooms below.

Vocabulary: a *claim* is a sentence of the paper with a statistic and a threshold; a
*verdict* is holds, does not hold or undecided, from the statistic over seeds; a
*preset* is a set of settings, ``paper`` (the authors') or ``quick`` (minutes).
"""

from ._claims_table import CLAIMS as CLAIMS
from ._reproduce import FIGURES as FIGURES
from ._reproduce import Reproduction as Reproduction
from ._reproduce import read_verdicts as read_verdicts
from ._reproduce import reproduce as reproduce
from ._verdict import Claim as Claim
from ._verdict import Verdict as Verdict
from ._verdict import judge as judge
