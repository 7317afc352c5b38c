"""Controls of the winners: is it only rate × decay, or only the scale of the outputs?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lazyrich._base import InputError

from ._plan import fresh_trials
from ._results import AnyPath, Results
from ._rows import Planned, Row, rate_times_decay
from ._run import AnyExecutor, complete
from ._statistics import Interval, speed_up
from ._summary import ArmSummary, summarize, times_of

CONTROLS = ("same rate × decay", "output scale alone", "kernel")
"""The winner with the baseline's product of rate and decay; the baseline with the winner's
initial output scale; the winner with its kernel recorded, on the first three fresh seeds."""

_N_KERNEL_ROWS, _N_KERNEL_SEEDS = 50, 3


class Control(NamedTuple):
    """What a control of a winner found.

    Attributes:
        name: one of ``CONTROLS``.
        speed_up: against the baseline, as for the arm itself; None for the kernel's.
        kernel_cosine: median cosine of the tangent kernel at the fit with that at the
            start; None for the others.

    Example:
        >>> Control("kernel", None, 0.9).kernel_cosine
        0.9
    """

    name: str
    speed_up: Interval | None
    kernel_cosine: float | None


def winners(found: Mapping[str, ArmSummary]) -> list[str]:
    """Arms that are faster than the baseline by the interval and by the test.

    Args:
        found: the arms of a task.

    Returns:
        Their names.

    Example:
        >>> winners({})
        []
    """
    return [
        arm
        for arm, one in found.items()
        if one.speed_up is not None
        and one.p_value is not None
        and one.speed_up.low > 1
        and one.p_value < 0.05
    ]


def control_trials(results: Results, task: str, arm: str) -> list[Planned]:
    """The control runs of a winner, with the fresh seeds.

    Args:
        results: published rows, of the arm and of the baseline.
        task: name of the task.
        arm: name of the winner.

    Returns:
        Those of each name in ``CONTROLS``.

    Raises:
        InputError: if arm or baseline are not finished.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> control_trials(Results(tempfile.mkdtemp(), default_edition()), "parity", "muon")
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: The controls of muon on parity need fresh runs of it
        and of adamw; run the race first.
    """
    edition = results.edition
    base = edition.rules.baseline
    rows = {name: _fresh(results, task, name) for name in (arm, base)}
    if not all(rows.values()):
        raise InputError(
            f"The controls of {arm} on {task} need fresh runs of it and of {base}; "
            "run the race first."
        )
    product = float(np.median([row["rate_times_decay"] for row in rows[base]]))
    scale = _start(rows[arm]) / _start(rows[base])
    source = edition.task[task].settings_from or task
    planned = []
    for one in fresh_trials(edition, task, arm, results.rows(source, arm)):
        planned.append(_same_product(one, product))
        if one.index < _N_KERNEL_SEEDS:
            seen = one.trial.changed({"n_kernel_rows": _N_KERNEL_ROWS})
            planned.append(one._replace(phase=CONTROLS[2], trial=seen))
    for one in fresh_trials(edition, task, base, results.rows(source, base)):
        changes = {
            "experiment.scaling.alpha": float(f"{scale:.4g}"),
            "experiment.optimizer.learning_rate_rule": "fixed",
        }
        planned.append(one._replace(arm=arm, phase=CONTROLS[1], trial=one.trial.changed(changes)))
    return planned


def run_controls(
    results: Results, *, store: AnyPath, executor: AnyExecutor = None, progress: bool = True
) -> None:
    """Run and publish the controls of every winner, in ``controls/TASK-ARM.json``.

    Args:
        results: published rows; those of the controls are added.
        store: folder or URL of trials on their way.
        executor: where to compute, as for ``lazyrich.sweeps.sweep``.
        progress: show how far it is, on stderr.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> run_controls(Results(tempfile.mkdtemp(), default_edition()), store="unused")
    """
    for task in results.edition.task:
        for arm in winners(summarize(results, task)):
            planned = control_trials(results, task, arm)
            complete(
                results,
                ("controls", f"{task}-{arm}"),
                planned,
                store=store,
                executor=executor,
                progress=f"controls {task} {arm}" if progress else False,
            )


def controls_of(results: Results, task: str, arm: str) -> list[Control]:
    """What the published controls of a winner say.

    Args:
        results: published rows.
        task: name of the task.
        arm: name of the winner.

    Returns:
        One of each name; none if they were not run.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> controls_of(Results(tempfile.mkdtemp(), default_edition()), "parity", "muon")
        []
    """
    rows = results.rows("controls", f"{task}-{arm}")
    base = _fresh(results, task, results.edition.rules.baseline)
    limit = float(results.edition.task[task].max_steps)
    found = []
    for name in CONTROLS:
        some = [row for row in rows if row["phase"] == name]
        cosines = [
            row["at_fit"]["kernel_cosine"]
            for row in some
            if "kernel_cosine" in row.get("at_fit", {})
        ]
        if cosines:
            found.append(Control(name, None, float(np.median(cosines))))
        elif some and name != CONTROLS[2]:
            found.append(Control(name, speed_up(times_of(base), times_of(some), limit), None))
    return found


def _fresh(results: Results, task: str, arm: str) -> list[Row]:
    return [row for row in results.rows(task, arm) if row["phase"] == "fresh"]


def _start(rows: Sequence[Row]) -> float:
    """The median scale of the initial outputs on the training rows."""
    return float(np.median([row["at_start"]["logit_scale"] for row in rows]))


def _same_product(one: Planned, product: float) -> Planned:
    """A trial with the decay at which rate × decay is the product."""
    unit = rate_times_decay(one.trial.changed({"experiment.optimizer.weight_decay": 1.0}))
    assert unit is not None
    decay = float(f"{product / unit:.6g}")
    trial = one.trial.changed({"experiment.optimizer.weight_decay": decay})
    settings = one.settings | {"optimizer.weight_decay": decay}
    return one._replace(phase=CONTROLS[0], settings=settings, trial=trial)
