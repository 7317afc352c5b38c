"""Many experiments, each computed once: grid, store, executors.

Takes frozen configs and a function that computes a list of them, keeps every result in a
file of its own, and gives back one labelled dataset. Knows no net, no task, no figure.

Vocabulary: a *grid* is experiments from axes; a *store* is a folder (or an URL) of
finished experiments; a *key* is an experiment's name in it; a *parcel* is what one call of
a worker computes; an *outcome* is what is kept of an experiment.
"""

from lazyrich._ground import require_extra

require_extra("sweeps", __name__)


from ._axes import short_names as short_names
from ._dataset import to_dataset as to_dataset
from ._grid import axes_from_text as axes_from_text
from ._grid import grid as grid
from ._grid import log_spaced as log_spaced
from ._key import experiment_key as experiment_key
from ._netcdf import EXPERIMENT_FILE as EXPERIMENT_FILE
from ._netcdf import encode as encode
from ._open import differing as differing
from ._open import export as export
from ._open import find as find
from ._open import open_dataset as open_dataset
from ._outcome import Outcome as Outcome
from ._outcome import outcome_of as outcome_of
from ._place import require_lasting as require_lasting
from ._store import Store as Store
from ._sweep import Sending as Sending
from ._sweep import count_stored as count_stored
from ._sweep import fill as fill
from ._sweep import sweep as sweep
