"""Train one experiment, or many at once, of either kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lazyrich._ground import Config, InputError, read_json, shown

from ._committee import CommitteeExperiment, train_committee
from ._engine import Measure
from ._experiment import Experiment
from ._history import History
from ._lane import Measures, Run
from ._memory import require_memory
from ._metrics import checked_metrics
from ._modes import Mode
from ._starting_points import STARTING_POINTS
from ._train import Job, Log, OnProgress, Progress, scalars


def train(
    experiment: Experiment | CommitteeExperiment | Any,
    *,
    progress: OnProgress | None = None,
    log: Log | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    probes: Mapping[str, Measure] | Any = None,
) -> History:
    """Train one experiment and measure it on the way.

    Args:
        experiment: what to do; one of the committee machine alone is computed exactly.
        progress: called every second or so with a ``Progress``.
        log: called at every save point as ``log(metrics, step)`` with the scalar records,
            such as ``mlflow.log_metrics`` or ``wandb.log``.
        checkpoint: file to keep the state in. If it is there, the run goes on from it,
            exactly as if it had not been interrupted. It stays when the run is done; the
            same call then returns the history without computing it again. Exact runs
            keep none.
        checkpoint_seconds: least time between two checkpoints; Ctrl-C writes one too.
        probes: measurements of one's own by name: pure functions of a ``Snapshot`` that
            return one array. Pass the same functions again to reuse a compilation. The
            name of a built-in record is refused.

    Returns:
        The history.

    Raises:
        InputError: if the task cannot be drawn (missing files), the net does not fit the
            task, it needs more memory than is free, a probe has a name that is taken, or
            the checkpoint is of another experiment or no file. A damaged checkpoint is set
            aside with a warning, and the run starts afresh.
        KeyboardInterrupt: on Ctrl-C, after the state has been kept.

    Example:
        >>> from lazyrich.nets import CommitteeNet
        >>> from lazyrich.tasks import PolynomialTask
        >>> from lazyrich.training import GradientDescent
        >>> history = train(Experiment(
        ...     task=PolynomialTask(dim=5, n_train=40, n_test=100),
        ...     net=CommitteeNet(width=50, epsilon=0.5),
        ...     optimizer=GradientDescent(learning_rate=20.0),
        ...     n_steps=1000,
        ... ))
        >>> history.status.name, bool(history.train_loss[-1] < 1e-3 * history.train_loss[0])
        ('ok', True)
    """
    _require_experiments([experiment], "train")
    measures = checked_metrics(probes)
    if isinstance(experiment, CommitteeExperiment):
        return _exact(experiment, progress, log, checkpoint, measures)
    require_memory([experiment])

    def on_save(run: Run) -> None:
        if log is not None:
            log(scalars(run), run.steps[-1])

    path = None if checkpoint is None else Path(checkpoint)
    job = Job([experiment], [path], measures, progress, checkpoint_seconds, on_save=on_save)
    return job.histories("loop")[0]


def train_many(
    experiments: Iterable[Experiment | CommitteeExperiment] | Any,
    *,
    mode: Mode = "auto",
    progress: OnProgress | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    on_finished: Callable[[int, History], None] | None = None,
    probes: Mapping[str, Measure] | Any = None,
) -> list[History]:
    """Train many experiments; those that differ in numbers alone share one compilation.

    Seeds, α, ε, σ, label scale, learning rate and weight decay may differ within a batch.
    A run that diverges or is solved does not disturb the others. Alone or in a batch a run
    gives the same numbers up to rounding, and exactly the same in modes "loop" and
    "threads".

    Args:
        experiments: in any order and mixture, also of both kinds.
        mode: how to compute runs that share a compilation; "auto" measures. See ``Mode``.
        progress: called every second or so with a ``Progress``.
        checkpoints: folder for checkpoints; file ``k.npz`` belongs to the k-th experiment.
            Exact runs keep none.
        checkpoint_seconds: least time between two checkpoints.
        on_finished: called with the position and the history of each run as it ends.
        probes: as for ``train``.

    Returns:
        Histories in the order of the experiments.

    Raises:
        InputError: as for ``train``; or if the mode is unknown.

    Example:
        >>> from lazyrich.nets import CommitteeNet
        >>> from lazyrich.tasks import PolynomialTask
        >>> from lazyrich.training import GradientDescent
        >>> base = Experiment(
        ...     task=PolynomialTask(dim=5, n_train=20, n_test=50),
        ...     net=CommitteeNet(width=20, epsilon=0.5),
        ...     optimizer=GradientDescent(learning_rate=5.0),
        ...     n_steps=50,
        ... )
        >>> lazy, rich = train_many([base.changed({"scaling.alpha": a}) for a in (10.0, 0.1)])
        >>> moved = [run.records["parameter_change"].values[-1] for run in (lazy, rich)]
        >>> bool(moved[0] < moved[1])
        True
    """
    if isinstance(experiments, Config | str) or not isinstance(experiments, Iterable):
        raise InputError(
            f"train_many got {type(experiments).__name__} {shown(experiments)}; give a list of "
            "experiments, or use train for one."
        )
    asked = list(experiments)
    _require_experiments(asked, "train_many")
    if mode not in ("auto", "loop", "threads", "vmap", "shard"):
        raise InputError(f"mode is {mode!r}; choose auto, loop, threads, vmap or shard.")
    measures = checked_metrics(probes)
    if measures and any(isinstance(one, CommitteeExperiment) for one in asked):
        raise InputError(_NO_METRICS)
    require_memory(asked)
    found: dict[int, History] = {}

    def kept(places: Sequence[int]) -> Callable[[int, History], None]:
        def keep(k: int, history: History) -> None:
            found[places[k]] = history
            if on_finished is not None:
                on_finished(places[k], history)

        return keep

    exact = {k: one for k, one in enumerate(asked) if isinstance(one, CommitteeExperiment)}
    stepped = {k: one for k, one in enumerate(asked) if isinstance(one, Experiment)}
    if exact:
        train_committee([*exact.values()], on_finished=kept([*exact]))
    if stepped:
        folder = None if checkpoints is None else Path(checkpoints)
        paths = [folder / f"{k}.npz" if folder else None for k in stepped]
        told = kept([*stepped])
        runs, seconds = [*stepped.values()], checkpoint_seconds
        Job(runs, paths, measures, progress, seconds, on_finished=told).histories(mode)
    return [found[k] for k in range(len(asked))]


_NO_METRICS = (
    "Metrics of one's own are measured on a Snapshot of a stepwise run, which a "
    "CommitteeExperiment has not; leave probes out, or train an Experiment."
)


def _exact(
    experiment: CommitteeExperiment,
    progress: OnProgress | None,
    log: Log | None,
    checkpoint: Path | str | None,
    measures: Measures,
) -> History:
    """One run of the exact dynamics, of which the listeners hear when it is done."""
    if measures:
        raise InputError(_NO_METRICS)
    if checkpoint is not None:
        raise InputError(
            "A CommitteeExperiment keeps no checkpoint, for it is computed in one piece; leave "
            "checkpoint out, or keep the history in a sweep's store."
        )
    [history] = train_committee([experiment])
    plain = {name: one.values for name, one in history.records.items() if one.values.ndim == 1}
    seen = [
        {name: float(values[k]) for name, values in plain.items()}
        for k in range(len(history.steps))
    ]
    if log is not None:
        for step, metrics in zip(history.steps.tolist(), seen, strict=True):
            log(metrics, step)
    if progress is not None:
        n_steps = int(history.steps[-1])
        pace = n_steps / max(history.wall_seconds, 1e-9)
        progress(Progress(n_steps, n_steps, pace, 0.0, seen[-1]))
    return history


def _require_experiments(given: Sequence[Any], function: str) -> None:
    for one in given:
        if isinstance(one, Experiment | CommitteeExperiment):
            continue
        hint = "give an Experiment or a CommitteeExperiment"
        if isinstance(one, str) and one in STARTING_POINTS:
            hint = f'give starting_point("{one}")'
        elif isinstance(one, list | tuple) and function == "train":
            hint = "give one experiment, or use train_many"
        raise InputError(f"{function} got {type(one).__name__} {shown(one)}; {hint}.")


def experiment_from_json(text: str) -> Experiment | CommitteeExperiment:
    """An experiment of either kind, from JSON that ``model_dump_json`` wrote or a person typed.

    What has a task, a net or an optimizer is an ``Experiment``; settings of the committee
    machine alone are a ``CommitteeExperiment``.

    Raises:
        InputError: if the text is not JSON, or not such an experiment.

    Example:
        >>> text = '{"dim": 5, "width": 20, "n_train": 30, "n_steps": 10}'
        >>> type(experiment_from_json(text)).__name__
        'CommitteeExperiment'
    """
    tree = read_json(text)
    is_exact = isinstance(tree, dict) and "width" in tree and "net" not in tree
    return (CommitteeExperiment if is_exact else Experiment).from_json(text)
