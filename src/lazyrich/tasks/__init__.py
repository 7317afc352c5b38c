"""What is learned: inputs and labels, train and test, from explicit seeds.

Draws data and knows its facts. Never trains, never measures a network.

Vocabulary: *directions* are the target's β, *dim* D the number of inputs, *n_train* P
the number of training points.
"""

from ._polynomial import RegressionData as RegressionData
from ._polynomial import polynomial_regression as polynomial_regression
from ._task import JointKernel as JointKernel
from ._task import Task as Task
from ._task import TaskData as TaskData
