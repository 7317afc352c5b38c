"""Metrics of what a network gives out: how wrong it is, and why."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array
from pydantic import Field

from lazyrich._base import InputError, Params
from lazyrich.models import CommitteeNet, Net
from lazyrich.tasks import PolynomialTask, Task
from lazyrich.theory import loss_terms, weight_moments

from ._history import Description
from ._losses import threshold_accuracy
from ._metric import Metric, Snapshot


class ThresholdAccuracy(Metric):
    """Share of points that are right within a threshold, for several thresholds at once.

    Records ``train_threshold_accuracy`` and ``test_threshold_accuracy`` (axis
    ``threshold``).

    Attributes:
        thresholds: in label units, or their square.
        of: compare the "squared" error of a point (mean over outputs) with the
            threshold, as the authors and Omnigrok do, or its "absolute" error.
    """

    names: ClassVar[Sequence[str]] = (
        "train_threshold_accuracy",
        "test_threshold_accuracy",
    )

    kind: Literal["threshold_accuracy"] = "threshold_accuracy"
    thresholds: tuple[float, ...] = Field((1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1e-1), min_length=1)
    of: Literal["squared", "absolute"] = "squared"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Both shares."""
        levels = jnp.asarray(self.thresholds, now.outputs.dtype)
        pairs = {
            "train": (now.outputs, now.data.y),
            "test": (now.test_outputs, now.data.y_test),
        }
        return {
            f"{part}_threshold_accuracy": threshold_accuracy(*pair, levels, of=self.of)
            for part, pair in pairs.items()
        }

    def describe(self, params: Params) -> dict[str, Description]:
        """The thresholds."""
        of = Description(axes=("threshold",), coordinates=(self.thresholds,))
        return {f"{part}_threshold_accuracy": of for part in ("train", "test")}


class TestLossError(Metric):
    """Standard error of the test loss, from the spread of squared errors over test points.

    Records ``test_loss_error``, of the mean squared error of real labels: how far the test
    loss may be from its mean over all inputs.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's, though its name begins so

    names: ClassVar[Sequence[str]] = ("test_loss_error",)

    kind: Literal["test_loss_error"] = "test_loss_error"

    def check(self, task: Task, net: Net) -> None:
        """Labels must be real numbers."""
        if task.labels != "real":
            raise InputError(
                f"the metric test_loss_error needs real labels and those of {task.kind} are "
                f"{task.labels}; leave it out"
            )

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Spread over points divided by the root of their number."""
        squares = jnp.square(now.test_outputs - now.data.y_test)
        errors = squares.reshape(len(squares), -1).mean(-1)
        return {"test_loss_error": errors.std() / jnp.sqrt(len(errors))}

    def describe(self, params: Params) -> dict[str, Description]:
        """Its unit."""
        return {"test_loss_error": Description("label units²")}


class Terms(Metric):
    """The three terms of a committee machine's test loss on the polynomial task, Eq. 6.

    Records ``variance_term``, ``misalignment_term`` and ``linear_term``, label units²:
    exact means over all inputs, of the centred net if it is centred (Eq. 22 with trained
    readouts). NaN for a negative label scale.
    """

    names: ClassVar[Sequence[str]] = ("variance_term", "misalignment_term", "linear_term")

    kind: Literal["terms"] = "terms"

    def check(self, task: Task, net: Net) -> None:
        """Only this task and this net have the terms."""
        is_quadratic = isinstance(net, CommitteeNet) and net.degree is None
        if not isinstance(task, PolynomialTask) or not is_quadratic:
            raise InputError(
                "the metric terms holds for the committee machine with φ(h) = h + εh²/2 on the "
                f"polynomial task, not for {net.kind} on {task.kind}; leave it out"
            )

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Eq. 6."""
        start = now.params0 if now.center else None
        found = loss_terms(
            weight_moments(*now.params),
            # Scaled labels ½ s Σ (β·x)² are those of the directions β√s.
            now.data.target * jnp.sqrt(now.hyper.label_scale),
            alpha=now.hyper.alpha,
            epsilon=now.hyper.net.epsilon,
            start=None if start is None else weight_moments(*start),
        )
        return dict(zip(self.names, found, strict=True))

    def describe(self, params: Params) -> dict[str, Description]:
        """Their unit."""
        return {name: Description("label units²") for name in self.names}
