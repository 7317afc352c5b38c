"""Metrics of a network's tangent kernel, at the start and as it moves."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array
from pydantic import Field

from lazyrich._base import InputError, Params
from lazyrich.kernels import (
    alignment,
    centered_alignment,
    chance_alignment,
    debiased_alignment,
    flatten_kernel,
    kernel_distance,
    kernel_regression,
    ntk,
)
from lazyrich.models import Net
from lazyrich.tasks import Task

from ._history import Description
from ._metric import Metric, Snapshot


class _KernelMetric(Metric):
    n_points: int = Field(200, ge=4)
    points: Literal["test", "train"] = "test"

    def check(self, task: Task, net: Net) -> None:
        """There must be so many points."""
        there = task.n_test if self.points == "test" else task.n_train
        if self.n_points > there:
            raise InputError(
                f"the metric {self.kind} asks for {self.n_points} {self.points} points and there "
                f"are {there}; ask for fewer (n_points)"
            )

    def kernel(self, of: Snapshot) -> tuple[Array, Array]:
        """The traced tangent kernel of the scaled net on the probe points, and their labels."""
        data = of.data
        x, y = (data.x_test, data.y_test) if self.points == "test" else (data.x, data.y)
        x, y = x[: self.n_points], y[: self.n_points]
        return ntk(of.predict, of.params, x, trace_outputs=True), y

    def reference(self, start: Snapshot) -> Array:
        """K₀."""
        return self.kernel(start)[0]


class KernelMovement(_KernelMetric):
    """‖K − K₀‖/‖K₀‖ of the tangent kernel on the first points: zero if lazy.

    Records ``kernel_distance``.

    Attributes:
        n_points: how many points, at least 4.
        points: take "test" or "train" points.
    """

    names: ClassVar[Sequence[str]] = ("kernel_distance",)

    kind: Literal["kernel_movement"] = "kernel_movement"

    def measure(self, now: Snapshot, reference: Array) -> dict[str, Array]:
        """The distance."""
        return {"kernel_distance": kernel_distance(reference, self.kernel(now)[0])}


class Alignment(_KernelMetric):
    """Alignment of the current tangent kernel with the labels, and its movement.

    Records the paper's ``alignment`` beside its ``chance_alignment``, the
    ``centered_alignment``, the ``debiased_alignment``, and ``kernel_distance``. Kernels of
    several outputs are traced over them.

    Attributes:
        n_points: how many points, at least 4.
        points: take "test" or "train" points.

    References:
        Kumar et al. (2024), §5 and Figure 1(c).
    """

    names: ClassVar[Sequence[str]] = (
        "alignment",
        "chance_alignment",
        "centered_alignment",
        "debiased_alignment",
        "kernel_distance",
    )

    kind: Literal["alignment"] = "alignment"

    def measure(self, now: Snapshot, reference: Array) -> dict[str, Array]:
        """The family."""
        kernel, targets = self.kernel(now)
        return {
            "alignment": alignment(kernel, targets),
            "chance_alignment": chance_alignment(kernel),
            "centered_alignment": centered_alignment(kernel, targets),
            "debiased_alignment": debiased_alignment(kernel, targets),
            "kernel_distance": kernel_distance(reference, kernel),
        }


class KernelRegression(Metric):
    """Test loss of ridgeless kernel regression with the initial tangent kernel, the K₀ line.

    Where gradient descent on the MSE takes the lazy net: f(θ₀) and the smallest-norm fit of
    what it leaves of the labels; f(θ₀) = 0 if the net is centred. Always the squared error,
    mean over test points and outputs, and always decomposed in double precision.

    Records ``kernel_regression_loss``, a number without a step, repeated at each evaluation step.

    Example:
        >>> from lazyrich.models import CommitteeNet
        >>> from lazyrich.tasks import PolynomialTask
        >>> from lazyrich.training import Experiment, GradientDescent, train
        >>> history = train(Experiment(
        ...     task=PolynomialTask(dim=2, n_train=20, n_test=50),  # rank 5: an exact fit
        ...     net=CommitteeNet(width=50, epsilon=0.5),
        ...     optimizer=GradientDescent(learning_rate=1.0),
        ...     n_steps=1,
        ...     metrics=[KernelRegression()],
        ... ))
        >>> bool(history.records["kernel_regression_loss"].values[0] < 1e-12)
        True

    References:
        Kumar et al. (2024), §3 and Figure 1 (horizontal line).
    """

    is_prepared: ClassVar[bool] = True
    names: ClassVar[Sequence[str]] = ("kernel_regression_loss",)

    kind: Literal["kernel_regression"] = "kernel_regression"

    def reference(self, start: Snapshot) -> Array:
        """The loss."""
        data = start.data
        kernel = ntk(start.predict, start.params, jnp.concatenate([data.x, data.x_test]), data.x)
        matrix = kernel if kernel.ndim == 2 else flatten_kernel(kernel)
        n_rows = matrix.shape[1]
        wanted = (data.y - start.outputs).reshape(-1)
        found = kernel_regression(matrix[:n_rows], wanted, matrix[n_rows:])
        return jnp.square(found - (data.y_test - start.test_outputs).reshape(-1)).mean()

    def measure(self, now: Snapshot, reference: Array) -> dict[str, Array]:
        """The same at each evaluation step."""
        return {"kernel_regression_loss": reference}

    def describe(self, params: Params) -> dict[str, Description]:
        """Its unit."""
        return {"kernel_regression_loss": Description("label units²")}


class Difficulty(Metric):
    """yᵀK⁺y of the labels and the initial tangent kernel, on the training points (Eq. 8).

    The squared distance ‖θ − θ₀‖² at which the linearised net fits the labels, or what
    f(θ₀) leaves of them. Records ``difficulty``, a number without a step, like
    ``kernel_regression_loss``.
    """

    names: ClassVar[Sequence[str]] = ("difficulty",)
    is_prepared: ClassVar[bool] = True

    kind: Literal["difficulty"] = "difficulty"

    def reference(self, start: Snapshot) -> Array:
        """The difficulty."""
        kernel = ntk(start.predict, start.params, start.data.x)
        matrix = kernel if kernel.ndim == 2 else flatten_kernel(kernel)
        wanted = (start.data.y - start.outputs).reshape(-1)
        return kernel_regression(matrix, wanted, wanted[None])[0]

    def measure(self, now: Snapshot, reference: Array) -> dict[str, Array]:
        """The same at each evaluation step."""
        return {"difficulty": reference}
