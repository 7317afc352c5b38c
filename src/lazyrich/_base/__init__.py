"""What every subpackage shares: predictors, statuses, configs, input errors, arrays and files.

Computes nothing of its own, Hermite polynomials aside.

Vocabulary: a *predictor* is a pure function ``(params, x) -> y`` on a batch; a
*status* is how a run ended, as a value; an *input error* is one sentence that
says what was given, what was wanted and what to do. The file functions are the only
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
from ._checks import require_finite as require_finite
from ._checks import require_instance as require_instance
from ._checks import require_key as require_key
from ._checks import require_nonnegative as require_nonnegative
from ._checks import require_positive as require_positive
from ._checks import require_seed as require_seed
from ._checks import require_shapes as require_shapes
from ._checks import require_steps as require_steps
from ._checks import require_whole as require_whole
from ._concrete import concrete as concrete
from ._config import AddedLater as AddedLater
from ._config import Config as Config
from ._config import say_renamed as say_renamed
from ._config import settings as settings
from ._display import grouped as grouped
from ._display import kind_of as kind_of
from ._display import memory_text as memory_text
from ._display import shown as shown
from ._draw import draw as draw
from ._errors import InputError as InputError
from ._extras import EXTRAS as EXTRAS
from ._extras import MissingExtra as MissingExtra
from ._extras import require_extra as require_extra
from ._files import only_one_at as only_one_at
from ._files import open_folder as open_folder
from ._files import open_regular as open_regular
from ._files import read_file as read_file
from ._files import reason_of as reason_of
from ._hermite import hermite as hermite
from ._json import Json as Json
from ._limits import MOST_EXPERIMENTS as MOST_EXPERIMENTS
from ._limits import require_countable as require_countable
from ._memory import free_memory as free_memory
from ._memory import memory_size as memory_size
from ._names import field_paths as field_paths
from ._names import full_path as full_path
from ._names import matching_paths as matching_paths
from ._names import nearest_name as nearest_name
from ._precision import full_precision as full_precision
from ._predictor import Params as Params
from ._predictor import Predictor as Predictor
from ._seal import BrokenSeal as BrokenSeal
from ._seal import has_seal as has_seal
from ._seal import seal as seal
from ._seal import unseal as unseal
from ._status import Status as Status
from ._unfinished import CREATE_NEW as CREATE_NEW
from ._unfinished import remove_unfinished as remove_unfinished
from ._unfinished import set_aside as set_aside
from ._unfinished import try_writing as try_writing
from ._values import read_changes as read_changes
from ._values import read_json as read_json
from ._values import read_value as read_value
from ._values import read_whole_number as read_whole_number
from ._values import value_text as value_text
from ._writing import FileKind as FileKind
from ._writing import Occupied as Occupied
from ._writing import require_writable as require_writable
from ._writing import write_at as write_at
from ._writing import write_file as write_file
