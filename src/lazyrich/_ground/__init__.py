"""The words that every room shares.

What a predictor is, how a run can end, and the one kind of error that bad input
raises. Never computes anything.

Vocabulary: a *predictor* is a pure function ``(params, x) -> y`` on a batch; a
*status* is how a run ended, as a value; an *input error* is one sentence that
says what was given, what was wanted and what to do.
"""

from ._config import AddedLater as AddedLater
from ._config import Config as Config
from ._config import field_paths as field_paths
from ._config import full_path as full_path
from ._config import settings as settings
from ._errors import InputError as InputError
from ._errors import require_finite as require_finite
from ._errors import require_positive as require_positive
from ._errors import require_shapes as require_shapes
from ._errors import require_steps as require_steps
from ._predictor import Params as Params
from ._predictor import Predictor as Predictor
from ._status import Status as Status
