"""The result: a verdict, the numbers that decided it with their nulls, and advice."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lazyrich._base import Json

from ._advice import Advice, Case, advise
from ._estimate import UNDEFINED, Estimate
from ._evidence import Evidence
from ._fit import Fit
from ._measurements import GroupMeasurement, Measurements, measure
from ._readings import Reading, readings_of
from ._thresholds import THRESHOLDS, threshold
from ._verdict import Regime, Verdict, decide


@dataclass(frozen=True)
class Diagnosis:
    """Is this network lazy or rich, is it late, and what would make it sooner.

    Attributes:
        regime: lazy, rich, in between or undecided.
        reason: what decided it, or what would.
        readings: the measured numbers by name, each with interval and null level.
        groups: by parameter group, how far parameters and kernel have moved.
        advice: causes of late generalisation that apply, the first to be acted on first.
        notes: what to mind.
        setup: rows, outputs, framework, kernel and so on.
        records: measurements over training, if a monitor made them.

    Example:
        >>> found = Diagnosis(Regime.LAZY, "It is linear.", {}, {}, (), (), {})
        >>> str(found)
        'This network is lazy. It is linear.'
    """

    regime: Regime
    reason: str
    readings: Mapping[str, Reading]
    groups: Mapping[str, GroupMeasurement]
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    setup: Mapping[str, Any]
    records: tuple[Mapping[str, float], ...] = field(default=())

    def __str__(self) -> str:
        """A sentence, the numbers that matter, and advice."""
        from ._text import text_of

        return text_of(self)

    def to_dict(self) -> dict[str, Json]:
        """All of it as JSON values; what is not finite is None."""
        return {
            "regime": str(self.regime),
            "reason": self.reason,
            "readings": {name: _json(asdict(one)) for name, one in self.readings.items()},
            "groups": {name: _json(asdict(one)) for name, one in self.groups.items()},
            "advice": [asdict(one) for one in self.advice],
            "notes": list(self.notes),
            "setup": _json(dict(self.setup)),
            "thresholds": {name: one.value for name, one in THRESHOLDS.items()},
            "records": [_json(dict(one)) for one in self.records],
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)

    def to_html(self, path: str | Path) -> Path:
        """Write one page that needs no network.

        Args:
            path: the page; an earlier one of these is replaced, nothing else is.

        Returns:
            The path.

        Raises:
            InputError: if something else is there or it cannot be written.
        """
        from ._page import write_page

        return write_page(self, path)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def diagnosis_of(
    evidence: Evidence,
    setup: Mapping[str, Any],
    records: tuple[Mapping[str, float], ...] = (),
) -> Diagnosis:
    """The diagnosis from the evidence that a framework has gathered.

    Args:
        evidence: of a later checkpoint, against a reference if there is one.
        setup: what was measured, for the report.
        records: measurements over training, if a monitor made them.

    Returns:
        The diagnosis.

    Example:
        >>> import numpy as np
        >>> from lazyrich.diagnosis import Snapshot
        >>> one = Evidence(Snapshot(np.ones((4, 1))), start=None, linear=None, groups={})
        >>> str(diagnosis_of(one, {}).regime)
        'undecided'
    """
    found = measure(evidence)
    verdict = verdict_of(evidence, found)
    return Diagnosis(
        regime=verdict.regime,
        reason=verdict.reason,
        readings=readings_of(evidence, found),
        groups=found.groups or {},
        advice=advise(Case(found, verdict, evidence.optimization)),
        notes=found.notes + _notes(found),
        setup=setup,
        records=records,
    )


def verdict_of(evidence: Evidence, found: Measurements) -> Verdict:
    """The verdict, undecided where there is nothing to decide from."""
    if evidence.start is None:
        return _undecided(
            "There is one checkpoint only; lazy or rich is said of a change, so it takes an "
            "earlier checkpoint too."
        )
    if evidence.change == 0:
        return _undecided("The two checkpoints are identical, so nothing has been learned between.")
    if found.gap is not None and math.isnan(found.gap.gap.value):
        return _undecided("The parameters have changed and no output on the probe rows has.")
    if found.fit is not None and found.fit0 is not None and is_diverged(found.fit, found.fit0):
        return _undecided(
            f"The loss has grown from {found.fit0.loss:.3g} to {found.fit.loss:.3g}: the network "
            "has diverged, and lazy or rich is said of one that learns; give parameters from "
            "before that."
        )
    gap: Estimate = found.gap.gap if found.gap is not None else UNDEFINED
    cosine = found.kernel.cosine if found.kernel is not None else UNDEFINED
    verdict = decide(gap, cosine)
    if verdict.regime is Regime.LAZY and not _is_trained(found):
        return _undecided(
            "The loss has hardly fallen since the reference, and a short step is near its "
            "linearization in any network; measure again later."
        )
    return verdict


def _undecided(reason: str) -> Verdict:
    return Verdict(Regime.UNDECIDED, reason)


def is_diverged(now: Fit, start: Fit) -> bool:
    """Whether a loss has grown so much, or is not a number, that nothing is learned."""
    limit = threshold("diverged_loss") * max(start.loss, now.chance_loss)
    return not now.loss <= limit  # NaN too


def _is_trained(found: Measurements) -> bool:
    if found.fit is None or found.fit0 is None:
        return True
    return found.fit.loss <= (1 - threshold("trained_share")) * found.fit0.loss


def _notes(found: Measurements) -> tuple[str, ...]:
    notes = []
    if found.fit is None:
        notes.append(
            "No labels were given, so nothing is said of fit and generalisation, nor of whether "
            "the network has diverged."
        )
    elif found.test_fit is None:
        notes.append("No test rows were given, so nothing is said of generalisation.")
    if found.gap is not None and found.gap.rounding > threshold("lazy_gap") / 2:
        notes.append(
            f"Rounding can be {found.gap.rounding:.1g} of the outputs' change; measure in double "
            "precision."
        )
    values = list(found.gap.others.values()) if found.gap is not None else []
    if len(values) > 1 and max(values) - min(values) > threshold("lazy_gap") / 2:
        notes.append(
            "The linearization gap depends on the step of its finite difference "
            f"({', '.join(f'{value:.2g}' for value in values)}); the network has kinks or steps."
        )
    started_at_zero = [
        name
        for name, one in (found.groups or {}).items()
        if math.isinf(one.parameter_change) or math.isnan(one.kernel_cosine.value)
    ]
    if started_at_zero and found.kernel is not None:
        notes.append(
            f"Parameters or kernel of {', '.join(started_at_zero[:4])} were zero at the reference; "
            "take a reference some steps later to see how they move."
        )
    return tuple(notes)
