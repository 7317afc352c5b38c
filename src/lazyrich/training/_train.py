"""Train one simulation, or many at once, of any kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lazyrich._base import Config, InputError, read_json, shown

from ._batch import Metric
from ._committee import CommitteeExperiment
from ._dispatch import MODES, Mode
from ._experiment import Experiment
from ._history import History
from ._job import Job
from ._memory import require_memory
from ._presets import PRESETS
from ._progress import Listeners, Log, OnProgress
from ._record_names import checked_metrics
from ._simulation import Simulation


def train(
    experiment: Simulation,
    *,
    progress: OnProgress | None = None,
    log: Log | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    metrics: Mapping[str, Metric] | None = None,
) -> History:
    """Train one experiment and measure it on the way.

    Args:
        experiment: an ``Experiment``, a ``CommitteeExperiment``, which is computed by its
            exact dynamics, or any other ``Simulation``.
        progress: called every second or so with a ``Progress``.
        log: called at every evaluation step as ``log(metrics, step)`` with the scalar records,
            such as ``mlflow.log_metrics`` or ``wandb.log``.
        checkpoint: file to keep the state in. If it is there, the run goes on from it,
            exactly as if it had not been interrupted. It stays when the run is done; the
            same call then returns the history without computing it again.
        checkpoint_seconds: least time between two checkpoints; Ctrl-C writes one too.
        metrics: user-defined metrics by name: pure functions of a ``Snapshot`` (of a
            ``CommitteeSnapshot``, for a ``CommitteeExperiment``) that return one array.
            Pass the same functions again to reuse a compilation. The name of a built-in
            record is refused.

    Returns:
        The history.

    Raises:
        InputError: if the task cannot be sampled (missing files), it needs more memory than
            is free, a metric has a name that is taken, or the checkpoint is of another
            experiment or no file. A damaged checkpoint is set aside with a warning, and the
            run starts afresh.
        KeyboardInterrupt: on Ctrl-C, after the state has been kept.

    Example:
        >>> from lazyrich.models import CommitteeNet
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
    _require_simulations([experiment], "train")
    require_memory([experiment])
    job = Job(
        [experiment],
        [None if checkpoint is None else Path(checkpoint)],
        checked_metrics(metrics),
        checkpoint_seconds=checkpoint_seconds,
        listeners=Listeners(progress=progress, log=log),
    )
    return job.run("loop")[0]


def train_many(
    experiments: Iterable[Simulation] | object,
    *,
    mode: Mode = "auto",
    progress: OnProgress | None = None,
    checkpoints: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    on_finished: Callable[[int, History], None] | None = None,
    metrics: Mapping[str, Metric] | None = None,
) -> list[History]:
    """Train many experiments; those that differ in numbers alone share one compilation.

    Seeds, α, ε, σ, label scale, learning rate and weight decay may differ within a batch.
    A run that diverges or is solved does not disturb the others. Alone or in a batch a run
    gives the same numbers up to rounding, and exactly the same in modes "loop" and
    "threads".

    Args:
        experiments: in any order and mixture, also of several kinds.
        mode: how to compute runs that share a compilation; "auto" measures. See ``Mode``.
        progress: called every second or so with a ``Progress``.
        checkpoints: folder for checkpoints; file ``k.npz`` belongs to the k-th experiment.
        checkpoint_seconds: least time between two checkpoints.
        on_finished: called with the position and the history of each run as it ends.
        metrics: as for ``train``.

    Returns:
        Histories in the order of the experiments.

    Raises:
        InputError: as for ``train``; or if the mode is unknown.

    Example:
        >>> from lazyrich.models import CommitteeNet
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
    _require_simulations(asked, "train_many")
    if mode not in MODES:
        raise InputError(f"mode is {mode!r}; choose auto, loop, threads, vmap or shard.")
    require_memory(asked)
    folder = None if checkpoints is None else Path(checkpoints)
    job = Job(
        asked,
        [folder / f"{k}.npz" if folder else None for k in range(len(asked))],
        checked_metrics(metrics),
        checkpoint_seconds=checkpoint_seconds,
        listeners=Listeners(progress=progress, on_finished=on_finished),
    )
    return job.run(mode)


def train_committee(
    experiments: Sequence[CommitteeExperiment | object],
    *,
    on_finished: Callable[[int, History], None] | None = None,
) -> list[History]:
    """``train_many`` of committee machines alone.

    Args:
        experiments: in any order and mixture.
        on_finished: called with the position and the history of each run as it ends.

    Returns:
        Histories in the order of the experiments; ``params`` holds the last w̄ and M.

    Raises:
        InputError: as for ``train_many``, or if one is of another kind.

    Example:
        >>> from lazyrich.training import CommitteeExperiment, train_committee
        >>> [found] = train_committee([CommitteeExperiment(
        ...     dim=5, width=50, n_train=40, epsilon=0.5, n_steps=1000, n_test=50)])
        >>> bool(found.train_loss[-1] < 0.01 * found.train_loss[0])
        True

    References:
        Kumar et al. (2024), §5; the closure is derived in docs/theory.md.
    """
    for one in experiments:
        if not isinstance(one, CommitteeExperiment):
            raise InputError(
                f"train_committee got {type(one).__name__} {shown(one)}; give "
                "CommitteeExperiments, or use train_many for others."
            )
    return train_many(experiments, on_finished=on_finished)


def _require_simulations(given: Sequence[object], function: str) -> None:
    for one in given:
        if isinstance(one, Simulation):
            continue
        hint = "give an Experiment or a CommitteeExperiment"
        if isinstance(one, str) and one in PRESETS:
            hint = f'give preset("{one}")'
        elif isinstance(one, list | tuple) and function == "train":
            hint = "give one experiment, or use train_many"
        raise InputError(f"{function} got {type(one).__name__} {shown(one)}; {hint}.")


def experiment_from_json(text: str) -> Experiment | CommitteeExperiment:
    """An experiment of either kind, from JSON that ``model_dump_json`` wrote or a user wrote.

    What has a task, a net or an optimizer is an ``Experiment``; settings of the committee
    machine alone are a ``CommitteeExperiment``.

    Args:
        text: a JSON object.

    Returns:
        The experiment.

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
