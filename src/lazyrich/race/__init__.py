"""Methods said to make networks generalise sooner, compared at equal tuning budget.

Every arm searches rate, decay, batch and at most two knobs of its own with the same number
of quasi-random trials; the time to a target on validation rows is what counts, and a miss
is censored at T_max, never dropped. The best settings of each study then run with fresh
seeds that all arms share.

Vocabulary: an *arm* is a method; a *trial* is one run of it; a *study* is an independent
search; an *edition* is everything that was fixed beforehand, with its hash; *fresh* seeds
are those on which nothing was tuned; a task is *held out* if its settings come from another.
"""

from lazyrich._base import require_extra

require_extra("sweeps", __name__)
require_extra("plots", __name__)

from ._controls import CONTROLS as CONTROLS
from ._controls import Control as Control
from ._controls import control_trials as control_trials
from ._controls import controls_of as controls_of
from ._controls import run_controls as run_controls
from ._controls import winners as winners
from ._delay_law import CLAIM as CLAIM
from ._delay_law import GRIDS as GRIDS
from ._delay_law import DelayLaw as DelayLaw
from ._delay_law import LawGrid as LawGrid
from ._delay_law import censored_line as censored_line
from ._delay_law import fit_law as fit_law
from ._delay_law import measure_delay_law as measure_delay_law
from ._edition import Arm as Arm
from ._edition import Edition as Edition
from ._edition import RaceTask as RaceTask
from ._edition import Rules as Rules
from ._edition import default_edition as default_edition
from ._edition import read_edition as read_edition
from ._figures import draw_delay_law as draw_delay_law
from ._figures import draw_race as draw_race
from ._full import full_edition as full_edition
from ._pilot import PilotResult as PilotResult
from ._pilot import pilot as pilot
from ._plan import best_of_studies as best_of_studies
from ._plan import fresh_trials as fresh_trials
from ._plan import tuning_trials as tuning_trials
from ._results import Results as Results
from ._rows import Planned as Planned
from ._run import race as race
from ._run import run_trials as run_trials
from ._smoke import smoke_edition as smoke_edition
from ._space import Choice as Choice
from ._space import Range as Range
from ._space import sobol_points as sobol_points
from ._statistics import Interval as Interval
from ._statistics import Survival as Survival
from ._statistics import expected_best as expected_best
from ._statistics import holm as holm
from ._statistics import kaplan_meier as kaplan_meier
from ._statistics import restricted_mean as restricted_mean
from ._statistics import restricted_mean_interval as restricted_mean_interval
from ._statistics import share_near_best as share_near_best
from ._statistics import sign_flip_test as sign_flip_test
from ._statistics import speed_up as speed_up
from ._statistics import wilson as wilson
from ._summary import ArmSummary as ArmSummary
from ._summary import summarize as summarize
from ._table import table as table
from ._table import write_figures as write_figures
from ._trial import Target as Target
from ._trial import Trial as Trial
