"""Closed forms of the paper, and the committee machine's exact dynamics.

Every numbered equation is here, as functions of arrays and of the two moments of the
weights. Pure: no network's parameters, no files, no clock.

Vocabulary: *weight moments* are w̄ and M (Eq. 4); *alpha* is the output scale α,
*epsilon* the quadratic strength ε, *beta* the target direction β⋆, *t* flow time
(learning rate × steps).
"""

from ._alignment import AlignmentParts as AlignmentParts
from ._alignment import population_alignment as population_alignment
from ._alignment import population_centered_alignment as population_centered_alignment
from ._alignment import population_column_centered_alignment as population_column_centered_alignment
from ._descent_steps import DescentState as DescentState
from ._descent_steps import DescentSteps as DescentSteps
from ._displacement import DisplacementMoments as DisplacementMoments
from ._displacement import TangentSplit as TangentSplit
from ._displacement import displacement_moments as displacement_moments
from ._displacement import tangent_split as tangent_split
from ._eigenspaces import Modes as Modes
from ._eigenspaces import eigenfunctions as eigenfunctions
from ._eigenspaces import eigenspace_sizes as eigenspace_sizes
from ._eigenspaces import initial_eigenvalues as initial_eigenvalues
from ._eigenspaces import initial_readout_eigenvalues as initial_readout_eigenvalues
from ._eigenspaces import sample_sizes as sample_sizes
from ._flow_steps import FlowState as FlowState
from ._flow_steps import FlowSteps as FlowSteps
from ._gradient_descent import gradient_descent as gradient_descent
from ._gradient_flow import flow_interpolant as flow_interpolant
from ._gradient_flow import gradient_flow as gradient_flow
from ._kernel import committee_kernel as committee_kernel
from ._kernel import initial_kernel as initial_kernel
from ._kernel import initial_readout_kernel as initial_readout_kernel
from ._kernel import readout_kernel as readout_kernel
from ._learning_curve import LearningCurve as LearningCurve
from ._learning_curve import SampleRange as SampleRange
from ._learning_curve import goldilocks_range as goldilocks_range
from ._learning_curve import learning_curve as learning_curve
from ._loss import EmpiricalLoss as EmpiricalLoss
from ._loss import Objective as Objective
from ._loss import PopulationLoss as PopulationLoss
from ._loss import ResidualMoments as ResidualMoments
from ._loss_terms import LossTerms as LossTerms
from ._loss_terms import loss_terms as loss_terms
from ._moment_map import gradient_step as gradient_step
from ._moment_map import gradient_velocity as gradient_velocity
from ._target import target_components as target_components
from ._target import target_matrix as target_matrix
from ._target import target_power as target_power
from ._trajectory import DynamicHyperparameters as DynamicHyperparameters
from ._trajectory import Trajectory as Trajectory
from ._weight_moments import WeightMoments as WeightMoments
from ._weight_moments import committee_output as committee_output
from ._weight_moments import equivalent_weights as equivalent_weights
from ._weight_moments import infinite_width as infinite_width
from ._weight_moments import moment_change as moment_change
from ._weight_moments import polynomial_target as polynomial_target
from ._weight_moments import weight_moments as weight_moments
