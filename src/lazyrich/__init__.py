"""Is this network lazy or rich, will it generalise late, and what makes it sooner?

A short list of names from the subpackages. The committee machine and every numbered
equation of the paper stand in ``lazyrich.theory``; the figures in ``lazyrich.paper``.
Names and subpackages are loaded when they are first asked for: importing this package
costs nothing, so the command line can answer Ctrl-C before JAX is there.
"""

import importlib as _importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from lazyrich._base import InputError as InputError
    from lazyrich._base import Predictor as Predictor
    from lazyrich._base import Status as Status
    from lazyrich.curves import grokking_delay as grokking_delay
    from lazyrich.diagnosis import Monitor as Monitor
    from lazyrich.diagnosis import diagnose as diagnose
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
    from lazyrich.models import scale_output as scale_output
    from lazyrich.training import Experiment as Experiment
    from lazyrich.training import History as History
    from lazyrich.training import preset as preset
    from lazyrich.training import starting_point as starting_point
    from lazyrich.training import train as train
    from lazyrich.training import train_many as train_many

    __version__: str

_NAMES = {
    "_base": ("InputError", "Predictor", "Status"),
    "diagnosis": ("Monitor", "diagnose"),
    "kernels": (
        "alignment",
        "centered_alignment",
        "chance_alignment",
        "check_predictor",
        "debiased_alignment",
        "difficulty",
        "explain_ntk",
        "kernel_distance",
        "kernel_regression",
        "kernel_spectrum",
        "lazy_dynamics",
        "linearize",
        "ntk",
        "ntk_operator",
        "permutation_null",
        "richness",
    ),
    "curves": ("grokking_delay",),
    "models": ("scale_output",),
    "training": ("Experiment", "History", "preset", "starting_point", "train", "train_many"),
}
_SUBPACKAGE_OF = {name: package for package, names in _NAMES.items() for name in names}
_SUBPACKAGES = frozenset(
    [
        "cli",
        "curves",
        "diagnosis",
        "explorer",
        "kernels",
        "models",
        "paper",
        "plots",
        "race",
        "sweeps",
        "tasks",
        "theory",
        "training",
    ]
)


def __getattr__(name: str) -> _Any:
    if name in _SUBPACKAGE_OF:
        found = getattr(_importlib.import_module(f"lazyrich.{_SUBPACKAGE_OF[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version("lazyrich")
    elif name in _SUBPACKAGES:
        return _importlib.import_module(f"lazyrich.{name}")
    else:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGE_OF, *_SUBPACKAGES, "__version__"})
