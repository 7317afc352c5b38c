"""A summary of one run, in numbers and in a few sentences."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lazyrich._base import Json
from lazyrich.curves import Phase, accuracy_delay, grokking_delay, peak_before, phase
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


def summary_of(history: History) -> dict[str, Json]:
    """Where a run began and ended, when its curves fell, and which phase that makes.

    Delays are ``null`` if censored; numbers that are not finite are text.
    """
    records = {name: record.values for name, record in history.records.items()}
    steps = jnp.asarray(history.steps)
    delay = _loss_delay(steps, _curve(records["train_loss"]), _curve(records["test_loss"]))
    found: dict[str, Json] = {"status": history.status.name, "n_steps": int(history.steps[-1])}
    found["wall_seconds"] = round(history.wall_seconds, 3)
    for name in _ENDS:
        if name in records:
            start, end = float(records[name][0]), float(records[name][-1])
            found[name] = {"start": _number(start), "end": _number(end)}
    found["loss_delay"] = _delay(delay)
    until = jnp.where(jnp.isfinite(delay.test_step), delay.test_step, steps[-1])
    peak, step = _peak_before(steps, _curve(records["test_loss"]), until)
    found["test_loss_peak"] = {"value": _number(float(peak)), "step": _number(float(step))}
    found["phase"] = _phase(delay)
    if "test_accuracy" in records:
        curves = _curve(records["train_accuracy"]), _curve(records["test_accuracy"])
        of_accuracy = _accuracy_delay(steps, *curves, train_level=0.95, test_level=0.95)
        found["accuracy_delay"] = _delay(of_accuracy)
        found["phase"] = _phase(of_accuracy)
    return found


def lines_of(history: History, summary: dict[str, Json], *, has_braille: bool = True) -> list[str]:
    """The summary for a terminal: a small picture and what it shows."""
    losses = [history.train_loss, history.test_loss]
    lines = text_curve(history.steps, losses, has_braille=has_braille)
    if lines:
        lines.append(
            f"train and test loss against steps 1 to {summary['n_steps']}, both on log axes"
        )
    lines.append("")
    for name in _ENDS:
        if name in summary:
            ends = summary[name]
            lines.append(
                f"{name.replace('_', ' '):20} {_short(ends['start'])} → {_short(ends['end'])}"
            )
    lines.append("")
    lines.append(_fell("loss", "a tenth of the initial train loss", summary["loss_delay"]))
    if "accuracy_delay" in summary:
        lines.append(_fell("accuracy", "95 %", summary["accuracy_delay"]))
    lines.append(f"{_ENDINGS[summary['status']]} Phase: {summary['phase']}.")
    return lines


_ENDINGS = {
    "ok": "The run is complete.",
    "diverged": "The run diverged: its loss is no longer finite; try a smaller learning rate.",
    "out_of_steps": "The run used up its steps before it was solved.",
}


def _fell(curve: str, level: str, delay: dict[str, Json]) -> str:
    train, test = delay["train_step"], delay["test_step"]
    if train is None:
        return f"The train {curve} never reached {level}."
    if test is None:
        return f"The train {curve} reached {level} at step {train:.0f}, the test {curve} never."
    return (
        f"The train {curve} reached {level} at step {train:.0f}, the test {curve} at step "
        f"{test:.0f}: {test - train:.0f} steps later, {delay['ratio']:.2f} times as late."
    )


def _delay(found: Json) -> dict[str, Json]:
    values = found._asdict()
    is_censored = bool(values.pop("is_censored"))
    finite = {name: float(v) if math.isfinite(float(v)) else None for name, v in values.items()}
    return finite | {"is_censored": is_censored}


def _phase(found: Json) -> str:
    return Phase(int(phase(found, max_delay=jnp.inf, max_ratio=_LATE))).name


def _curve(values: np.ndarray) -> Json:
    return jnp.asarray(values)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _short(value: float | str) -> str:
    return f"{float(value):.4g}"
