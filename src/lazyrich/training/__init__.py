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
from ._losses import Loss as Loss
from ._losses import accuracy as accuracy
from ._losses import cross_entropy as cross_entropy
from ._losses import mean_squared_error as mean_squared_error
from ._losses import threshold_accuracy as threshold_accuracy
from ._save_plan import log_steps as log_steps
