"""Why a network generalises late, and what would make it sooner: a fixed order of causes.

Each cause names its mechanism, the evidence for it in this network, what to change, the
effect that theory predicts, and where that is from. How well each change does at equal
tuning budget is taken from the results of the race, if it was part of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ._evidence import Optimization
from ._measured import NOT_MEASURED, measured_effect
from ._measurements import Measurements, relative
from ._thresholds import threshold
from ._verdict import Regime, Verdict


@dataclass(frozen=True)
class Advice:
    """One cause of late generalisation, and what to change.

    Attributes:
        cause: a short name.
        mechanism: what happens.
        evidence: the numbers of this network that say so.
        knob: what to change.
        predicted_effect: what theory says of that.
        source: where it is from.
        measured_effect: how well it did against other methods at equal tuning budget.

    Example:
        >>> Advice("late", "why", "numbers", "a knob", "sooner", "a paper").measured_effect
        'not measured yet'
    """

    cause: str
    mechanism: str
    evidence: str
    knob: str
    predicted_effect: str
    source: str
    measured_effect: str = NOT_MEASURED


class Case(NamedTuple):
    """What advice is given from.

    Attributes:
        found: the measurements.
        verdict: the verdict.
        optimization: what is known of the optimizer.
    """

    found: Measurements
    verdict: Verdict
    optimization: Optimization


def advise(case: Case) -> tuple[Advice, ...]:
    """The causes that apply, in their fixed order; the first is the one to act on.

    Args:
        case: measurements, verdict and optimizer.

    Returns:
        The causes; empty if the network generalises already, or if there are no labels.

    Example:
        >>> verdict = Verdict(Regime.UNDECIDED, "There are no labels.")
        >>> advise(Case(Measurements(), verdict, Optimization()))
        ()
    """
    found = case.found
    if found.fit is None or (found.is_fitted and found.test_fit is not None and not found.is_late):
        return ()
    causes = [cause(case) for cause in _CAUSES]
    applying = tuple(
        replace(one, measured_effect=measured_effect(one.cause))
        for one in causes
        if one is not None
    )
    return applying or (_undecided(case),)


def _large_initial_output(case: Case) -> Advice | None:
    size = case.found.initial_size
    if not size > threshold("large_initial_output"):
        return None
    what = (
        "rms of the outputs over that of the labels"
        if case.found.logits0 is None
        else ("cross-entropy over log c")
    )
    return Advice(
        cause="large initial outputs",
        mechanism="The network starts with large outputs that it has to fit away together with "
        "the labels; in the lazy regime they add noise to every prediction.",
        evidence=f"initial {what}: {size:.3g} (1 or below is small)",
        knob="initialise the last layer smaller; or subtract the outputs at the start "
        "(scale_output with center=True), but then without weight decay, which drags a centred "
        "network back towards them",
        predicted_effect="the initial loss falls to that of a zero output, and so does the part of "
        "the test error that the initial outputs make",
        source="Chizat, Oyallon and Bach (2019); Kumar et al. (2024), §3",
    )


def _softmax_collapse(case: Case) -> Advice | None:
    found = case.found
    if found.logits is None or not found.is_fitted:
        return None
    start = found.logits0.scale if found.logits0 is not None else math.nan
    growth = found.logits.scale / start if start else math.inf
    is_silent = found.logits.zero_losses > threshold("zero_loss_share")
    is_growing = growth > threshold("logit_growth") and (
        found.gradient_cosine > threshold("gradient_cosine")
    )
    if not is_silent and not is_growing:
        return None
    return Advice(
        cause="logits that grow",
        mechanism="The training rows are classified; descent goes on mostly by making the logits "
        "larger, until the losses round to zero and their gradients with them.",
        evidence=f"logit scale {found.logits.scale:.3g} ({growth:.3g} times the start), "
        f"{found.logits.zero_losses:.0%} of the rows with a loss of exactly 0 in float32, cosine "
        f"of descent and parameters {found.gradient_cosine:.2f}",
        knob="a temperature on the logits, a gradient without its part along the parameters, or "
        "weight decay",
        predicted_effect="the gradient does not vanish after the fit, and generalisation does not "
        "wait for weight decay to shrink the logits",
        source="Prieto et al. (2025), arXiv:2501.04697; arXiv:2606.18465",
    )


def _lazy(case: Case) -> Advice | None:
    if case.verdict.regime is not Regime.LAZY and not _has_kept_kernel(case):
        return None
    gap = case.found.gap.gap.value if case.found.gap is not None else math.nan
    cosine = case.found.kernel.cosine.value if case.found.kernel is not None else math.nan
    rate = (
        "with Adam a rate that grows as 1/α"
        if case.optimization.is_adaptive
        else "with SGD a rate that grows as 1/α² (as 1/α with Adam)"
    )
    return Advice(
        cause="lazy training",
        mechanism="The labels are fitted with a kernel that has hardly turned since the start; "
        "features that would generalise are learned only after, if at all.",
        evidence=f"linearization gap {gap:.2g}, kernel cosine {cosine:.3g} (0 and 1 for a lazy "
        "network)",
        knob=f"a smaller output scale α, {rate}; or an initialisation with larger first layers",
        predicted_effect="features are learned while the labels are fitted, so that train and test "
        "loss fall together; on the rich side the rate is limited by stability and not by α",
        source="Kumar et al. (2024); arXiv:2410.04642 for the rates, arXiv:2406.06158 for the "
        "layers; α with a fixed rate is confounded with rate and decay, arXiv:2602.06702",
    )


def _has_kept_kernel(case: Case) -> bool:
    """Late, and in between lazy and rich by its gap alone."""
    kernel = case.found.kernel
    is_between = case.verdict.regime is Regime.IN_BETWEEN and kernel is not None
    return is_between and case.found.is_late and kernel.cosine.low >= threshold("lazy_cosine")


def _norm(case: Case) -> Advice | None:
    found, known = case.found, case.optimization
    if not found.is_late or not found.norm_growth > threshold("norm_growth"):
        return None
    evidence = f"‖θ‖ is {found.norm_growth:.3g} times that at the start"
    effect = "the time to generalise goes as 1/(rate × decay)"
    if known.learning_rate and known.weight_decay:
        # Not the number of steps left, which `decay_steps` predicted badly on recorded runs.
        evidence += f"; rate × decay is {known.learning_rate * known.weight_decay:.2g} a step"
    elif known.weight_decay == 0:
        evidence += "; there is no weight decay"
    return Advice(
        cause="a parameter norm that is larger than needed",
        mechanism="The network has fitted the labels with a large parameter norm, and weight decay "
        "reduces it slowly until a solution that generalises is left.",
        evidence=evidence,
        knob="more weight decay, or a larger rate × decay, as far as the labels stay fitted",
        predicted_effect=effect,
        source="arXiv:2603.13331, arXiv:2605.18845; Liu et al. (2023), arXiv:2210.01117",
    )


def _too_little_data(case: Case) -> Advice | None:
    found = case.found
    limit = found.lazy_limit
    if limit is None or found.test_fit is None or not found.is_late:
        return None
    bound = threshold("useless_kernel_error")
    if limit.error < bound * found.test_fit.chance or relative(found.test_fit) < bound:
        return None
    return Advice(
        cause="too little data",
        mechanism="Neither the network nor its kernel at the start predicts the test rows better "
        "than chance: these rows may not determine the function.",
        evidence=f"test error {found.test_fit.error:.3g}, kernel regression {limit.error:.3g}, "
        f"chance {found.test_fit.chance:.3g}; with four times the rows kernel regression is "
        f"predicted to reach {limit.extrapolated_error:.3g}",
        knob="more training rows, or a known symmetry of the task built into data or network",
        predicted_effect="above the edge in the number of rows the delay shrinks quickly; for "
        "modular sums the kernel needs a constant fraction of all rows",
        source="Kumar et al. (2024), §5; arXiv:2407.12332",
    )


def _undecided(case: Case) -> Advice:
    found = case.found
    if not found.is_fitted:
        cause, wanted = "not fitted yet", "train until the probe rows are fitted, and measure again"
    elif found.test_fit is None:
        cause, wanted = "unknown", "give x_test and y_test, which say whether anything is late"
    else:
        cause, wanted = (
            "unknown",
            "measure once more at the step where the training rows are fitted, with that "
            "checkpoint as the later one: it separates lazy training from what comes after",
        )
    error = "" if found.fit is None else f"error on the probe rows {found.fit.error:.3g}"
    return Advice(
        cause=cause,
        mechanism="None of the known causes shows in the measurements.",
        evidence=error,
        knob=wanted,
        predicted_effect="a measurement that decides",
        source="—",
    )


_CAUSES: tuple[Callable[[Case], Advice | None], ...] = (
    _large_initial_output,
    _softmax_collapse,
    _lazy,
    _norm,
    _too_little_data,
)
