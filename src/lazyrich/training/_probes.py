"""What a run measures at its save points besides its losses."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ScalarLike, Shaped
from pydantic import Field

from lazyrich._ground import Config, InputError, Params, Predictor
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
from lazyrich.nets import Net
from lazyrich.tasks import Task, TaskData
from lazyrich.theory import loss_terms, statistics

from ._losses import threshold_accuracy


class Snapshot(NamedTuple):
    """A run at one save point, as probes see it.

    Attributes:
        predict: the scaled net, a ``Predictor`` of ``params``.
        params: θ, the parameters now.
        params0: θ₀, those at initialisation.
        data: training and test points, labels scaled.
        outputs: of the scaled net on the training points.
        test_outputs: of the scaled net on the test points.
        dials: α, ε and the like, by the name of their field.
        center: whether the output at θ₀ is subtracted.
    """

    predict: Predictor
    params: Params
    params0: Params
    data: TaskData
    outputs: Shaped[Array, "n ..."]
    test_outputs: Shaped[Array, "m ..."]
    dials: Mapping[str, ScalarLike]
    center: bool


class Description(NamedTuple):
    """Unit and axes of one measured quantity, as in ``Record``."""

    unit: str = "dimensionless"
    axes: tuple[str, ...] = ()
    coordinates: tuple[tuple[Any, ...] | None, ...] = ()


class Probe(Config):
    """Settings of a probe; abstract. Probes are pure: jit- and vmap-safe.

    Attributes:
        is_prepared: whether ``reference`` is computed before any batch, in double precision.
            For decompositions: batched, they have hung XLA's CPU threads, and in single
            precision they take small modes for null ones.
        names: of all records that ``measure`` returns.
    """

    is_prepared: ClassVar[bool] = False
    names: ClassVar[Sequence[str]] = ()

    kind: str

    def check(self, task: Task, net: Net) -> None:
        """Refuse, with an ``InputError``, a task or net that cannot be measured so."""

    def reference(self, start: Snapshot) -> Any:
        """What ``measure`` compares with, computed once from the run at step 0."""
        return None

    @abstractmethod
    def measure(self, now: Snapshot, reference: Any) -> dict[str, Array]:
        """The measured quantities by name."""

    def describe(self, params: Params) -> dict[str, Description]:
        """Units and axes of quantities that are not plain dimensionless numbers."""
        return {}


class WeightNorm(Probe):
    """‖θ‖, and the norm of each parameter array on its own.

    Records ``weight_norm`` and ``weight_norms`` (axis ``parameter``).
    """

    names: ClassVar[Sequence[str]] = ("weight_norm", "weight_norms")

    kind: Literal["weight_norm"] = "weight_norm"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Frobenius norms."""
        norms = _norms(now.params)
        return {"weight_norm": jnp.linalg.norm(norms), "weight_norms": norms}

    def describe(self, params: Params) -> dict[str, Description]:
        """The arrays by name."""
        return {"weight_norms": Description(axes=("parameter",), coordinates=(_names(params),))}


class ParameterChange(Probe):
    """‖θ − θ₀‖/‖θ₀‖, of all parameters together: zero at the start, small if lazy.

    Records ``parameter_change``.
    """

    names: ClassVar[Sequence[str]] = ("parameter_change",)

    kind: Literal["parameter_change"] = "parameter_change"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """The relative change."""
        moved = jax.tree.map(jnp.subtract, now.params, now.params0)
        start = jnp.linalg.norm(_norms(now.params0))
        return {"parameter_change": jnp.linalg.norm(_norms(moved)) / start}


class ThresholdAccuracy(Probe):
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


class _KernelProbe(Probe):
    n_points: int = Field(200, ge=4)
    points: Literal["test", "train"] = "test"

    def check(self, task: Task, net: Net) -> None:
        """There must be so many points."""
        there = task.n_test if self.points == "test" else task.n_train
        if self.n_points > there:
            raise InputError(
                f"the probe {self.kind} asks for {self.n_points} {self.points} points and there "
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


class KernelMovement(_KernelProbe):
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


class Alignment(_KernelProbe):
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


class Twin(Probe):
    """The linearised net, trained alongside on the same batches by the same optimizer.

    Records ``twin_train_loss`` and ``twin_test_loss``, and accuracies of classes.
    """

    kind: Literal["twin"] = "twin"

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Nothing more: the run records the twin like the net."""
        return {}


class KernelRegression(Probe):
    """Test loss of ridgeless kernel regression with the initial tangent kernel, the K₀ line.

    Where gradient descent on the MSE takes the lazy net: f(θ₀) and the smallest-norm fit of
    what it leaves of the labels; f(θ₀) = 0 if the net is centred. Always the squared error,
    mean over test points and outputs, and always decomposed in double precision.

    Records ``kernel_regression_loss``, a number without a step, repeated at each save point.

    Example:
        >>> from lazyrich.nets import CommitteeNet
        >>> from lazyrich.tasks import PolynomialTask
        >>> from lazyrich.training import Experiment, GradientDescent, train
        >>> history = train(Experiment(
        ...     task=PolynomialTask(dim=2, n_train=20, n_test=50),  # rank 5: an exact fit
        ...     net=CommitteeNet(width=50, epsilon=0.5),
        ...     optimizer=GradientDescent(learning_rate=1.0),
        ...     n_steps=1,
        ...     probes=[KernelRegression()],
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
        """The same at each save point."""
        return {"kernel_regression_loss": reference}

    def describe(self, params: Params) -> dict[str, Description]:
        """Its unit."""
        return {"kernel_regression_loss": Description("label units²")}


class Difficulty(Probe):
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
        """The same at each save point."""
        return {"difficulty": reference}


class TestLossError(Probe):
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
                f"the probe test_loss_error needs real labels and those of {task.kind} are "
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


class Terms(Probe):
    """The three terms of a committee machine's test loss on the polynomial task, Eq. 6.

    Records ``variance_term``, ``misalignment_term`` and ``linear_term``, label units²:
    exact means over all inputs, of the centred net if it is centred (Eq. 22 with trained
    readouts). NaN for a negative label scale.
    """

    names: ClassVar[Sequence[str]] = ("variance_term", "misalignment_term", "linear_term")

    kind: Literal["terms"] = "terms"

    def check(self, task: Task, net: Net) -> None:
        """Only this task and this net have the terms."""
        is_quadratic = getattr(net, "degree", None) in (None, "square")
        if task.kind != "polynomial" or net.kind != "committee" or not is_quadratic:
            raise InputError(
                "the probe terms holds for the committee machine with φ(h) = h + εh²/2 on the "
                f"polynomial task, not for {net.kind} on {task.kind}; leave it out"
            )

    def measure(self, now: Snapshot, reference: None) -> dict[str, Array]:
        """Eq. 6."""
        start = now.params0 if now.center else None
        found = loss_terms(
            statistics(*now.params),
            # Scaled labels ½ s Σ (β·x)² are those of the directions β√s.
            now.data.target * jnp.sqrt(now.dials["label_scale"]),
            alpha=now.dials["alpha"],
            epsilon=now.dials["epsilon"],
            start=None if start is None else statistics(*start),
        )
        return dict(zip(self.names, found, strict=True))

    def describe(self, params: Params) -> dict[str, Description]:
        """Their unit."""
        return {name: Description("label units²") for name in self.names}


PROBES: dict[str, type[Probe]] = {
    "weight_norm": WeightNorm,
    "parameter_change": ParameterChange,
    "threshold_accuracy": ThresholdAccuracy,
    "kernel_movement": KernelMovement,
    "alignment": Alignment,
    "twin": Twin,
    "kernel_regression": KernelRegression,
    "difficulty": Difficulty,
    "test_loss_error": TestLossError,
    "terms": Terms,
}
"""Every probe by its name."""

AnyProbe = Annotated[
    WeightNorm
    | ParameterChange
    | ThresholdAccuracy
    | KernelMovement
    | Alignment
    | Twin
    | KernelRegression
    | Difficulty
    | TestLossError
    | Terms,
    Field(discriminator="kind"),
]


def _norms(params: Params) -> Array:
    leaves = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.linalg.norm(leaf.ravel()) for leaf in leaves])


def _names(params: Params) -> tuple[str, ...]:
    paths = jax.tree_util.tree_leaves_with_path(params)
    return tuple(
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in paths
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    )
