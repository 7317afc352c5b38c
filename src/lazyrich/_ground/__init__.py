"""The words that every room shares.

What a predictor is, how a run can end, and the one kind of error that bad input
raises. Never computes anything.

Vocabulary: a *predictor* is a pure function ``(params, x) -> y`` on a batch; a
*status* is how a run ended, as a value; an *input error* is one sentence that
says what was given, what was wanted and what to do.
"""

from ._config import Config as Config
from ._config import field_paths as field_paths
from ._config import full_path as full_path
from ._config import say_renamed as say_renamed
from ._errors import InputError as InputError
from ._errors import require_finite as require_finite
from ._errors import require_positive as require_positive
from ._errors import require_shapes as require_shapes
from ._errors import require_steps as require_steps
from ._memory import MOST_EXPERIMENTS as MOST_EXPERIMENTS
from ._memory import free_memory as free_memory
from ._memory import grouped as grouped
from ._memory import memory_text as memory_text
from ._memory import require_countable as require_countable
from ._names import matching_paths as matching_paths
from ._names import nearest_name as nearest_name
from ._predictor import Params as Params
from ._predictor import Predictor as Predictor
from ._status import Status as Status
from ._values import read_changes as read_changes
from ._values import read_json as read_json
from ._values import read_value as read_value
from ._values import read_whole_number as read_whole_number
from ._values import shown as shown
from ._values import value_text as value_text
