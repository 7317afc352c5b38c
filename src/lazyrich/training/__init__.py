"""Parameters over time: gradient descent on the weights of any predictor.

Takes a predictor, data and an optax optimizer, and records what it is asked to at the
steps it is asked to. Names no net, no task and no kernel.

Vocabulary: *steps* are optimizer updates; a *save plan* says after which of them to
record; an *observation* is anything computed from the parameters at a save point.
"""

from ._descent import Descent as Descent
from ._descent import descend as descend
from ._history import History as History
from ._history import Record as Record
from ._save_plan import log_steps as log_steps
