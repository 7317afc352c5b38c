"""Parameters over time: one run or many, what they record, and how they are kept.

Trains any net on any task from one frozen ``Experiment``, measures it with probes at its
save points, keeps checkpoints and goes on from them. The loop names no kernel: what to
measure arrives as probes. Knows nothing of sweeps, labels of axes, or pictures.

Vocabulary: *steps* are optimizer updates; a *save plan* says after which of them to
record; a *probe* is anything computed from a ``Snapshot`` of a run; the *twin* is the
linearised net, trained alongside; a *history* is what a run leaves behind.
"""

from ._checkpoint import DamagedCheckpoint as DamagedCheckpoint
from ._committee import CommitteeExperiment as CommitteeExperiment
from ._committee import train_committee as train_committee
from ._descent import Descent as Descent
from ._descent import descend as descend
from ._dispatch import experiment_from_json as experiment_from_json
from ._dispatch import train as train
from ._dispatch import train_many as train_many
from ._experiment import NUMERICS_VERSION as NUMERICS_VERSION
from ._experiment import Experiment as Experiment
from ._experiment import Scaling as Scaling
from ._experiment import Stop as Stop
from ._history import History as History
from ._history import Record as Record
from ._losses import accuracy as accuracy
from ._losses import cross_entropy as cross_entropy
from ._losses import mean_squared_error as mean_squared_error
from ._losses import threshold_accuracy as threshold_accuracy
from ._memory import require_memory as require_memory
from ._modes import Mode as Mode
from ._optimizers import Adam as Adam
from ._optimizers import AdamW as AdamW
from ._optimizers import AnyOptimizer as AnyOptimizer
from ._optimizers import GradientDescent as GradientDescent
from ._optimizers import Optimizer as Optimizer
from ._printed import PrintedDraw as PrintedDraw
from ._probes import PROBES as PROBES
from ._probes import Alignment as Alignment
from ._probes import AnyProbe as AnyProbe
from ._probes import Difficulty as Difficulty
from ._probes import KernelMovement as KernelMovement
from ._probes import KernelRegression as KernelRegression
from ._probes import ParameterChange as ParameterChange
from ._probes import Probe as Probe
from ._probes import Snapshot as Snapshot
from ._probes import Terms as Terms
from ._probes import TestLossError as TestLossError
from ._probes import ThresholdAccuracy as ThresholdAccuracy
from ._probes import Twin as Twin
from ._probes import WeightNorm as WeightNorm
from ._save_plan import log_steps as log_steps
from ._starting_points import STARTING_POINTS as STARTING_POINTS
from ._starting_points import starting_point as starting_point
from ._train import Progress as Progress
