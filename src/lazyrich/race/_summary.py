"""From published rows to a summary of each arm: times, shares, speed-ups, tests."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lazyrich._base import Json

from ._edition import Edition
from ._plan import best_of_studies
from ._results import Results
from ._rows import Row
from ._statistics import (
    Interval,
    expected_best,
    holm,
    restricted_mean_interval,
    share_near_best,
    sign_flip_test,
    speed_up,
    wilson,
)


class ArmSummary(NamedTuple):
    """What is known of an arm on a task; only of fresh seeds unless it says tuning.

    Attributes:
        task: name of the task.
        arm: name of the arm.
        is_complete: whether all its trials are published.
        times: steps to the target, (studies, seeds); inf for a miss, which is censored.
        tuning_times: of the search's trials.
        median_best: median over studies of the fastest tuning trial; inf for a miss.
        reached: share of runs that reach the target, Wilson's interval for the number of
            seeds.
        mean_time: restricted mean time to T_max.
        speed_up: restricted mean of the baseline over that of the arm; None without one.
        p_value: of the paired sign-flip test against the baseline, adjusted by Holm over
            the arms of the task; None without one.
        best_after: expected fastest of k tuning trials, for k from 1.
        near_best: share of tuning trials within a factor of two of the fastest.
        fit_time: median step at which the training rows are fitted; inf if never.
        gradients_per_step: gradient evaluations of a step.
        seconds_per_step: median wall time of a step, compilation included.
        test: mean of the test metric at the end.
        settings: best settings of each study.
        rate_times_decay: median over runs; None without decay.
        at_fit: medians at the fit of logit scale and weight norm, the latter as a share of
            the start.

    Example:
        >>> ArmSummary._fields[:2]
        ('task', 'arm')
    """

    task: str
    arm: str
    is_complete: bool
    times: np.ndarray
    tuning_times: np.ndarray
    median_best: float
    reached: Interval
    mean_time: Interval
    speed_up: Interval | None
    p_value: float | None
    best_after: np.ndarray
    near_best: float
    fit_time: float
    gradients_per_step: float
    seconds_per_step: float
    test: float
    settings: dict[int, dict[str, Json]]
    rate_times_decay: float | None
    at_fit: dict[str, float]


def summarize(results: Results, task: str) -> dict[str, ArmSummary]:
    """Every arm of a task that has fresh runs.

    An arm that is not complete has no speed-up and takes no part in the tests.

    Args:
        results: published rows.
        task: name of the task.

    Returns:
        By arm, in the order of the edition.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     summarize(Results(folder, default_edition()), "parity")
        {}
    """
    edition = results.edition
    rows = {arm: results.rows(task, arm) for arm in edition.arm if edition.fits(task, arm)}
    found = {
        arm: _summary(edition, task, arm, of_arm)
        for arm, of_arm in rows.items()
        if any(row["phase"] == "fresh" for row in of_arm)
    }
    base = found.get(edition.rules.baseline)
    if base is None or not base.is_complete:
        return found
    limit = float(edition.task[task].max_steps)
    compared = [
        arm for arm, one in found.items() if one.is_complete and arm != edition.rules.baseline
    ]
    p_values = [sign_flip_test(_differences(base, found[arm], limit)) for arm in compared]
    for arm, p_value in zip(compared, holm(p_values), strict=True):
        ratio = speed_up(base.times, found[arm].times, limit)
        found[arm] = found[arm]._replace(speed_up=ratio, p_value=p_value)
    return found


def _differences(base: ArmSummary, arm: ArmSummary, limit: float) -> np.ndarray:
    """For each seed the difference of mean times over studies, misses at the limit."""
    means = [np.minimum(one.times, limit).mean(0) for one in (base, arm)]
    return means[0] - means[1]


def _summary(edition: Edition, task: str, arm: str, rows: Sequence[Row]) -> ArmSummary:
    rules, limit = edition.rules, float(edition.task[task].max_steps)
    fresh = [row for row in rows if row["phase"] == "fresh"]
    tuning = [row for row in rows if row["phase"] == "tuning"]
    times = times_of(fresh)
    searched = np.array([_time(row) for row in tuning])
    n_studies = rules.n_studies if edition.arm[arm].tuned else 1
    n_seeds = times.shape[1]
    test = f"final_test_{edition.task[task].target.metric}"
    firsts = [
        min(_time(row) for row in tuning if row["study"] == study)
        for study in sorted({row["study"] for row in tuning})
    ]
    return ArmSummary(
        task=task,
        arm=arm,
        is_complete=times.shape == (n_studies, rules.n_fresh_seeds),
        times=times,
        tuning_times=searched,
        median_best=float(np.median(firsts)) if firsts else math.nan,
        # Runs of one seed share data and weights: the seeds are what is counted.
        reached=wilson(float(np.isfinite(times).mean()) * n_seeds, n_seeds),
        mean_time=restricted_mean_interval(times, limit),
        speed_up=None,
        p_value=None,
        best_after=expected_best(searched, limit) if len(searched) else np.zeros(0),
        near_best=share_near_best(searched) if len(searched) else math.nan,
        fit_time=float(np.median([_or(row["fit_time"], math.inf) for row in fresh])),
        gradients_per_step=_gradients(edition, task, arm, fresh[0]),
        seconds_per_step=float(
            np.median([_or(r["wall_seconds"], math.nan) / max(r["last_step"], 1) for r in fresh])
        ),
        test=_mean([row["at_end"][test] for row in fresh if test in row.get("at_end", {})]),
        settings=best_of_studies(tuning) if tuning else {},
        rate_times_decay=_median([row["rate_times_decay"] for row in fresh]),
        at_fit=_at_fit(fresh),
    )


def times_of(rows: Sequence[Row]) -> np.ndarray:
    """Steps to the target, (studies, seeds); inf for a miss."""
    studies = sorted({row["study"] for row in rows})
    return np.array([[_time(row) for row in rows if row["study"] == study] for study in studies])


def _gradients(edition: Edition, task: str, arm: str, row: Row) -> float:
    """The cost of a step, which the kind of the objective decides."""
    trial = edition.trial(task, arm, row["settings"], seed=row["seed"])
    return trial.experiment.objective.gradient_evaluations


def _at_fit(rows: Sequence[Row]) -> dict[str, float]:
    """Medians over the runs that fit."""
    fitted = [row for row in rows if "at_fit" in row]
    found = {
        "logit scale": [row["at_fit"].get("logit_scale") for row in fitted],
        "norm": [_norm_at_fit(row) for row in fitted],
        "kernel cosine": [row["at_fit"].get("kernel_cosine") for row in fitted],
    }
    medians = {name: _median(values) for name, values in found.items()}
    return {name: value for name, value in medians.items() if value is not None}


def _norm_at_fit(row: Row) -> float | None:
    """As a share of the start; None where either was not finite, and so is not published."""
    start, fit = (row.get(when, {}).get("weight_norm") for when in ("at_start", "at_fit"))
    return None if fit is None or not start else fit / start


def _time(row: Row) -> float:
    return math.inf if row["time"] is None else float(row["time"])


def _or(value: float | int | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
