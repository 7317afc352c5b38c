"""What a run has recorded, and what that bounds where gap and cosine are not among it.

By the triangle inequality. With the root losses r = √L of the network and r′ of the
linearized network that was trained beside it, ‖f − f′‖ ≥ |r − r′| and
‖f − f₀‖ ≤ r₀ + r on the same rows. The sine of the angle between two kernels is at most
their relative distance, and the angle itself at least the difference of the angles that
they make with the labels' kernel.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lazyrich._base import InputError

from ._estimate import UNDEFINED, Estimate
from ._evidence import Labels, Optimization

_LINEARIZED = ("linearized_train_loss", "linearized_test_loss")


@dataclass(frozen=True)
class RunRecords:
    """What is known of a run after training.

    Attributes:
        steps: (s,) optimizer steps of the evaluations, from 0.
        curves: (s,) numbers by name: ``train_loss`` and ``test_loss``; what decides,
            ``linearization_gap`` and ``kernel_cosine``; or, for bounds of them,
            ``linearized_train_loss`` and ``linearized_test_loss`` of a network trained
            beside it, ``kernel_distance`` ‖K − K₀‖/‖K₀‖ and ``centered_alignment`` of the
            kernel with the labels; ``train_accuracy``, ``test_accuracy``, ``weight_norm``
            and ``parameter_change`` if there are.
        labels: of the training rows; None if they are not known.
        test_labels: of the test rows.
        initial_outputs: (n, c) on the training rows; None if they are not known.
        centered_share: ‖HK₀H‖/‖K₀‖, the share of the kernel at the start that is left if
            it is centred over rows; NaN if it is not known.
        optimization: what is known of the optimizer.
        notes: sentences that belong to the result.

    Raises:
        InputError: if there are no losses, or a curve has another length than the steps.

    Example:
        >>> RunRecords(np.arange(2), {"train_loss": np.ones(2), "test_loss": np.ones(2)}).loss
        'mse'
    """

    steps: np.ndarray
    curves: Mapping[str, np.ndarray]
    labels: Labels | None = None
    test_labels: Labels | None = None
    initial_outputs: np.ndarray | None = None
    centered_share: float = math.nan
    optimization: Optimization = field(default_factory=Optimization)
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what is not a run."""
        for name in ("train_loss", "test_loss"):
            if name not in self.curves:
                raise InputError(f"The records have no {name}; give both losses of the run.")
        for name, curve in self.curves.items():
            if np.shape(curve) != (len(self.steps),) or not len(self.steps):
                raise InputError(
                    f"The record {name} has shape {np.shape(curve)}; wanted one number for each "
                    f"of the {len(self.steps)} evaluation steps, one or more."
                )

    @property
    def loss(self) -> str:
        """The loss that the run was trained on; the squared error if no labels say otherwise."""
        return "mse" if self.labels is None else self.labels.loss


def gap_bounds(run: RunRecords, k: int) -> Estimate:
    """The linearization gap if it was recorded; else bounds from losses.

    The distance to the linearized network trained beside it, relative to the outputs' change.
    Lower end, exact: the largest of |r − r′|/(r₀ + r) over train and test rows, with root
    losses r. Upper end, no bound but an estimate on the safe side: the largest |r − r′| of
    all evaluations up to now over the largest |r₀ − r|, which is at most the outputs' change.

    Args:
        run: the records.
        k: place of the evaluation.

    Returns:
        Lower end (also as value) and upper end; undefined without losses of a linearized
        network, for cross-entropy, whose root is no distance, and if nothing has changed.

    Example:
        >>> one, other = np.array([1.0, 0.0]), np.array([1.0, 0.25])
        >>> run = RunRecords(np.arange(2), {
        ...     "train_loss": one, "test_loss": one,
        ...     "linearized_train_loss": other, "linearized_test_loss": other})
        >>> gap_bounds(run, 1)
        Estimate(value=0.5, low=0.5, high=0.5)
    """
    if "linearization_gap" in run.curves:
        return _exactly(float(run.curves["linearization_gap"][k]))
    if run.loss != "mse" or any(name not in run.curves for name in _LINEARIZED):
        return UNDEFINED
    low = high = 0.0
    if not np.isfinite([run.curves[f"{part}_loss"][k] for part in ("train", "test")]).all():
        return UNDEFINED
    for part in ("train", "test"):
        root, other = (
            np.sqrt(np.asarray(run.curves[f"{kind}{part}_loss"][: k + 1], float))
            for kind in ("", "linearized_")
        )
        missed, changed = np.abs(root - other), np.abs(root[0] - root).max()
        if not changed > 0:
            return UNDEFINED
        low = max(low, float(missed[-1] / (root[0] + root[-1])))
        high = max(high, float(missed.max() / changed))
    return Estimate(low, low, high) if math.isfinite(low + high) else UNDEFINED


def cosine_bounds(run: RunRecords, k: int) -> Estimate:
    """The cosine of the centred kernels now and at the start if it was recorded; else bounds.

    Lower end √(1 − (d/ρ)²) from the distance d and the centred share ρ of K₀, zero if
    d > ρ, since kernels are positive; upper end the cosine of the difference of the angles
    that the two kernels make with the labels' kernel.

    Args:
        run: the records.
        k: place of the evaluation.

    Returns:
        Lower end (also as value) and upper end; undefined if there is neither distance nor
        alignment.

    Example:
        >>> loss = np.ones(2)
        >>> run = RunRecords(np.arange(2), {
        ...     "train_loss": loss, "test_loss": loss,
        ...     "kernel_distance": np.array([0.0, 0.6])}, centered_share=1.0)
        >>> cosine_bounds(run, 1)
        Estimate(value=0.8, low=0.8, high=1.0)
    """
    if "kernel_cosine" in run.curves:
        return _exactly(float(run.curves["kernel_cosine"][k]))
    distance, alignment = run.curves.get("kernel_distance"), run.curves.get("centered_alignment")
    low, high = 0.0, 1.0
    has_distance = distance is not None and run.centered_share > 0
    if distance is not None and has_distance:
        sine = float(distance[k]) / run.centered_share
        low = math.sqrt(1 - sine**2) if sine < 1 else 0.0
    if alignment is not None:
        first, last = (math.acos(min(1.0, max(-1.0, float(alignment[i])))) for i in (0, k))
        high = math.cos(last - first)
    elif not has_distance:
        return UNDEFINED
    low = min(low, high)  # they differ by rounding where both are tight
    return Estimate(low, low, high) if math.isfinite(low + high) else UNDEFINED


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value) if math.isfinite(value) else UNDEFINED
