"""Runs a race: published trials are kept, stored ones are read, the others are computed."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import jax

from lazyrich._base import only_one_at
from lazyrich.sweeps import experiment_key, fill, require_executor
from lazyrich.training import History, train_many

from ._edition import Edition, default_edition
from ._plan import fresh_trials, tuning_trials
from ._results import Results
from ._rows import Planned, Row, row_of
from ._trial import Trial

AnyPath = str | os.PathLike[str]
AnyExecutor = Executor | str | None


def run_trials(
    trials: Sequence[Trial], *, on_finished: Callable[[int, History], None] | None = None
) -> Iterator[History]:
    """Trials one after another on a CPU, so that the time of each is its own; else batched.

    An accelerator would be idle for most of one small network's step: trials that share a
    program are one batch there, and have no time of their own.

    Args:
        trials: of any arms and tasks.
        on_finished: called with the position and the history of each as it ends.

    Returns:
        Their histories.

    Example:
        >>> list(run_trials([]))
        []
    """
    mode = "loop" if jax.default_backend() == "cpu" else "vmap"
    yield from train_many(trials, mode=mode, on_finished=on_finished)


def race(
    *,
    arms: Sequence[str] = (),
    tasks: Sequence[str] = (),
    edition: Edition | None = None,
    out: AnyPath = "race",
    store: AnyPath | None = None,
    executor: AnyExecutor = None,
    progress: bool = True,
) -> Results:
    """Compare methods at equal tuning budget: search, then fresh seeds, and publish all.

    A task after the other, an arm after the other, those that are held out last. Every
    trial is stored as it ends and published with its arm; published trials
    are not run again, so the same call resumes an interrupted race.

    Args:
        arms: names; none are all.
        tasks: names; none are all.
        edition: rules, tasks, arms and spaces; by default those of the package.
        out: folder of the published results.
        store: folder or URL of trials on their way; by default ``store`` in ``out``.
        executor: where to compute, as for ``lazyrich.sweeps.sweep``.
        progress: show how far it is, on stderr.

    Returns:
        The published results.

    Raises:
        InputError: if an arm, task or executor is unknown, the folder holds results of another
            edition, or a task that is held out has no settings to take.

    Example:
        >>> race(arms=["moun"])
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: 'moun' is not an arm of the race; did you mean muon?
    """
    edition = edition or default_edition()
    edition.require_names(tuple(tasks), tuple(arms))
    require_executor(executor)
    results = Results(out, edition)
    kept = Path(out) / "store" if store is None else store
    run = _Runner(results, kept, executor, progress=progress)
    chosen = [name for name in edition.task if not tasks or name in tasks]
    for task in sorted(chosen, key=lambda name: edition.task[name].settings_from is not None):
        for arm in edition.arm:
            if edition.fits(task, arm) and (not arms or arm in arms):
                run.one_arm(task, arm)
    return results


class _Runner:
    """Completes the published rows of one arm on one task."""

    def __init__(
        self, results: Results, store: AnyPath, executor: AnyExecutor, *, progress: bool
    ) -> None:
        self.results, self.store, self.executor = results, store, executor
        self.progress = progress

    def one_arm(self, task: str, arm: str) -> None:
        """The search, then the fresh seeds."""
        edition = self.results.edition
        self._complete(task, arm, tuning_trials(edition, task, arm))
        source = edition.task[task].settings_from or task
        planned = fresh_trials(edition, task, arm, self.results.rows(source, arm))
        self._complete(task, arm, planned)

    def _complete(self, task: str, arm: str, planned: Sequence[Planned]) -> None:
        phase = planned[0].phase if planned else ""
        complete(
            self.results,
            (task, arm),
            planned,
            store=self.store,
            executor=self.executor,
            progress=f"{task} {arm} {phase}" if self.progress else False,
        )


def complete(
    results: Results,
    place: tuple[str, str],
    planned: Sequence[Planned],
    *,
    store: AnyPath,
    executor: AnyExecutor,
    progress: bool | str,
) -> None:
    """Run the trials that are not published yet, and publish them with those that are."""
    done = {row["key"] for row in results.rows(*place) if row["status"] != "failed"}
    todo = [one for one in planned if one.key not in done]
    if not todo:
        return
    results.record_edition()
    # Two studies may have found the same settings.
    names = [experiment_key(one.trial) for one in todo]
    distinct = {name: one.trial for name, one in zip(names, todo, strict=True)}
    outcomes = fill(
        [*distinct.values()],
        store=store,
        executor=executor,
        progress=progress,
        run=run_trials,
    )
    by_key = {outcome.key: outcome for outcome in outcomes}
    new: list[Row] = [
        row_of(one, by_key[name], results.edition) for name, one in zip(names, todo, strict=True)
    ]
    replaced = {row["key"] for row in new}
    with only_one_at(results.folder):  # another process may have published meanwhile
        others = [row for row in results.rows(*place) if row["key"] not in replaced]
        results.publish(*place, [*others, *new])
