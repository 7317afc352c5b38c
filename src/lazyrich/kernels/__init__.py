"""Diagnostics of laziness for any predictor: its tangent kernel and quantities derived from it.

Takes a ``Predictor`` or a kernel matrix and returns arrays. Trains nothing and imports no
network or task; works on every pure ``predict(params, x)``. Only
``measure_rates`` reads the clock and writes a file: the rates by which kernels are planned.

Vocabulary: the *kernel* is the empirical NTK K (n, n) on training rows, a *query
kernel* (m, n) pairs query rows with them; *traced* means summed over outputs; the *linearized*
is the network linearised at θ₀; the *cutoff* is the eigenvalue, relative to the largest,
below which a mode is taken for the kernel's null space; *chance* is what unrelated
labels score; a parameter is taken the *structured* way into the kernel if its gradients
are never formed.

Kernels, targets and rates may be any real numbers, of any type and in any form that NumPy
reads (lists, pandas, PyTorch on a CPU); results are in single precision, or in double if
something given is and JAX has ``jax_enable_x64`` switched on. Kernels that are not
symmetric, or not positive semidefinite beyond rounding, are refused. Inside ``jit`` or
``vmap``, where nothing can be refused, a kernel that is not symmetric gives NaN, and so
does one with negative eigenvalues where eigenvalues are computed at all.
"""

from ._alignment import PermutationNull as PermutationNull
from ._alignment import alignment as alignment
from ._alignment import centered_alignment as centered_alignment
from ._alignment import chance_alignment as chance_alignment
from ._alignment import column_centered_alignment as column_centered_alignment
from ._alignment import debiased_alignment as debiased_alignment
from ._alignment import permutation_null as permutation_null
from ._check_predictor import check_predictor as check_predictor
from ._conditioning import ConditionReport as ConditionReport
from ._conditioning import condition_report as condition_report
from ._distance import difficulty as difficulty
from ._distance import kernel_distance as kernel_distance
from ._distance import lazy_parameter_change as lazy_parameter_change
from ._linearize import linearize as linearize
from ._linearized_dynamics import LazyDynamics as LazyDynamics
from ._linearized_dynamics import lazy_dynamics as lazy_dynamics
from ._modes import KernelSpectrum as KernelSpectrum
from ._modes import kernel_spectrum as kernel_spectrum
from ._ntk._entry import explain_ntk as explain_ntk
from ._ntk._entry import ntk as ntk
from ._ntk._explain import Explanation as Explanation
from ._ntk._explain import Way as Way
from ._ntk._rates import measure_rates as measure_rates
from ._ntk._work import Rates as Rates
from ._operator import NTKOperator as NTKOperator
from ._operator import OperatorRegression as OperatorRegression
from ._operator import ntk_operator as ntk_operator
from ._operator import operator_regression as operator_regression
from ._regression import flatten_kernel as flatten_kernel
from ._regression import kernel_regression as kernel_regression
from ._richness import Richness as Richness
from ._richness import low_rank_measure as low_rank_measure
from ._richness import richness as richness
