"""The measured numbers by name, each with its interval and what it is by chance or if lazy."""

import math
from dataclasses import dataclass

from ._estimate import Estimate
from ._evidence import Evidence
from ._fit import Fit
from ._measurements import Measurements

MAIN = (
    "linearization_gap",
    "kernel_cosine",
    "kernel_growth",
    "label_fit",
    "initial_size",
    "parameter_change",
)
"""The six that are printed."""


@dataclass(frozen=True)
class Reading:
    """A measured number.

    Attributes:
        title: what it is.
        value: the number; NaN if it is not defined here.
        low: lower end of the 95 % interval; NaN if there is none.
        high: upper end.
        null: what it would be if there were nothing to see; NaN if there is no such level.
        null_meaning: what that level is.
        note: more about it.

    Example:
        >>> Reading("kernel cosine", 0.9, 0.8, 1.0, 1.0, "lazy").null
        1.0
    """

    title: str
    value: float
    low: float = math.nan
    high: float = math.nan
    null: float = math.nan
    null_meaning: str = ""
    note: str = ""


def _of(title: str, estimate: Estimate, null: float, meaning: str, note: str = "") -> Reading:
    return Reading(title, estimate.value, estimate.low, estimate.high, null, meaning, note)


def readings_of(evidence: Evidence, found: Measurements) -> dict[str, Reading]:
    """All readings that there are, the main ones first."""
    readings = _of_change(found) | of_labels(found) | of_size(evidence, found)
    main = {name: readings[name] for name in MAIN if name in readings}
    return main | readings


def _of_change(found: Measurements) -> dict[str, Reading]:
    readings = {}
    if found.gap is not None:
        ways = ", ".join(f"{value:.3g} ({name})" for name, value in found.gap.others.items())
        readings["linearization_gap"] = _of(
            "linearization gap", found.gap.gap, 0.0, "lazy", f"by way of derivative: {ways}"
        )
    if found.kernel is not None:
        kernel = found.kernel
        over = (
            "exact kernels, interval over rows"
            if kernel.is_exact
            else ("estimated, interval over random directions")
        )
        readings["kernel_cosine"] = _of(
            "kernel cosine",
            kernel.cosine,
            1.0,
            "lazy",
            f"{over}; unrelated kernels of these spectra: {kernel.unrelated_cosine:.2g}",
        )
        readings["kernel_growth"] = _of(
            "kernel growth, tr K/tr K₀", kernel.growth, 1.0, "lazy", over
        )
        readings["kernel_distance"] = _of("kernel distance", kernel.distance, 0.0, "lazy", over)
        readings["effective_rank"] = _of(
            "effective rank of the kernel",
            kernel.effective_rank,
            kernel.effective_rank0.value,
            "at the start",
            over,
        )
    return readings


def of_labels(found: Measurements) -> dict[str, Reading]:
    """What is said of labels, fit and generalisation."""
    readings = {}
    for name, fit, when in (
        ("label_fit", found.label_fit0, "kernel at the start"),
        ("label_fit_now", found.label_fit, "kernel now"),
    ):
        if fit is not None:
            readings[name] = Reading(
                f"labels in the {when}, z",
                fit.z_score,
                null=0.0,
                null_meaning=f"p = {fit.p_value:.2g}; permuted labels",
                note=f"{fit.ratio:.3g} times the energy of permuted labels",
            )
    if math.isfinite(found.initial_size):
        readings["initial_size"] = Reading(
            "initial outputs relative to labels",
            found.initial_size,
            null=1.0,
            null_meaning="as large as the labels",
        )
    fits = {
        "train_error": ("error on the probe rows", found.fit, found.fit0),
        "test_error": ("error on the test rows", found.test_fit, found.test_fit0),
    }
    for name, (title, fit, fit0) in fits.items():
        if fit is not None:
            readings[name] = Reading(
                title, fit.error, null=fit.chance, null_meaning="chance", note=_losses(fit, fit0)
            )
    if found.lazy_limit is not None:
        limit, test_fit = found.lazy_limit, found.test_fit
        readings["lazy_limit"] = Reading(
            "test error of the lazy limit",
            limit.error,
            null=test_fit.chance if test_fit is not None else math.nan,
            null_meaning="chance",
            note=f"half of the rows: {limit.half_error:.3g}; four times the rows, extrapolated: "
            f"{limit.extrapolated_error:.3g}",
        )
    return readings


def _losses(fit: Fit, fit0: Fit | None) -> str:
    started = "" if fit0 is None else f", {fit0.loss:.3g} at the start"
    return f"loss {fit.loss:.3g}{started}"


def of_size(evidence: Evidence, found: Measurements) -> dict[str, Reading]:
    """What is said of parameters, logits, features and the optimizer."""
    readings = {}
    for name, title, value in (
        ("parameter_change", "parameter change, ‖θ − θ₀‖/‖θ₀‖", found.parameter_change),
        ("norm_growth", "parameter norm, ‖θ‖/‖θ₀‖", found.norm_growth),
    ):
        if not math.isnan(value):
            null = 0.0 if name == "parameter_change" else 1.0
            readings[name] = Reading(title, value, null=null, null_meaning="nothing moved")
    if found.logits is not None:
        start = found.logits0.scale if found.logits0 is not None else math.nan
        readings["logit_scale"] = Reading(
            "logit scale, rms",
            found.logits.scale,
            null=start,
            null_meaning="at the start",
            note=f"{found.logits.saturated:.0%} of the rows saturated, "
            f"{found.logits.zero_losses:.0%} with a loss of exactly 0 in float32",
        )
    if not math.isnan(found.gradient_cosine):
        readings["gradient_cosine"] = Reading(
            "cosine of descent and parameters",
            found.gradient_cosine,
            null=0.0,
            null_meaning="no growth of the norm",
        )
    if found.features is not None:
        features = found.features
        readings["feature_alignment"] = Reading(
            "last features, CKA with the start", features.alignment, null=1.0, null_meaning="lazy"
        )
        readings["low_rank_measure"] = Reading(
            "last features, low-rank measure",
            features.low_rank,
            null=features.low_rank0,
            null_meaning="at the start",
        )
        readings["refit_error"] = Reading(
            "error of the last layer fitted anew",
            features.refit_error,
            null=found.fit.chance if found.fit is not None else math.nan,
            null_meaning="chance",
        )
    known = evidence.optimization
    if known.learning_rate is not None and known.weight_decay is not None:
        readings["rate_times_decay"] = Reading(
            "learning rate × weight decay", known.learning_rate * known.weight_decay
        )
    return readings
