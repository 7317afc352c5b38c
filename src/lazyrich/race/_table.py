"""The table of a race: a line for each arm on each task, as text."""

import math
from collections.abc import Sequence
from pathlib import Path

from lazyrich._base import Json
from lazyrich.plots import require_figure_place, write_figure

from ._figures import draw_race
from ._results import Results
from ._statistics import Interval
from ._summary import ArmSummary, summarize


def table(results: Results, *, tasks: Sequence[str] = ()) -> list[dict[str, Json]]:
    """What was found, one line for each arm with fresh runs.

    Args:
        results: published rows.
        tasks: names; none are all.

    Returns:
        Columns by name, all text or None, and the best settings of each study.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> table(Results(tempfile.mkdtemp(), default_edition()))
        []
    """
    lines = []
    for task in results.edition.task:
        if tasks and task not in tasks:
            continue
        found = summarize(results, task)
        order = sorted(found.values(), key=lambda one: one.mean_time.value)
        lines += [_line(results, one) for one in order]
    return lines


def _line(results: Results, one: ArmSummary) -> dict[str, Json]:
    limit = float(results.edition.task[one.task].max_steps)
    return {
        "task": one.task,
        "arm": one.arm,
        "reached": _share(one.reached),
        "mean_time": _steps(one.mean_time),
        "speed_up": None if one.speed_up is None else _ratio(one.speed_up),
        "p": None if one.p_value is None else f"{one.p_value:.3f}",
        "best_of_search": _or_more(one.median_best, limit),
        "near_best": None if math.isnan(one.near_best) else f"{one.near_best:.0%}",
        "fit": _or_more(one.fit_time, limit),
        "gradients_a_step": f"{one.gradients_per_step:g}",
        "ms_a_step": f"{1e3 * one.seconds_per_step:.2f}",
        "rate_x_decay": None if one.rate_times_decay is None else f"{one.rate_times_decay:.1e}",
        "test": f"{one.test:.3g}",
        "settings": {str(study): settings for study, settings in one.settings.items()},
    }


def write_figures(results: Results) -> list[Path]:
    """Draw what is published and write the pictures into the results' folder.

    Args:
        results: published rows.

    Returns:
        The files, PNG and PDF of each picture.

    Raises:
        InputError: if there is nothing to draw, or a file is in the way.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> write_figures(Results(tempfile.mkdtemp(), default_edition()))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: No arm has runs with fresh seeds yet; run
        `lazyrich race` first.
    """
    figures = draw_race(results)
    for name in figures:
        require_figure_place(results.folder, name)
    return [
        path
        for name, figure in figures.items()
        for path in write_figure(figure, results.folder, name)
    ]


def _share(share: Interval) -> str:
    return f"{share.value:.0%} ({share.low:.0%}–{share.high:.0%})"


def _steps(steps: Interval) -> str:
    return f"{steps.value:.0f} ({steps.low:.0f}–{steps.high:.0f})"


def _ratio(ratio: Interval) -> str:
    return f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


def _or_more(steps: float, limit: float) -> str | None:
    if math.isnan(steps):
        return None
    return f"{steps:.0f}" if math.isfinite(steps) else f"> {limit:.0f}"
