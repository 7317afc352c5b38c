"""The pilot that fixes T_max: the baseline's search, with seeds and points of its own."""

import math
from typing import NamedTuple

import numpy as np

from lazyrich._base import InputError
from lazyrich.sweeps import fill

from ._edition import Edition
from ._rows import target_time
from ._run import AnyExecutor, AnyPath, run_trials
from ._space import sobol_points

_FIRST_STUDY, _FIRST_SEED = 1000, 5000
_FACTOR = 5


class PilotResult(NamedTuple):
    """What a pilot found on a task.

    Attributes:
        best_times: of each study's fastest trial; inf where none reached the target.
        max_steps: five times their median, rounded up to a multiple of 100; inf if there
            is none.
        seconds: of all trials together.

    Example:
        >>> PilotResult((100.0, 200.0, math.inf), 1000.0, 12.0).max_steps
        1000.0
    """

    best_times: tuple[float, ...]
    max_steps: float
    seconds: float


def pilot(
    task: str,
    *,
    edition: Edition,
    max_steps: int,
    store: AnyPath,
    executor: AnyExecutor = None,
) -> PilotResult:
    """Search the baseline for longer than the race will, to see when it gets there.

    Args:
        task: name of the task.
        edition: the rules; its own T_max counts for nothing.
        max_steps: steps of each trial.
        store: folder or URL of the trials.
        executor: where to compute, as for ``lazyrich.sweeps.sweep``.

    Returns:
        Times, and the T_max that follows.

    Raises:
        InputError: if there is no such task, or it is held out.

    Example:
        >>> from lazyrich.race import default_edition
        >>> pilot("division", edition=default_edition(), max_steps=1000, store="pilot")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: division is held out; give a task on which arms are
        tuned.
    """
    edition.require_names((task,), ())
    if edition.task[task].settings_from is not None:
        raise InputError(f"{task} is held out; give a task on which arms are tuned.")
    tree = edition.model_dump()
    tree["task"][task]["max_steps"] = max_steps
    longer, rules = Edition(**tree), edition.rules
    space = longer.search_space(task, rules.baseline)
    trials = [
        longer.trial(task, rules.baseline, settings, seed=_FIRST_SEED + study * 100 + index)
        for study in range(rules.n_studies)
        for index, settings in enumerate(
            sobol_points(space, rules.n_trials, seed=_FIRST_STUDY + study)
        )
    ]
    outcomes = fill(
        trials, store=store, executor=executor, progress=f"pilot {task}", run=run_trials
    )
    times = []
    for trial, outcome in zip(trials, outcomes, strict=True):
        records = {name: record.values for name, record in outcome.records.items()}
        time = target_time(trial, np.asarray(outcome.steps), records) if records else None
        times.append(math.inf if time is None else float(time))
    best = np.array(times).reshape(rules.n_studies, -1).min(1)
    median = float(np.median(best))
    limit = 100 * math.ceil(_FACTOR * median / 100) if math.isfinite(median) else math.inf
    seconds = math.fsum(one.wall_seconds for one in outcomes if math.isfinite(one.wall_seconds))
    return PilotResult(tuple(map(float, best)), limit, seconds)
