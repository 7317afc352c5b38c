"""Training: one run or many, what they record, and how they are stored.

Trains anything that is a ``Simulation``: any net on any task from one frozen
``Experiment``, a committee machine by its exact dynamics from a ``CommitteeExperiment``,
or a simulation of the user's own. One loop measures it at its evaluation steps, keeps
checkpoints and goes on from them. Reads the clock to choose how to run and writes
checkpoints; knows nothing of sweeps, labels of axes, or pictures.

Vocabulary: *steps* are optimizer updates; *evaluation steps* are those after which a run
is recorded; a *static key* is what may share a compilation, *dynamic hyperparameters*
are what may differ then; a *metric* is anything computed from a ``Snapshot`` of a
network; the *linearized network* is trained alongside, its records begin with
``linearized``; a *history* is what a run leaves behind.
"""

from ._checkpoint import DamagedCheckpoint as DamagedCheckpoint
from ._committee import CommitteeExperiment as CommitteeExperiment
from ._committee_program import CommitteeHyperparameters as CommitteeHyperparameters
from ._committee_program import CommitteeSnapshot as CommitteeSnapshot
from ._dispatch import Mode as Mode
from ._experiment import NUMERICS_VERSION as NUMERICS_VERSION
from ._experiment import Experiment as Experiment
from ._experiment import Scaling as Scaling
from ._experiment import Stop as Stop
from ._history import Description as Description
from ._history import History as History
from ._history import Record as Record
from ._hyperparameters import Hyperparameters as Hyperparameters
from ._kernel_metrics import Alignment as Alignment
from ._kernel_metrics import Difficulty as Difficulty
from ._kernel_metrics import KernelMovement as KernelMovement
from ._kernel_metrics import KernelRegression as KernelRegression
from ._kernel_metrics import Linearization as Linearization
from ._losses import accuracy as accuracy
from ._losses import cross_entropy as cross_entropy
from ._losses import mean_squared_error as mean_squared_error
from ._losses import threshold_accuracy as threshold_accuracy
from ._memory import require_memory as require_memory
from ._metric import Metric as Metric
from ._metric import Snapshot as Snapshot
from ._metric_kinds import METRICS as METRICS
from ._metric_kinds import AnyMetric as AnyMetric
from ._optimizer_kinds import AnyOptimizer as AnyOptimizer
from ._optimizers import Adam as Adam
from ._optimizers import AdamW as AdamW
from ._optimizers import DecoupledDecay as DecoupledDecay
from ._optimizers import GradientDescent as GradientDescent
from ._optimizers import Optimizer as Optimizer
from ._output_metrics import Terms as Terms
from ._output_metrics import TestLossError as TestLossError
from ._output_metrics import ThresholdAccuracy as ThresholdAccuracy
from ._parameter_metrics import ParameterChange as ParameterChange
from ._parameter_metrics import WeightNorm as WeightNorm
from ._presets import PRESETS as PRESETS
from ._presets import preset as preset
from ._presets import starting_point as starting_point
from ._printed import PrintedDraw as PrintedDraw
from ._progress import Progress as Progress
from ._schedule import log_steps as log_steps
from ._simulation import Inputs as Inputs
from ._simulation import Program as Program
from ._simulation import Simulation as Simulation
from ._train import experiment_from_json as experiment_from_json
from ._train import train as train
from ._train import train_committee as train_committee
from ._train import train_many as train_many
from .methods import EGD as EGD
from .methods import AnyObjective as AnyObjective
from .methods import Batch as Batch
from .methods import ColumnNormalization as ColumnNormalization
from .methods import GrokfastEMA as GrokfastEMA
from .methods import GrokfastMA as GrokfastMA
from .methods import JacobianAlignment as JacobianAlignment
from .methods import LateL2 as LateL2
from .methods import Muon as Muon
from .methods import NormConstraint as NormConstraint
from .methods import Objective as Objective
from .methods import OrthogonalGradient as OrthogonalGradient
from .methods import Plain as Plain
from .methods import StableMax as StableMax
from .methods import Temperature as Temperature
from .methods import constrain_norm as constrain_norm
from .methods import egalitarian_gradient as egalitarian_gradient
from .methods import grokfast_ema as grokfast_ema
from .methods import grokfast_ma as grokfast_ma
from .methods import jacobian_penalty as jacobian_penalty
from .methods import late_l2 as late_l2
from .methods import normalize_columns as normalize_columns
from .methods import orthogonal_gradient as orthogonal_gradient
from .methods import scale_first_layer as scale_first_layer
from .methods import stablemax_cross_entropy as stablemax_cross_entropy
