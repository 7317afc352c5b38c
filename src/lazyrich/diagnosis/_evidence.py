"""What a framework has to deliver about a network, as NumPy arrays: the common interface."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import PyTree

from lazyrich._base import InputError

Loss = Literal["mse", "cross_entropy"]
"""What a network is trained on: the mean squared error, or softmax cross-entropy."""


@dataclass(frozen=True)
class Labels:
    """Labels of some rows.

    Attributes:
        values: (n, c); one-hot rows for classes.
        loss: what the network was trained on.

    Example:
        >>> Labels(np.eye(2), "cross_entropy").classes.tolist()
        [0, 1]
    """

    values: np.ndarray
    loss: Loss

    @property
    def classes(self) -> np.ndarray:
        """(n,) the class of each row, for cross-entropy."""
        return self.values.argmax(1)


@dataclass(frozen=True)
class ProbeBatch:
    """Rows on which a network is measured, the same at all times.

    Attributes:
        inputs: n rows, in whatever form the network takes.
        targets: their labels as given; None if there are none.
        test_inputs: other rows, which it was not trained on.
        test_targets: their labels.
        loss: ``"mse"``, ``"cross_entropy"``, or None to infer it from the labels: whole
            numbers (n,) for c > 1 outputs are classes.

    Example:
        >>> ProbeBatch(np.ones((4, 2)), np.ones(4)).test_inputs is None
        True
    """

    inputs: PyTree
    targets: PyTree = None
    test_inputs: PyTree = None
    test_targets: PyTree = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        """Refuse labels without rows.

        Raises:
            InputError: if there are test targets and no test inputs.
        """
        if self.test_targets is not None and self.test_inputs is None:
            raise InputError("y_test was given without x_test; give both, or neither.")


@dataclass(frozen=True)
class Snapshot:
    """A network at one checkpoint, on the rows of a probe batch.

    Attributes:
        outputs: (n, c).
        products: by parameter group, the (m, m) products of m random directions that
            were pulled back to parameters; empty if there were none.
        label_energy: yᵀKy of the centred labels; NaN without labels.
        permuted_energy: (b,) the same of permuted labels.
        kernel: (n, n, c, c), or None if it is too large.
        query_kernel: (m, n, c, c), test rows against rows; None likewise.
        test_outputs: (m, c) on the test rows, or None.
        features: (n, p) inputs of the last layer, or None.
        test_features: (m, p), or None.

    Example:
        >>> Snapshot(np.ones((4, 1))).kernel is None
        True
    """

    outputs: np.ndarray
    products: Mapping[str, np.ndarray] = field(default_factory=dict)
    label_energy: float = math.nan
    permuted_energy: np.ndarray = field(default_factory=lambda: np.zeros(0))
    kernel: np.ndarray | None = None
    query_kernel: np.ndarray | None = None
    test_outputs: np.ndarray | None = None
    features: np.ndarray | None = None
    test_features: np.ndarray | None = None


@dataclass(frozen=True)
class GroupChange:
    """How far the parameters of one group have moved.

    Attributes:
        start: ‖θ₀‖.
        now: ‖θ‖.
        change: ‖θ − θ₀‖.

    Example:
        >>> GroupChange(start=1.0, now=2.0, change=1.0).change
        1.0
    """

    start: float
    now: float
    change: float


@dataclass(frozen=True)
class Optimization:
    """What is known of the optimizer.

    Attributes:
        learning_rate: its rate.
        weight_decay: decoupled weight decay; a step shrinks parameters by rate × decay.
        is_adaptive: whether it divides by a second moment, as Adam does.

    Example:
        >>> Optimization(learning_rate=0.1).weight_decay is None
        True
    """

    learning_rate: float | None = None
    weight_decay: float | None = None
    is_adaptive: bool = False


@dataclass(frozen=True)
class LinearPart:
    """f₀ + J₀Δ against f at the parameters now, all in one precision.

    Attributes:
        start: (n, c) outputs at θ₀.
        now: (n, c) outputs at θ.
        slopes: by method, (n, c) the derivative J₀Δ.
        epsilon: machine epsilon of the precision.

    Example:
        >>> f0, f = np.zeros((2, 1)), np.ones((2, 1))
        >>> LinearPart(f0, f, {"jvp": f - f0}, 1e-16).slopes["jvp"].tolist()
        [[1.0], [1.0]]
    """

    start: np.ndarray
    now: np.ndarray
    slopes: Mapping[str, np.ndarray]
    epsilon: float


@dataclass(frozen=True)
class Evidence:
    """All that is measured of a network; both frameworks fill it.

    Attributes:
        now: the network at θ.
        start: the network at the reference θ₀; None if there is one checkpoint only.
        linear: the linear part of its change, or None.
        groups: movement by parameter group.
        labels: of the rows, or None.
        test_labels: of the test rows, or None.
        gradient_cosine: cos(−∂L/∂θ, θ): 1 where descent makes θ longer and no more.
        optimization: what is known of the optimizer.
        notes: sentences that belong to the result.
        n_parameters: how many there are.

    Example:
        >>> moved = {"a": GroupChange(3.0, 1.0, 3.0), "b": GroupChange(4.0, 1.0, 4.0)}
        >>> Evidence(Snapshot(np.ones((4, 1))), None, None, moved).change
        5.0
    """

    now: Snapshot
    start: Snapshot | None
    linear: LinearPart | None
    groups: Mapping[str, GroupChange]
    labels: Labels | None = None
    test_labels: Labels | None = None
    gradient_cosine: float = math.nan
    optimization: Optimization = Optimization()
    notes: tuple[str, ...] = ()
    n_parameters: int = 0

    @property
    def change(self) -> float:
        """‖θ − θ₀‖ over all groups."""
        return math.sqrt(sum(group.change**2 for group in self.groups.values()))

    @property
    def norm(self) -> float:
        """‖θ‖ over all groups."""
        return math.sqrt(sum(group.now**2 for group in self.groups.values()))

    @property
    def start_norm(self) -> float:
        """‖θ₀‖ over all groups."""
        return math.sqrt(sum(group.start**2 for group in self.groups.values()))


def read_labels(
    given: PyTree, n_outputs: int, n_rows: int, loss: Loss | None, name: str = "y"
) -> Labels | None:
    """Labels in the form of the outputs, and the loss that they belong to.

    Args:
        given: (n,) or (n, c) numbers, or classes as whole numbers (n,); None for none.
        n_outputs: c of the network.
        n_rows: n.
        loss: as in `ProbeBatch`.
        name: by which the caller knows them.

    Returns:
        The labels; None if none were given.

    Raises:
        InputError: if they do not fit the outputs or the loss.

    Example:
        >>> read_labels([1, 0], 2, 2, None).values.tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if loss not in (None, "mse", "cross_entropy"):
        raise InputError(f"loss is {loss!r}; it must be 'mse', 'cross_entropy' or None.")
    if given is None:
        return None
    array = _numbers(given, name)
    if len(array) != n_rows:
        raise InputError(f"{name} has {len(array)} rows and the inputs {n_rows}; give one a row.")
    is_whole = array.dtype.kind in "iub"
    is_classes = array.ndim == 1 and n_outputs > 1
    if is_classes and not is_whole:
        raise InputError(
            f"{name} has shape {array.shape} and the network {n_outputs} outputs; wanted classes "
            f"as whole numbers ({n_rows},) or values ({n_rows}, {n_outputs})."
        )
    if loss is None:
        loss = "cross_entropy" if is_classes else "mse"
    if is_classes:
        if loss == "mse":
            raise InputError(
                f"{name} holds classes and loss is 'mse', which needs one value for each output; "
                "give one-hot rows, or loss='cross_entropy'."
            )
        if array.min() < 0 or array.max() >= n_outputs:
            raise InputError(
                f"{name} holds classes from {array.min()} to {array.max()}; the network has "
                f"{n_outputs} outputs, so wanted 0 to {n_outputs - 1}."
            )
        return Labels(np.eye(n_outputs)[array.astype(int)], loss)
    values = array.astype(float)
    values = values[:, None] if values.ndim == 1 else values
    if values.shape != (n_rows, n_outputs):
        raise InputError(
            f"{name} has shape {array.shape}; the outputs have ({n_rows}, {n_outputs}): give "
            "labels of that shape, or classes as whole numbers."
        )
    if loss == "cross_entropy":
        _require_one_hot(values, name)
    return Labels(values, loss)


def loss_taken(labels: Labels | None, loss: Loss | None) -> tuple[str, ...]:
    """A note where the loss was inferred from labels that could belong to either.

    Args:
        labels: as they were read.
        loss: as it was given.

    Returns:
        A sentence about one-hot rows, or nothing.

    Example:
        >>> loss_taken(Labels(np.eye(2), "mse"), None)[0][:24]
        'The labels are one-hot r'
    """
    if loss is not None or labels is None or labels.loss != "mse" or labels.values.shape[1] < 2:
        return ()
    values = labels.values
    if not _is_one_hot(values):
        return ()
    return (
        "The labels are one-hot rows and no loss was given, so the squared error was taken; if the "
        "outputs are logits, give loss='cross_entropy' or classes as whole numbers.",
    )


def _numbers(given: PyTree, name: str) -> np.ndarray:
    try:
        array = np.asarray(given)
        is_finite = bool(np.isfinite(array).all())
    except (TypeError, ValueError):
        raise InputError(
            f"{name} is not an array of numbers; give one row for each input."
        ) from None
    if array.dtype.kind in "cmM":
        raise InputError(f"{name} holds {array.dtype} values; labels are real numbers or classes.")
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has shape {array.shape}; wanted (n,) or (n, c).")
    if not is_finite:
        raise InputError(f"{name} holds NaN or infinite entries; remove or repair them first.")
    return array


def _require_one_hot(values: np.ndarray, name: str) -> None:
    if values.shape[1] < 2:
        raise InputError(
            "loss is 'cross_entropy' and the network has one output; it must have a logit for "
            "each of two classes or more: give output= two logits, (0, z), or loss='mse'."
        )
    if not _is_one_hot(values):
        raise InputError(
            f"loss is 'cross_entropy' and {name} holds rows that are not one-hot; give classes "
            "as whole numbers or one-hot rows, or loss='mse'."
        )


def _is_one_hot(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all() and (values.sum(1) == 1).all())


def random_directions(n_directions: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """(m, n, c) random signs, centred over rows."""
    signs = np.random.default_rng(seed).integers(0, 2, (n_directions, *shape)) * 2.0 - 1.0
    return signs - signs.mean(1, keepdims=True)


def permuted(labels: Labels, n_permutations: int, seed: int) -> np.ndarray:
    """(1 + b, n, c): the centred labels, and the same with rows in random orders."""
    centered = labels.values - labels.values.mean(0)
    generator = np.random.default_rng([seed, 1])
    orders = [generator.permutation(len(centered)) for _ in range(n_permutations)]
    return np.stack([centered, *(centered[order] for order in orders)])
