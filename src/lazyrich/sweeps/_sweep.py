"""Compute the experiments that are not in a store yet, and return all of them."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import xarray as xr

from lazyrich import training
from lazyrich._base import Config, InputError, shown

from ._dataset import to_dataset
from ._executors import chosen_executor, pickled
from ._failures import is_final
from ._layout import settings_of, short_names
from ._progress import Counts, ProgressReport
from ._scheduler import Driver
from ._worker import Run
from .store._key import canonical_json, class_name, experiment_key, former_keys, numerics_of
from .store._result import FAILED, Facts, Outcome
from .store._store import Store

_log = logging.getLogger("lazyrich.sweeps")


class Submission(NamedTuple):
    """How experiments are handed over.

    Attributes:
        batch_size: most experiments in one call of ``run``. None takes 64 in this
            process, where each is kept as it ends; elsewhere as many as take about five
            seconds, at most 16, because a call that is lost is lost as a whole.
        retry_failed: compute those again that failed before.
        on_kept: called with outcomes by position, while others are still computed: first
            with all that were in the store, then with each as it is kept.

    Example:
        >>> Submission(batch_size=4).retry_failed
        False
    """

    batch_size: int | None = None
    retry_failed: bool = False
    on_kept: Callable[[Mapping[int, Outcome]], object] | None = None


def sweep(
    experiments: Sequence[Config] | object,
    *,
    store: str | os.PathLike[str],
    executor: Executor | str | object = None,
    progress: bool = True,
    run: Run | None = None,
    submission: Submission = Submission(),  # noqa: B008  frozen
) -> xr.Dataset:
    """Experiments as one dataset; only those that the store does not hold are computed.

    Every experiment becomes a file of its own as soon as it is finished, so a sweep that
    is killed resumes when it is called again, and a grid that grows
    computes what is new. An experiment that raises an error, or that kills its worker
    three times, is kept with the status "failed" and its error; the rest goes on. A later
    call computes it again where the cause may be gone: another run function, machine or
    version, a file, module or memory that was missing, input that was refused.

    Args:
        experiments: frozen configs, such as ``grid`` gives.
        store: a folder, or a URL that fsspec opens, such as ``s3://bucket/folder``.
        executor: "serial" (or None), "threads:N", "processes:N", "dask:ADDRESS", or any executor
            of the form of ``concurrent.futures``; only ``submit`` and ``shutdown`` are used.
        progress: show how far it is, on stderr.
        run: computes a list of experiments, its one positional argument, and returns or
            yields a history for each; it must be picklable unless the executor is
            serial. If it has a keyword ``on_finished``, that is called with the position
            and the history of each as it ends. By default ``training.train_many``.
        submission: how many experiments go into a call, and whether failed ones run again.

    Returns:
        Records over a dimension for each setting that differs (named by the last part of
        its path), ``step``, and axes of their own; NaN where there is nothing.
        ``status``, ``wall_seconds`` and ``key`` over the settings; ``error`` if one failed.

    Raises:
        InputError: before anything is computed if two experiments are the same, the store
            is of a future format or cannot be written, the executor is not there, or an
            experiment needs more memory than is free;
            later if the store is full or a worker has another version of lazyrich.
        KeyboardInterrupt: on Ctrl-C, with how to go on.

    Example:
        >>> import numpy as np, tempfile
        >>> from lazyrich._base import Status
        >>> from lazyrich.sweeps import grid
        >>> from lazyrich.training import History, Record
        >>> class Decay(Config):
        ...     rate: float = 1.0
        >>> def decay(experiments):
        ...     steps = np.arange(3)
        ...     for one in experiments:
        ...         loss = Record(np.exp(-one.rate * steps), "label units²")
        ...         yield History(one, steps, {"train_loss": loss}, Status.ok, None, 0.0)
        >>> found = sweep(grid(Decay(), {"rate": [1.0, 2.0]}), store=tempfile.mkdtemp(),
        ...               run=decay, progress=False)
        >>> round(float(found.train_loss.sel(rate=2.0, step=1)), 3)
        0.135
    """
    kept = fill(
        experiments,
        store=store,
        executor=executor,
        progress=progress,
        run=run,
        submission=submission,
    )
    dataset = to_dataset(kept)
    dataset.attrs["store"] = os.fspath(store)
    return dataset


def fill(
    experiments: Sequence[Config] | object,
    *,
    store: str | os.PathLike[str],
    executor: Executor | str | object = None,
    progress: bool | str = True,
    run: Run | None = None,
    submission: Submission = Submission(),  # noqa: B008  frozen
) -> list[Outcome]:
    """What ``sweep`` does, without joining the experiments: those of several grids in one go.

    Args:
        experiments: frozen configs, no two the same.
        store: as for ``sweep``; so are the other arguments.
        executor: where to compute.
        progress: show how far it is, on stderr; a text names the sweep there.
        run: computes a list of experiments.
        submission: how many experiments go into a call, and whether failed ones run again.

    Returns:
        The outcomes, in the order of the experiments.

    Raises:
        InputError: as ``sweep``.
        KeyboardInterrupt: as ``sweep``.

    Example:
        >>> import numpy as np
        >>> from lazyrich._base import Status
        >>> from lazyrich.training import History, Record
        >>> class Walk(Config):
        ...     length: float = 1.0
        >>> def walk(experiments):
        ...     for one in experiments:
        ...         records = {"height": Record(np.array([one.length]))}
        ...         yield History(one, np.array([0]), records, Status.ok, None, 0.0)
        >>> [found] = fill([Walk()], store="memory://fill-example", run=walk, progress=False)
        >>> found.status, found.records["height"].values.tolist()
        ('ok', [1.0])
    """
    asked = _listed(experiments)
    keys = _distinct_keys(asked)
    where = chosen_executor(executor)
    kept = Store(store)
    former = {key: former_keys(one) for key, one in zip(keys, asked, strict=True)}
    kept.scan([*keys, *(name for names in former.values() for name in names)])
    chosen: object = run if run is not None else training.train_many
    hand_over = _handing_over(kept, keys, former, submission)
    counts = Counts(len(keys), began=time.monotonic())
    todo = []
    for key, experiment in zip(keys, asked, strict=True):
        name = _stored_name(kept, key, former[key])
        facts = kept.kept[name].facts if name in kept else None
        if _is_to_do(facts, submission, chosen):
            todo.append((key, experiment))
        elif facts is not None:
            counts.failed += facts["status"] == FAILED
            counts.kept += facts["status"] != FAILED
    if where.shares_memory:
        training.require_memory([experiment for _, experiment in todo])
    if todo:
        kept.require_writable(key for key, _ in todo)
        if not where.is_local:
            pickled((chosen, todo[0][1]))
    # An address is tried even if there is nothing to compute: a wrong one is wrong then too.
    workers = where.workers() if todo or where.is_remote else None
    # Only now, so that no line of progress comes before a refusal.
    name = progress if isinstance(progress, str) else "sweep"
    report = ProgressReport(counts, name=name, is_shown=bool(progress))
    try:
        hand_over(set(keys) - {key for key, _ in todo})
        if workers is not None:
            driver = Driver(kept, workers, chosen, counts, report)
            driver.on_kept = lambda key: hand_over([key])
            driver.compute(todo, submission.batch_size)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(counts, kept.where)) from None
    finally:
        kept.pack()
        report.close()
    names = [_stored_name(kept, key, former[key]) for key in keys]
    outcomes = kept.outcomes(names)
    _report_failures(outcomes, kept.where)
    return [outcomes[name] for name in names if name in outcomes]


def _handing_over(
    kept: Store, keys: Sequence[str], former: Mapping[str, Sequence[str]], submission: Submission
) -> Callable[[Iterable[str]], None]:
    """What passes the outcomes of keys to ``on_kept``, if there is one."""
    positions = {key: position for position, key in enumerate(keys)}

    def hand_over(some: Iterable[str]) -> None:
        if submission.on_kept is None:
            return
        names = {key: _stored_name(kept, key, former[key]) for key in some}
        found = kept.outcomes(names.values())
        submission.on_kept(
            {positions[key]: found[name] for key, name in names.items() if name in found}
        )

    return hand_over


def _is_to_do(facts: Facts | None, submission: Submission, run: Run) -> bool:
    """Whether an experiment of which this is stored, if anything, is to be computed."""
    if facts is None:
        return True
    return facts["status"] == FAILED and (submission.retry_failed or not is_final(facts, run))


def _stopped(counts: Counts, where: str) -> str:
    left = counts.total - counts.done - counts.failed
    kept_where = f"all that are finished are in {where}" if counts.done else "none was finished"
    return (
        f"stopped with {left} of {counts.total} experiments left; {kept_where}, run the same "
        "command to go on."
    )


def _listed(experiments: Sequence[Config] | object) -> list[Config]:
    if isinstance(experiments, Config | str) or not isinstance(experiments, Iterable):
        raise InputError(
            f"The sweep got {type(experiments).__name__} {shown(experiments)}; give a list of "
            "experiments, such as grid makes."
        )
    return list(experiments)


def count_stored(experiments: Sequence[Config], store: str | os.PathLike[str]) -> int:
    """How many of these experiments a store holds, also under a key of another edition.

    Args:
        experiments: frozen configs.
        store: a folder, or a URL that fsspec opens.

    Returns:
        A number from 0 to that of the experiments.

    Example:
        >>> import tempfile
        >>> class Walk(Config):
        ...     length: float = 1.0
        >>> count_stored([Walk()], tempfile.mkdtemp())
        0
    """
    names = [(experiment_key(one), *former_keys(one)) for one in experiments]
    kept = Store(store)
    kept.scan(name for of_one in names for name in of_one)
    return sum(any(name in kept for name in of_one) for of_one in names)


def _stored_name(kept: Store, key: str, former: Sequence[str]) -> str:
    """The key under which an experiment is kept: its own, or one of another edition."""
    return next((name for name in (key, *former) if name in kept), key)


def _distinct_keys(experiments: Sequence[Config]) -> list[str]:
    if not experiments:
        raise InputError("There are no experiments to sweep over; give at least one.")
    strangers = {type(one).__name__ for one in experiments if not isinstance(one, Config)}
    if strangers:
        raise InputError(f"Experiments are frozen configs, but some are {', '.join(strangers)}.")
    keys = [experiment_key(one) for one in experiments]
    repeated = {key for key, n in Counter(keys).items() if n > 1}
    if not repeated:
        return keys
    rows = [_settings(one) for one in experiments]
    differ = [path for path in rows[0] if len({str(row.get(path)) for row in rows}) > 1]
    names = short_names([*rows[0]])
    named = []
    for key in sorted(repeated, key=keys.index)[:5]:
        places = [str(i) for i, other in enumerate(keys) if other == key]
        values = ", ".join(f"{names[path]}={rows[int(places[0])][path]}" for path in differ)
        named.append(f"{' and '.join(places)}{f' ({values})' if values else ''}")
    more = f", and {len(repeated) - 5} more" if len(repeated) > 5 else ""
    raise InputError(
        f"The same experiment stands at the places {'; '.join(named)}{more} of the sweep; give "
        "each once."
    )


def _settings(experiment: Config) -> dict[str, object]:
    return settings_of(
        {
            "experiment": class_name(experiment),
            "config": canonical_json(experiment),
            "numerics": numerics_of(experiment),
        }
    )


def _report_failures(outcomes: dict[str, Outcome], where: str) -> None:
    failed = [one for one in outcomes.values() if one.status == FAILED]
    if failed:
        _log.warning(
            "%d experiments failed; the first: %s. See them with "
            "`lazyrich show %s --where status=failed`, and run them again with --retry-failed.",
            len(failed),
            failed[0].error.splitlines()[0].rstrip("."),
            where,
        )
