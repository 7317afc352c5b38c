"""Which trials there are: searches of each arm, and their best settings with fresh seeds."""

import math
from collections.abc import Sequence

from lazyrich._base import InputError, Json

from ._edition import FRESH_SEED, TUNING_SEED, Edition
from ._rows import Planned, Row
from ._space import sobol_points


def tuning_trials(edition: Edition, task: str, arm: str) -> list[Planned]:
    """The trials of an arm's studies: Sobol points, one seed each.

    Seeds are those of the study and the place in it, the same for every arm; they share
    nothing with the fresh ones.

    Args:
        edition: the rules.
        task: name of the task.
        arm: name of the arm.

    Returns:
        Study after study; none for an arm that is not tuned or a task that is held out.

    Example:
        >>> from lazyrich.race import default_edition
        >>> trials = tuning_trials(default_edition(), "parity", "muon")
        >>> len(trials), trials[-1].study, trials[-1].trial.experiment.seed
        (15, 2, 114)
    """
    if not edition.arm[arm].tuned or edition.task[task].settings_from is not None:
        return []
    rules, space = edition.rules, edition.search_space(task, arm)
    planned = []
    for study in range(rules.n_studies):
        for index, settings in enumerate(sobol_points(space, rules.n_trials, seed=study)):
            seed = TUNING_SEED + study * rules.n_trials + index
            trial = edition.trial(task, arm, settings, seed=seed)
            planned.append(Planned(task, arm, "tuning", study, index, settings, trial))
    return planned


def best_of_studies(rows: Sequence[Row]) -> dict[int, dict[str, Json]]:
    """The settings of each study's fastest trial, by the validation rows alone.

    Where no trial of a study reached the target it is the one with the best validation
    loss at its end: the study still has its share of fresh seeds.

    Args:
        rows: of tuning trials of one arm on one task.

    Returns:
        Settings by study.

    Example:
        >>> rows = [
        ...     {"phase": "tuning", "study": 0, "index": k, "time": time, "settings": {"k": k}}
        ...     for k, time in enumerate([None, 30, 20])
        ... ]
        >>> best_of_studies(rows)
        {0: {'k': 2}}
    """
    studies: dict[int, list[Row]] = {}
    for row in rows:
        if row["phase"] == "tuning":
            studies.setdefault(row["study"], []).append(row)
    return {study: min(studies[study], key=_slowness)["settings"] for study in sorted(studies)}


def _slowness(row: Row) -> tuple[float, float, int]:
    loss = row.get("at_end", {}).get("validation_loss", math.inf)
    return (math.inf if row["time"] is None else float(row["time"]), float(loss), row["index"])


def fresh_trials(edition: Edition, task: str, arm: str, rows: Sequence[Row]) -> list[Planned]:
    """The best settings of each study with fresh seeds, which all arms share.

    Args:
        edition: the rules.
        task: name of the task.
        arm: name of the arm.
        rows: of the arm's tuning trials, on the task whose settings this one takes.

    Returns:
        Study after study; an arm that is not tuned has one.

    Raises:
        InputError: if the tuning trials are not finished.

    Example:
        >>> from lazyrich.race import default_edition
        >>> len(fresh_trials(default_edition(), "parity", "nothing", []))
        10
    """
    rules = edition.rules
    best = best_of_studies(rows) if edition.arm[arm].tuned else {0: {}}
    if edition.arm[arm].tuned and len(best) < rules.n_studies:
        source = edition.task[task].settings_from or task
        raise InputError(
            f"The settings of {arm} on {task} are those found on {source}, where its search is "
            f"not finished; run `lazyrich race --task {source} --arm {arm}` first."
        )
    planned = []
    for study, settings in best.items():
        own = _with_batch_of(edition, task, settings)
        for index in range(rules.n_fresh_seeds):
            trial = edition.trial(task, arm, own, seed=FRESH_SEED + index)
            planned.append(Planned(task, arm, "fresh", study, index, own, trial))
    return planned


def _with_batch_of(edition: Edition, task: str, settings: dict[str, Json]) -> dict[str, Json]:
    """Settings of another task, with the small batch of this one where they have a batch."""
    about = edition.task[task]
    has_small = settings.get("optimizer.batch_size") is not None
    if about.full_batch and (about.settings_from is None or not has_small):
        return settings
    return settings | {"optimizer.batch_size": about.batch_size}
