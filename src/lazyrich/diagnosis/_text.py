"""A diagnosis in words, for a terminal."""

import math
from textwrap import fill
from typing import TYPE_CHECKING

from ._readings import MAIN, Reading
from ._verdict import Regime

if TYPE_CHECKING:
    from ._diagnosis import Diagnosis

_WIDTH = 88


def headline(diagnosis: "Diagnosis") -> str:
    """The verdict as a short sentence."""
    if diagnosis.regime is Regime.UNDECIDED:
        return "Undecided."
    if diagnosis.regime is Regime.IN_BETWEEN:
        return "This network is in between lazy and rich."
    return f"This network is {diagnosis.regime}."


def number(value: float) -> str:
    """A number in few digits."""
    return "not defined" if math.isnan(value) else f"{value:.3g}"


def interval(reading: Reading) -> str:
    """Such as "(0.1 to 0.2)"; empty if there is none."""
    if math.isnan(reading.low) or math.isnan(reading.high):
        return ""
    return f"({number(reading.low)} to {number(reading.high)})"


def level(reading: Reading) -> str:
    """Such as "lazy: 1"; empty if there is no null level."""
    return "" if math.isnan(reading.null) else f"{reading.null_meaning}: {number(reading.null)}"


def line(reading: Reading) -> str:
    """A reading on a line of its own."""
    value = f"{number(reading.value)} {interval(reading)}"
    return f"  {reading.title:42} {value:26} {level(reading)}".rstrip()


def text_of(diagnosis: "Diagnosis") -> str:
    """The whole text."""
    lines = [fill(f"{headline(diagnosis)} {diagnosis.reason}", _WIDTH), ""]
    shown = (*MAIN, "logit_scale", "train_error", "test_error")
    lines += [line(diagnosis.readings[name]) for name in shown if name in diagnosis.readings]
    lines.append("")
    lines += _advice(diagnosis)
    for note in diagnosis.notes:
        lines.append(fill(f"Note: {note}", _WIDTH, subsequent_indent="  "))
    return "\n".join(lines).rstrip()


def _advice(diagnosis: "Diagnosis") -> list[str]:
    if not diagnosis.advice:
        if "test_error" not in diagnosis.readings:
            return []
        return ["It fits the probe rows and predicts the test rows: nothing is late.", ""]
    first, *others = diagnosis.advice
    lines = [
        fill(f"Cause: {first.cause}. {first.mechanism}", _WIDTH, subsequent_indent="  "),
        fill(f"Evidence: {first.evidence}.", _WIDTH, subsequent_indent="  "),
        fill(f"Change: {first.knob}.", _WIDTH, subsequent_indent="  "),
        fill(f"Predicted: {first.predicted_effect}.", _WIDTH, subsequent_indent="  "),
        fill(
            f"Source: {first.source}. Effect at equal tuning budget: {first.measured_effect}.",
            _WIDTH,
            subsequent_indent="  ",
        ),
    ]
    if others:
        lines.append(f"Then: {'; '.join(one.cause for one in others)}.")
    return [*lines, ""]
