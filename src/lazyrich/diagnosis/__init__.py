"""Someone's own network: is it lazy or rich, is it late, and what would make it sooner?

Takes what a framework can deliver about a network on a batch of probe rows (``Evidence``:
outputs, products of pulled-back directions, derivatives, exact kernels where they fit) and
gives a verdict with the numbers that decided it, their intervals and null levels, and
advice in a fixed order of causes. JAX is filled in here, PyTorch in ``lazyrich.torch``.
Never trains, and never changes what it measures.

Terms: the *reference* is the earlier checkpoint θ₀; the *linearization gap* is the share of
the outputs' change that the expansion around θ₀ misses; *kernels* are tangent kernels,
centred over rows; a *sketch* holds the products of random directions pulled back to
parameters.
"""

from ._advice import Advice as Advice
from ._advice import advise as advise
from ._decay import decay_steps as decay_steps
from ._diagnose import diagnose as diagnose
from ._diagnosis import Diagnosis as Diagnosis
from ._diagnosis import diagnosis_of as diagnosis_of
from ._estimate import Estimate as Estimate
from ._evidence import Evidence as Evidence
from ._evidence import GroupChange as GroupChange
from ._evidence import Labels as Labels
from ._evidence import LinearPart as LinearPart
from ._evidence import Loss as Loss
from ._evidence import Optimization as Optimization
from ._evidence import ProbeBatch as ProbeBatch
from ._evidence import Snapshot as Snapshot
from ._evidence import loss_taken as loss_taken
from ._evidence import read_labels as read_labels
from ._fit import Fit as Fit
from ._fit import cosine_of as cosine_of
from ._fit import fit_of as fit_of
from ._fit import loss_gradient as loss_gradient
from ._forecast import hankel_residual as hankel_residual
from ._forecast import log_slope as log_slope
from ._forecast import roughness as roughness
from ._given import require_different_rows as require_different_rows
from ._given import require_kind as require_kind
from ._given import require_rows as require_rows
from ._given import rows_taken as rows_taken
from ._given import whole_step as whole_step
from ._jax import Settings as Settings
from ._kernel_change import KernelChange as KernelChange
from ._kernel_change import kernel_change as kernel_change
from ._linearization import LinearizationGap as LinearizationGap
from ._linearization import linearization_gap as linearization_gap
from ._measurements import GroupMeasurement as GroupMeasurement
from ._measurements import Measurements as Measurements
from ._measurements import measure as measure
from ._monitor import Monitor as Monitor
from ._monitored import monitored as monitored
from ._page import PAGE as PAGE
from ._readings import Reading as Reading
from ._recorded import When as When
from ._recorded import diagnose_records as diagnose_records
from ._recorded import fitted_at as fitted_at
from ._run_records import RunRecords as RunRecords
from ._run_records import cosine_bounds as cosine_bounds
from ._run_records import gap_bounds as gap_bounds
from ._schedule import Throttle as Throttle
from ._schedule import next_scheduled as next_scheduled
from ._sketched import sketched_cosine as sketched_cosine
from ._sketched import sketched_distance as sketched_distance
from ._sketched import sketched_growth as sketched_growth
from ._sketched import sketched_norm as sketched_norm
from ._sketched import sketched_rank as sketched_rank
from ._sketched import sketched_trace as sketched_trace
from ._thresholds import THRESHOLD_HISTORY as THRESHOLD_HISTORY
from ._thresholds import THRESHOLDS as THRESHOLDS
from ._thresholds import Threshold as Threshold
from ._verdict import Regime as Regime
from ._verdict import Verdict as Verdict
from ._verdict import decide as decide
