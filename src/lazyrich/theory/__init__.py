"""Closed forms of the paper, and the committee machine's exact dynamics.

A reader finds every numbered equation here. Functions of arrays and of the two
statistics; never sees a network's parameters, a file or a clock.

Vocabulary: *statistics* are w̄ and M (Eq. 4); *alpha* is the output scale α,
*epsilon* the quadratic strength ε, *beta* the target direction β⋆, *t* flow time
(learning rate × steps).
"""

from ._alignment import AlignmentParts as AlignmentParts
from ._alignment import population_alignment as population_alignment
from ._alignment import population_centered_alignment as population_centered_alignment
from ._alignment import population_column_centered_alignment as population_column_centered_alignment
from ._descent_steps import DescentState as DescentState
from ._descent_steps import DescentSteps as DescentSteps
from ._dynamics import Dials as Dials
from ._dynamics import Trajectory as Trajectory
from ._dynamics import gradient_descent as gradient_descent
from ._dynamics import gradient_step as gradient_step
from ._dynamics import gradient_velocity as gradient_velocity
from ._errata import Erratum as Erratum
from ._errata import errata as errata
from ._flow import flow_interpolant as flow_interpolant
from ._flow import gradient_flow as gradient_flow
from ._flow_steps import FlowState as FlowState
from ._flow_steps import FlowSteps as FlowSteps
from ._kernel import committee_kernel as committee_kernel
from ._kernel import initial_kernel as initial_kernel
from ._kernel import initial_readout_kernel as initial_readout_kernel
from ._kernel import readout_kernel as readout_kernel
from ._learning_curve import LearningCurve as LearningCurve
from ._learning_curve import SampleRange as SampleRange
from ._learning_curve import goldilocks_range as goldilocks_range
from ._learning_curve import learning_curve as learning_curve
from ._motion import Motion as Motion
from ._motion import TangentSplit as TangentSplit
from ._motion import motion as motion
from ._motion import tangent_split as tangent_split
from ._objective import EmpiricalLoss as EmpiricalLoss
from ._objective import Objective as Objective
from ._objective import PopulationLoss as PopulationLoss
from ._objective import ResidualMoments as ResidualMoments
from ._risk import LossTerms as LossTerms
from ._risk import loss_terms as loss_terms
from ._spectrum import Modes as Modes
from ._spectrum import eigenfunctions as eigenfunctions
from ._spectrum import eigenspace_sizes as eigenspace_sizes
from ._spectrum import initial_eigenvalues as initial_eigenvalues
from ._spectrum import initial_readout_eigenvalues as initial_readout_eigenvalues
from ._spectrum import sample_sizes as sample_sizes
from ._statistics import Statistics as Statistics
from ._statistics import committee_output as committee_output
from ._statistics import displacement as displacement
from ._statistics import equivalent_weights as equivalent_weights
from ._statistics import infinite_width as infinite_width
from ._statistics import polynomial_target as polynomial_target
from ._statistics import statistics as statistics
from ._target import target_components as target_components
from ._target import target_matrix as target_matrix
from ._target import target_power as target_power
