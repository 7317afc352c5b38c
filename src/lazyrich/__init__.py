"""Is this network lazy or rich, will it generalise late, and what makes it sooner?

A short list of names from the lower floors. Importing it loads no xarray,
matplotlib, torch or dask. The committee machine and every numbered equation of the
paper stand in ``lazyrich.theory``; the figures in ``lazyrich.paper``; the names about
training are loaded when they are first asked for.
"""

import importlib as _importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING
from typing import Any as _Any

from lazyrich._ground import InputError as InputError
from lazyrich._ground import Predictor as Predictor
from lazyrich._ground import Status as Status
from lazyrich.kernels import alignment as alignment
from lazyrich.kernels import centered_alignment as centered_alignment
from lazyrich.kernels import chance_alignment as chance_alignment
from lazyrich.kernels import check_predictor as check_predictor
from lazyrich.kernels import debiased_alignment as debiased_alignment
from lazyrich.kernels import difficulty as difficulty
from lazyrich.kernels import explain_ntk as explain_ntk
from lazyrich.kernels import kernel_distance as kernel_distance
from lazyrich.kernels import kernel_regression as kernel_regression
from lazyrich.kernels import kernel_spectrum as kernel_spectrum
from lazyrich.kernels import lazy_dynamics as lazy_dynamics
from lazyrich.kernels import linearize as linearize
from lazyrich.kernels import ntk as ntk
from lazyrich.kernels import ntk_operator as ntk_operator
from lazyrich.kernels import permutation_null as permutation_null
from lazyrich.kernels import richness as richness
from lazyrich.measures import grokking_delay as grokking_delay
from lazyrich.nets import scale_output as scale_output

__version__ = _version("lazyrich")

if TYPE_CHECKING:
    from lazyrich.training import Experiment as Experiment
    from lazyrich.training import History as History
    from lazyrich.training import starting_point as starting_point
    from lazyrich.training import train as train
    from lazyrich.training import train_many as train_many

_TRAINING = ("Experiment", "History", "starting_point", "train", "train_many")


def __getattr__(name: str) -> _Any:
    if name not in _TRAINING:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    return getattr(_importlib.import_module("lazyrich.training"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_TRAINING})
