"""All measurements of a network from the evidence, each None or NaN where it cannot be made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lazyrich._base import InputError

from ._estimate import UNDEFINED, Estimate
from ._evidence import Evidence, Labels, Snapshot
from ._features import Features, features_of
from ._fit import Fit, fit_of, initial_size
from ._kernel_change import KernelChange, group_cosine, kernel_change
from ._label_energy import LabelFit, label_fit
from ._lazy_limit import LazyLimit, lazy_limit
from ._linearization import LinearizationGap, linearization_gap
from ._logits import Logits, logits_of
from ._thresholds import threshold


@dataclass(frozen=True)
class GroupMeasurement:
    """One group of parameters.

    Attributes:
        parameter_change: ‖θ − θ₀‖/‖θ₀‖; infinite for a group that started at zero.
        kernel_cosine: of its part of the kernel; undefined if that was zero.

    Example:
        >>> GroupMeasurement(0.5, UNDEFINED).parameter_change
        0.5
    """

    parameter_change: float
    kernel_cosine: Estimate


@dataclass(frozen=True)
class Measurements:
    """What has been measured of a network.

    Attributes:
        gap: the linearization gap.
        kernel: how far the kernel has moved.
        label_fit0: the labels' energy in the kernel at the start.
        label_fit: the same in the kernel now, which training on them raises.
        fit0: outputs at the start against the labels.
        fit: outputs now.
        test_fit0: at the start, on the test rows.
        test_fit: now, on the test rows.
        initial_size: outputs at the start relative to the labels.
        logits0: the softmax at the start.
        logits: the softmax now.
        features: the last features.
        lazy_limit: where a lazy network would end.
        parameter_change: ‖θ − θ₀‖/‖θ₀‖.
        norm_growth: ‖θ‖/‖θ₀‖.
        gradient_cosine: cos(−∂L/∂θ, θ).
        groups: by parameter group.
        notes: sentences about what could not be measured.

    Example:
        >>> Measurements(fit=Fit(0.01, 0.01, 1.0, 1.0)).is_fitted
        True
    """

    gap: LinearizationGap | None = None
    kernel: KernelChange | None = None
    label_fit0: LabelFit | None = None
    label_fit: LabelFit | None = None
    fit0: Fit | None = None
    fit: Fit | None = None
    test_fit0: Fit | None = None
    test_fit: Fit | None = None
    initial_size: float = math.nan
    logits0: Logits | None = None
    logits: Logits | None = None
    features: Features | None = None
    lazy_limit: LazyLimit | None = None
    parameter_change: float = math.nan
    norm_growth: float = math.nan
    gradient_cosine: float = math.nan
    groups: Mapping[str, GroupMeasurement] | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_fitted(self) -> bool:
        """Whether the probe rows are fitted."""
        return self.fit is not None and relative(self.fit) <= threshold("fitted_error")

    @property
    def is_late(self) -> bool:
        """Whether the probe rows are fitted and the test rows are not yet predicted."""
        is_wrong = self.test_fit is not None and relative(self.test_fit) > threshold("late_error")
        return self.is_fitted and is_wrong


def relative(fit: Fit) -> float:
    """The error relative to that of a prediction that knows nothing."""
    return float(fit.error / fit.chance) if fit.chance else math.inf


def measure(evidence: Evidence) -> Measurements:
    """Measure all that the evidence allows.

    Args:
        evidence: what a framework has delivered.

    Returns:
        The measurements, each None or NaN where it cannot be made.

    Example:
        >>> import numpy as np
        >>> one = Evidence(Snapshot(np.ones((4, 1))), start=None, linear=None, groups={})
        >>> measure(one).gap is None
        True
    """
    start, now, labels = evidence.start, evidence.now, evidence.labels
    notes = list(evidence.notes)
    limit = None
    if start is not None and labels is not None:
        try:
            limit = lazy_limit(start, labels, evidence.test_labels)
        except InputError as error:
            notes.append(f"The lazy limit could not be computed: {error}")
    has_kernels = start is not None and (now.kernel is not None or bool(now.products))
    return Measurements(
        gap=None if evidence.linear is None else linearization_gap(evidence.linear),
        kernel=kernel_change(start, now) if start is not None and has_kernels else None,
        label_fit0=_label_fit(start, labels),
        label_fit=_label_fit(now, labels),
        fit0=_fit(start, labels),
        fit=_fit(now, labels),
        test_fit0=_test_fit(start, evidence.test_labels),
        test_fit=_test_fit(now, evidence.test_labels),
        initial_size=_initial_size(start, labels),
        logits0=_logits(start, labels),
        logits=_logits(now, labels),
        features=features_of(evidence),
        lazy_limit=limit,
        parameter_change=_ratio(evidence.change, evidence.start_norm, start),
        norm_growth=_ratio(evidence.norm, evidence.start_norm, start),
        gradient_cosine=evidence.gradient_cosine,
        groups=_groups(evidence),
        notes=tuple(notes),
    )


def _label_fit(snapshot: Snapshot | None, labels: Labels | None) -> LabelFit | None:
    return None if snapshot is None or labels is None else label_fit(snapshot, labels)


def _fit(snapshot: Snapshot | None, labels: Labels | None) -> Fit | None:
    return None if snapshot is None or labels is None else fit_of(snapshot.outputs, labels)


def _test_fit(snapshot: Snapshot | None, labels: Labels | None) -> Fit | None:
    if snapshot is None or labels is None or snapshot.test_outputs is None:
        return None
    return fit_of(snapshot.test_outputs, labels)


def _initial_size(start: Snapshot | None, labels: Labels | None) -> float:
    return math.nan if start is None or labels is None else initial_size(start.outputs, labels)


def _logits(snapshot: Snapshot | None, labels: Labels | None) -> Logits | None:
    if snapshot is None or labels is None or labels.loss != "cross_entropy":
        return None
    return logits_of(snapshot.outputs, labels)


def _ratio(value: float, start_norm: float, start: Snapshot | None) -> float:
    if start is None:
        return math.nan
    return value / start_norm if start_norm else math.inf


def _groups(evidence: Evidence) -> dict[str, GroupMeasurement]:
    start, now = evidence.start, evidence.now
    if start is None:
        return {}
    found = {}
    for name, moved in evidence.groups.items():
        change = moved.change / moved.start if moved.start else math.inf
        has_both = name in start.products and name in now.products
        cosine = group_cosine(start, now, name) if has_both else UNDEFINED
        found[name] = GroupMeasurement(change if moved.change else 0.0, cosine)
    return found
