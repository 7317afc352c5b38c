"""The words that every room shares.

What a predictor is, how a run can end, and the one kind of error that bad input
raises. Never computes anything.

Vocabulary: a *predictor* is a pure function ``(params, x) -> y`` on a batch; a
*status* is how a run ended, as a value; an *input error* is one sentence that
says what was given, what was wanted and what to do. Its file functions are the only
ones here that touch a disk: they read regular files of bounded size, write whole files,
and replace nothing that this package did not write.
"""

from ._archive import DamagedArchive as DamagedArchive
from ._archive import pack_arrays as pack_arrays
from ._archive import unpack_arrays as unpack_arrays
from ._arrays import given_rounding as given_rounding
from ._arrays import host_array as host_array
from ._arrays import real_array as real_array
from ._arrays import real_arrays as real_arrays
from ._arrays import real_like as real_like
from ._arrays import real_scalars as real_scalars
from ._concrete import concrete as concrete
from ._config import AddedLater as AddedLater
from ._config import Config as Config
from ._config import field_paths as field_paths
from ._config import full_path as full_path
from ._config import say_renamed as say_renamed
from ._config import settings as settings
from ._errors import InputError as InputError
from ._errors import require_finite as require_finite
from ._errors import require_positive as require_positive
from ._errors import require_shapes as require_shapes
from ._errors import require_steps as require_steps
from ._files import FileKind as FileKind
from ._files import Occupied as Occupied
from ._files import open_folder as open_folder
from ._files import open_regular as open_regular
from ._files import read_file as read_file
from ._files import reason_of as reason_of
from ._files import remove_unfinished as remove_unfinished
from ._files import require_writable as require_writable
from ._files import set_aside as set_aside
from ._files import write_at as write_at
from ._files import write_file as write_file
from ._memory import MOST_EXPERIMENTS as MOST_EXPERIMENTS
from ._memory import free_memory as free_memory
from ._memory import grouped as grouped
from ._memory import memory_text as memory_text
from ._memory import require_countable as require_countable
from ._names import matching_paths as matching_paths
from ._names import nearest_name as nearest_name
from ._predictor import Params as Params
from ._predictor import Predictor as Predictor
from ._seal import BrokenSeal as BrokenSeal
from ._seal import has_seal as has_seal
from ._seal import seal as seal
from ._seal import unseal as unseal
from ._status import Status as Status
from ._values import read_changes as read_changes
from ._values import read_json as read_json
from ._values import read_value as read_value
from ._values import read_whole_number as read_whole_number
from ._values import shown as shown
from ._values import value_text as value_text
