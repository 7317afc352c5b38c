"""Many experiments, each computed once: grid, store, executors.

Takes frozen configs and a function that computes a list of them, keeps every result in a
file of its own, and gives back one labelled dataset. Knows no net, no task, no figure.

Vocabulary: a *grid* is experiments from axes; a *store* is a folder (or a URL) of
finished experiments; a *key* is an experiment's name in it; a *chunk* is what one call of
a worker computes; an *outcome* is what is kept of an experiment.
"""

from lazyrich._base import require_extra

require_extra("sweeps", __name__)


from ._dataset import to_dataset as to_dataset
from ._executors import require_executor as require_executor
from ._grid import axes_from_text as axes_from_text
from ._grid import grid as grid
from ._grid import log_spaced as log_spaced
from ._layout import short_names as short_names
from ._query import differing as differing
from ._query import export as export
from ._query import find as find
from ._query import open_dataset as open_dataset
from ._sweep import Submission as Submission
from ._sweep import count_stored as count_stored
from ._sweep import fill as fill
from ._sweep import sweep as sweep
from .store._codec import EXPERIMENT_FILE as EXPERIMENT_FILE
from .store._codec import encode as encode
from .store._key import experiment_key as experiment_key
from .store._result import Outcome as Outcome
from .store._result import outcome_of as outcome_of
from .store._storage import require_lasting as require_lasting
from .store._store import Store as Store
