"""A diagnosis from what a run has recorded, where its parameters are no longer there."""

import math
from typing import Literal, get_args

import numpy as np

from lazyrich._base import InputError

from ._advice import Case, advise
from ._diagnosis import Diagnosis, is_diverged
from ._estimate import UNDEFINED, Estimate
from ._evidence import Evidence, Snapshot
from ._fit import Fit, fit_of, initial_size
from ._kernel_change import KernelChange
from ._linearization import LinearizationGap
from ._measurements import Measurements, relative
from ._readings import MAIN, Reading, of_labels, of_size
from ._run_records import RunRecords, cosine_bounds, gap_bounds
from ._text import number
from ._thresholds import threshold
from ._verdict import Regime, Verdict, decide

When = Literal["end", "fit"]
"""At the last evaluation, or where the training rows are first fitted."""

_TO_RECORD = "record the metric linearization, or give the parameters of both ends to lz.diagnose"


def diagnose_records(run: RunRecords, when: When = "end") -> Diagnosis:
    """Whether a run is lazy or rich, and whether it is late, from what it recorded.

    Parameters at the end are not needed. Where linearization gap and kernel cosine were not
    recorded themselves, bounds from losses, distances and alignments replace them, and a
    verdict is given if both ends of both agree on it. Upper ends of the gap take the
    losses of all evaluations: two networks whose train and test losses agree all along are
    assumed to be close.

    Args:
        run: the records.
        when: judge the last evaluation, or the first one at which the training rows are
            fitted.

    Returns:
        A Diagnosis; undecided, with what to record, where the records do not decide it.

    Raises:
        InputError: if ``when`` is something else.

    Example:
        >>> curve = np.array([1.0, 0.0])
        >>> run = RunRecords(np.arange(2), {
        ...     "train_loss": curve, "test_loss": curve,
        ...     "linearized_train_loss": curve, "linearized_test_loss": curve,
        ...     "kernel_distance": np.array([0.0, 0.01])}, centered_share=1.0)
        >>> diagnose_records(run).regime
        <Regime.LAZY: 'lazy'>
    """
    if when not in get_args(When):
        raise InputError(f"when is {when!r}; it must be 'end' or 'fit'.")
    k = len(run.steps) - 1 if when == "end" else fitted_at(run)
    if k is None:
        return _diagnosis(
            run,
            Measurements(),
            Verdict(Regime.UNDECIDED, "The training rows are fitted at no evaluation."),
            len(run.steps) - 1,
        )
    found = _measured(run, k)
    return _diagnosis(run, found, _verdict(run, found, k), k)


def fitted_at(run: RunRecords) -> int | None:
    """The first evaluation at which the training rows are fitted.

    Args:
        run: the records.

    Returns:
        Its place among the steps; None if there is none.

    Example:
        >>> loss = np.array([1.0, 0.5, 0.01])
        >>> fitted_at(RunRecords(np.arange(3), {"train_loss": loss, "test_loss": loss}))
        2
    """
    limit = threshold("fitted_error")
    fits = (_fit(run, "train", k) for k in range(len(run.steps)))
    return next((k for k, fit in enumerate(fits) if relative(fit) <= limit), None)


def _measured(run: RunRecords, k: int) -> Measurements:
    curves, gap, cosine = run.curves, gap_bounds(run, k), cosine_bounds(run, k)
    norm, change = curves.get("weight_norm"), curves.get("parameter_change")
    labels, outputs0 = run.labels, run.initial_outputs
    distance = curves.get("kernel_distance")
    d = math.nan if distance is None else float(distance[k])
    kernel = KernelChange(
        cosine, math.nan, UNDEFINED, Estimate(d, d, d), UNDEFINED, UNDEFINED, True
    )
    return Measurements(
        gap=LinearizationGap(gap, {}, 0.0) if gap.is_defined else None,
        kernel=kernel if cosine.is_defined else None,
        fit0=_fit(run, "train", 0),
        fit=_fit(run, "train", k),
        test_fit0=_fit(run, "test", 0),
        test_fit=_fit(run, "test", k),
        initial_size=math.nan
        if labels is None or outputs0 is None
        else initial_size(outputs0, labels),
        parameter_change=math.nan if change is None else float(change[k]),
        norm_growth=math.nan if norm is None or not norm[0] else float(norm[k] / norm[0]),
        notes=run.notes,
    )


def _fit(run: RunRecords, part: str, k: int) -> Fit:
    """The fit at an evaluation; without labels relative to the loss at the start."""
    loss = float(run.curves[f"{part}_loss"][k])
    labels = run.labels if part == "train" else run.test_labels
    if labels is None:
        first = float(run.curves[f"{part}_loss"][0])
        return Fit(loss, loss / first if first else math.inf, 1.0, first)
    mean = np.broadcast_to(labels.values.mean(0), labels.values.shape)
    chance = fit_of(mean, labels)
    accuracy = run.curves.get(f"{part}_accuracy")
    if labels.loss == "cross_entropy":
        error = math.nan if accuracy is None else 1 - float(accuracy[k])
    else:
        error = loss / chance.chance_loss if chance.chance_loss else math.inf
    return chance._replace(loss=loss, error=error)


def _verdict(run: RunRecords, found: Measurements, k: int) -> Verdict:
    reason = _nothing_to_judge(run, found, k) or _missing(run, found)
    if reason:
        return Verdict(Regime.UNDECIDED, reason)
    assert found.gap is not None  # nothing is missing
    assert found.kernel is not None
    gap, cosine = found.gap.gap, found.kernel.cosine
    regime = decide(gap, cosine).regime
    if regime is Regime.UNDECIDED:
        return Verdict(
            regime,
            "The bounds that the records give leave it open between lazy, rich and in between; "
            f"{_TO_RECORD}.",
        )
    assert found.fit is not None
    assert found.fit0 is not None
    if regime is Regime.LAZY and found.fit.loss > (1 - threshold("trained_share")) * (
        found.fit0.loss
    ):
        return Verdict(
            Regime.UNDECIDED,
            "The loss has hardly fallen since the start, and a short step is near its "
            "linearization in any network.",
        )
    return Verdict(
        regime,
        f"By what was recorded up to step {int(run.steps[k])} the linearized network misses "
        f"{_span(gap)} of the outputs' change, and the kernel cosine is {_span(cosine)}.",
    )


def _nothing_to_judge(run: RunRecords, found: Measurements, k: int) -> str:
    assert found.fit is not None
    assert found.fit0 is not None
    if k == 0:
        return "There is the start of the run only; lazy or rich is said of a change."
    if found.parameter_change == 0:
        return "The parameters have not changed, so nothing has been learned."
    if is_diverged(found.fit, found.fit0):
        return (
            f"The loss has grown from {found.fit0.loss:.3g} to {found.fit.loss:.3g}: the run has "
            "diverged, and lazy or rich is said of one that learns."
        )
    return ""


def _missing(run: RunRecords, found: Measurements) -> str:
    """What to record so that there is a verdict; empty if all is there."""
    lacking = []
    if found.gap is None:
        why = (
            "the linearization gap, which losses do not bound under cross-entropy"
            if run.loss != "mse"
            else "the linearization gap, or losses of the linearized network"
        )
        lacking.append(why)
    if found.kernel is None:
        lacking.append("the kernel's cosine or distance")
    return f"Not recorded: {' and '.join(lacking)}; {_TO_RECORD}." if lacking else ""


def _span(estimate: Estimate) -> str:
    ends = [number(estimate.low), number(estimate.high)]
    return " to ".join(dict.fromkeys(ends))


def _diagnosis(run: RunRecords, found: Measurements, verdict: Verdict, k: int) -> Diagnosis:
    optimization = run.optimization
    return Diagnosis(
        regime=verdict.regime,
        reason=verdict.reason,
        readings=_readings(run, found),
        groups={},
        advice=advise(Case(found, verdict, optimization)),
        notes=found.notes,
        setup={
            "from": "the records of a run",
            "step": int(run.steps[k]),
            "loss": run.loss,
            "records": ", ".join(run.curves),
        },
        records=_over_training(run),
    )


def _readings(run: RunRecords, found: Measurements) -> dict[str, Reading]:
    readings = {}
    if found.gap is not None:
        gap = found.gap.gap
        readings["linearization_gap"] = Reading(
            "distance to the linearized network",
            gap.value,
            gap.low,
            gap.high,
            0.0,
            "lazy",
            note="bounds from the losses of both on train and test rows",
        )
    if found.kernel is not None:
        cosine, distance = found.kernel.cosine, found.kernel.distance.value
        readings["kernel_cosine"] = Reading(
            "kernel cosine",
            cosine.value,
            cosine.low,
            cosine.high,
            1.0,
            "lazy",
            note="bounds from the kernel's distance and its alignment with the labels",
        )
        if not math.isnan(distance):
            readings["kernel_distance"] = Reading(
                "kernel distance", distance, null=0.0, null_meaning="lazy", note="not centred"
            )
    empty = Evidence(Snapshot(np.zeros((0, 0))), None, None, {}, optimization=run.optimization)
    readings |= of_labels(found) | of_size(empty, found)
    return {name: readings[name] for name in MAIN if name in readings} | readings


def _over_training(run: RunRecords) -> tuple[dict[str, float], ...]:
    """Lower ends of both bounds at every evaluation after the start."""
    return tuple(
        {
            "step": float(run.steps[k]),
            "linearization_gap": gap_bounds(run, k).value,
            "kernel_cosine": cosine_bounds(run, k).value,
        }
        for k in range(1, len(run.steps))
    )
