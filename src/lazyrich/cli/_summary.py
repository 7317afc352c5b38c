"""A summary of one run, in numbers and in a few sentences."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lazyrich._base import Json
from lazyrich.curves import (
    GrokkingDelay,
    Phase,
    accuracy_delay,
    grokking_delay,
    peak_before,
    phase,
)
from lazyrich.plots import text_curve
from lazyrich.training import History

_ENDS = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "parameter_change",
    "kernel_distance",
    "alignment",
    "chance_alignment",
    "debiased_alignment",
    "weight_norm",
)
_LATE = 1.5
"""Ratio of steps from which a test curve counts as late, that of the claim on Figure 1."""

# Compiled they give NaN for a run that diverged at once, which has a summary all the same.
_loss_delay = jax.jit(grokking_delay)
_accuracy_delay = jax.jit(accuracy_delay)
_peak_before = jax.jit(peak_before)


class Summary(NamedTuple):
    """Where a run began and ended, when its curves fell, and which phase that makes.

    Attributes:
        status: how the run ended.
        n_steps: its last step.
        wall_seconds: how long it took.
        ends: first and last value of records by name.
        loss_delay: of the losses.
        peak: largest test loss before it falls, and its step.
        phase: by accuracies if there are any, else by losses.
        accuracy_delay: of the accuracies; None if there are none.
    """

    status: str
    n_steps: int
    wall_seconds: float
    ends: dict[str, tuple[float, float]]
    loss_delay: GrokkingDelay
    peak: tuple[float, float]
    phase: str
    accuracy_delay: GrokkingDelay | None

    def to_json(self) -> dict[str, Json]:
        """JSON values: delays are None if censored, numbers that are not finite text."""
        ends: dict[str, Json] = {
            name: {"start": _number(start), "end": _number(end)}
            for name, (start, end) in self.ends.items()
        }
        value, step = map(_number, self.peak)
        tree: dict[str, Json] = {
            "status": self.status,
            "n_steps": self.n_steps,
            "wall_seconds": self.wall_seconds,
            **ends,
            "loss_delay": _delay(self.loss_delay),
            "test_loss_peak": {"value": value, "step": step},
            "phase": self.phase,
        }
        if self.accuracy_delay is not None:
            tree["accuracy_delay"] = _delay(self.accuracy_delay)
        return tree


def summary_of(history: History) -> Summary:
    """The summary of a run."""
    records = {name: record.values for name, record in history.records.items()}
    steps = jnp.asarray(history.steps)
    delay = _loss_delay(steps, _curve(records["train_loss"]), _curve(records["test_loss"]))
    until = jnp.where(jnp.isfinite(delay.test_step), delay.test_step, steps[-1])
    peak, step = _peak_before(steps, _curve(records["test_loss"]), until)
    of_accuracy = None
    if "test_accuracy" in records:
        curves = _curve(records["train_accuracy"]), _curve(records["test_accuracy"])
        of_accuracy = _accuracy_delay(steps, *curves, train_level=0.95, test_level=0.95)
    return Summary(
        status=history.status.name,
        n_steps=int(history.steps[-1]),
        wall_seconds=round(history.wall_seconds, 3),
        ends={
            name: (float(records[name][0]), float(records[name][-1]))
            for name in _ENDS
            if name in records
        },
        loss_delay=delay,
        peak=(float(peak), float(step)),
        phase=_phase(delay if of_accuracy is None else of_accuracy),
        accuracy_delay=of_accuracy,
    )


def lines_of(history: History, summary: Summary, *, has_braille: bool = True) -> list[str]:
    """The summary for a terminal: a small picture and what it shows."""
    losses = [history.train_loss, history.test_loss]
    lines = text_curve(history.steps, losses, has_braille=has_braille)
    if lines:
        lines.append(f"train and test loss against steps 1 to {summary.n_steps}, both on log axes")
    lines.append("")
    for name, (start, end) in summary.ends.items():
        lines.append(f"{name.replace('_', ' '):20} {start:.4g} → {end:.4g}")
    lines.append("")
    lines.append(_fell("loss", "a tenth of the initial train loss", summary.loss_delay))
    if summary.accuracy_delay is not None:
        lines.append(_fell("accuracy", "95 %", summary.accuracy_delay))
    lines.append(f"{_ENDINGS[summary.status]} Phase: {summary.phase}.")
    return lines


_ENDINGS = {
    "ok": "The run is complete.",
    "diverged": "The run diverged: its loss is no longer finite; try a smaller learning rate.",
    "out_of_steps": "The run used up its steps before it was solved.",
}


def _fell(curve: str, level: str, delay: GrokkingDelay) -> str:
    train, test = float(delay.train_step), float(delay.test_step)
    if not math.isfinite(train):
        return f"The train {curve} never reached {level}."
    if not math.isfinite(test):
        return f"The train {curve} reached {level} at step {train:.0f}, the test {curve} never."
    ratio = float(delay.ratio)
    times = f", {ratio:.2f} times as late" if math.isfinite(ratio) else ""
    return (
        f"The train {curve} reached {level} at step {train:.0f}, the test {curve} at step "
        f"{test:.0f}: {test - train:.0f} steps later{times}."
    )


def _delay(found: GrokkingDelay) -> dict[str, Json]:
    values = found._asdict()
    is_censored = bool(values.pop("is_censored"))
    finite = {name: float(v) if math.isfinite(float(v)) else None for name, v in values.items()}
    return finite | {"is_censored": is_censored}


def _phase(found: GrokkingDelay) -> str:
    return Phase(int(phase(found, max_delay=jnp.inf, max_ratio=_LATE))).name


def _curve(values: np.ndarray) -> Array:
    return jnp.asarray(values)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
