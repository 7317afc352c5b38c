"""What is published of a trial: one row, made from what the store keeps of it."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import NamedTuple, NotRequired, SupportsFloat, TypedDict

import numpy as np

from lazyrich._base import Json
from lazyrich.sweeps import Outcome

from ._edition import Edition
from ._trial import Trial


class Planned(NamedTuple):
    """A trial that is to be made, and where it stands in the race.

    Attributes:
        task: name of the task.
        arm: name of the arm.
        phase: "tuning", or "fresh" for the best settings of a study with a fresh seed.
        study: number of the study.
        index: number of the trial in its study, or of the fresh seed.
        settings: what the search chose.
        trial: the simulation.

    Example:
        >>> from lazyrich.race import default_edition
        >>> edition = default_edition()
        >>> trial = edition.trial("parity", "adamw", {}, seed=0)
        >>> Planned("parity", "adamw", "tuning", 0, 0, {}, trial).trial.max_steps
        1400
    """

    task: str
    arm: str
    phase: str
    study: int
    index: int
    settings: dict[str, Json]
    trial: Trial

    @property
    def key(self) -> str:
        """What the published row is told by: its place in the race, not the names of fields."""
        seed, versions = self.trial.experiment.seed, sorted(self.trial.numerics.items())
        where = [self.trial.edition, *self[:5], seed, self.settings, versions]
        return hashlib.sha256(json.dumps(where, sort_keys=True).encode()).hexdigest()


class Row(TypedDict):
    """A published trial: where it stands, its settings, its times, and how it ended."""

    task: str
    arm: str
    phase: str
    study: int
    index: int
    seed: int
    settings: dict[str, Json]
    key: str
    edition: str
    status: str
    time: int | None
    max_steps: int
    gradient_evaluations: float | None
    wall_seconds: float | None
    last_step: int
    rate_times_decay: float | None
    fit_time: int | None
    machine: str
    error: NotRequired[str]
    at_fit: NotRequired[dict[str, float]]
    at_start: NotRequired[dict[str, float]]
    at_end: NotRequired[dict[str, float]]


def row_of(planned: Planned, outcome: Outcome, edition: Edition) -> Row:
    """The row of a finished trial.

    ``time`` is the step at which the validation rows met the target and from which they
    held it, or None if that was not by T_max, where it is then censored. A trial that
    diverged or failed is censored there too: it is never dropped.

    Args:
        planned: the trial.
        outcome: what is kept of it.
        edition: its rules.

    Returns:
        Numbers, text, truth values and None, ready for JSON.
    """
    trial, task = planned.trial, edition.task[planned.task]
    records = {name: np.asarray(record.values) for name, record in outcome.records.items()}
    steps = np.asarray(outcome.steps)
    time = target_time(trial, steps, records) if records else None
    cost = trial.experiment.objective.gradient_evaluations
    row: Row = {
        "task": planned.task,
        "arm": planned.arm,
        "phase": planned.phase,
        "study": planned.study,
        "index": planned.index,
        "seed": trial.experiment.seed,
        "settings": planned.settings,
        "key": planned.key,
        "edition": trial.edition,
        "status": outcome.status,
        "time": time,
        "max_steps": trial.max_steps,
        "gradient_evaluations": None if time is None else time * cost,
        "wall_seconds": _own_seconds(outcome),
        "last_step": int(steps[-1]) if len(steps) else 0,
        "rate_times_decay": rate_times_decay(trial),
        "fit_time": None,
        "machine": f"lazyrich {outcome.machine['lazyrich']}, jax {outcome.machine['jax']}, "
        f"{outcome.machine['device']}",
    }
    if outcome.error:
        row["error"] = outcome.error.splitlines()[0]
    if not records:
        return row
    fitted = task.fit.is_met(records[f"train_{task.fit.metric}"])
    if fitted.any():
        first = int(np.argmax(fitted))
        row["fit_time"] = int(steps[first])
        row["at_fit"] = _at(records, first)
    row["at_start"], row["at_end"] = _at(records, 0), _at(records, -1)
    return row


def target_time(trial: Trial, steps: np.ndarray, records: Mapping[str, np.ndarray]) -> int | None:
    """The step from which the target was held, or None if that was not by T_max.

    Args:
        trial: with its target.
        steps: at which it was measured.
        records: by name, evaluations first.

    Returns:
        A step.
    """
    held = records["held_steps"]
    confirmed = np.flatnonzero(held >= trial.hold)
    if not len(confirmed):
        return None
    time = int(steps[confirmed[0]] - held[confirmed[0]])
    return time if time <= trial.max_steps else None


def rate_times_decay(trial: Trial) -> float | None:
    """Rate × decay as the optimizer takes them, at this α; None without decay."""
    optimizer = trial.experiment.optimizer
    if not hasattr(optimizer, "weight_decay"):
        return None
    return math.prod(optimizer.rate_and_decay(trial.experiment.scaling.alpha))


_KEPT = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "final_test_loss",
    "final_test_accuracy",
    "weight_norm",
    "logit_scale",
    "kernel_cosine",
)


def _at(records: Mapping[str, np.ndarray], place: int) -> dict[str, float]:
    found = {name: _number(records[name][place]) for name in _KEPT if name in records}
    return {name: value for name, value in found.items() if value is not None}


def _own_seconds(outcome: Outcome) -> float | None:
    """Seconds of the run; None on an accelerator, where it is computed with others in a batch."""
    is_alone = outcome.machine["device"].startswith("cpu")
    return _number(outcome.wall_seconds) if is_alone else None


def _number(value: SupportsFloat) -> float | None:
    """A number of six digits; JSON has no NaN and no infinities."""
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
