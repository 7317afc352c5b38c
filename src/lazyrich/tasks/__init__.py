"""Tasks: inputs and labels for training and testing, from explicit seeds.

Vocabulary: *directions* are the target's β, *dim* D the number of inputs, *n_train* P
the number of training points; a *pool* is a fixed set of points that the split seed
divides into those for training and those for testing.
"""

from typing import Annotated

from pydantic import Field

from ._download import download_mnist as download_mnist
from ._eigenvector import EigenvectorTask as EigenvectorTask
from ._files import data_folder as data_folder
from ._hermite import HermiteTask as HermiteTask
from ._images import ImageTask as ImageTask
from ._modular import ModularTask as ModularTask
from ._parity import ParityTask as ParityTask
from ._permutations import PermutationTask as PermutationTask
from ._polynomial import PolynomialTask as PolynomialTask
from ._polynomial import polynomial_regression as polynomial_regression
from ._task import JointKernel as JointKernel
from ._task import Task as Task
from ._task import TaskData as TaskData
from ._task import scale_labels as scale_labels
from ._teacher import TeacherParams as TeacherParams
from ._teacher import TeacherTask as TeacherTask

AnyTask = Annotated[
    PolynomialTask
    | HermiteTask
    | EigenvectorTask
    | ModularTask
    | TeacherTask
    | ImageTask
    | ParityTask
    | PermutationTask,
    Field(discriminator="kind"),
]
"""Any task's settings, told apart by their ``kind``."""

TASKS: dict[str, type[Task]] = {
    "polynomial": PolynomialTask,
    "hermite": HermiteTask,
    "eigenvector": EigenvectorTask,
    "modular": ModularTask,
    "teacher": TeacherTask,
    "images": ImageTask,
    "parity": ParityTask,
    "permutations": PermutationTask,
}
"""Every task by its kind."""
