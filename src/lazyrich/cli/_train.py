"""``lazyrich train``: one experiment, with progress, a stored result, a figure and a summary."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lazyrich._base import (
    InputError,
    only_one_at,
    read_file,
    reason_of,
    require_writable,
    write_file,
)

from ._arguments import LocalPath
from ._environment import loading, require_devices
from ._interrupt import how_to_go_on
from ._output import can_draw, console, say, say_json

if TYPE_CHECKING:
    from lazyrich.training import CommitteeExperiment, Experiment, History

_CURE = "make room, move it away or choose another folder with --out, then run again"
_CURE_AFTER = f"{_CURE}: what is computed is kept in the checkpoint"

_MOST_BYTES = 2**24
"""Of a file of settings; an experiment has about two thousand."""


def train(
    experiment: Annotated[
        str,
        Parameter(
            help="A JSON file of an experiment of either kind, or a preset: polynomial, "
            "modular, teacher, digits, transformer, parity, committee."
        ),
    ],
    /,
    *,
    change: Annotated[
        list[str] | None,
        Parameter(
            "--set",
            negative=(),
            help="Change a setting by its path, or the end of it: --set scaling.alpha=4 "
            "--set seed=1.",
        ),
    ] = None,
    out: Annotated[
        LocalPath, Parameter(help="Folder for the dataset, the picture and the checkpoint.")
    ] = Path("run"),
    show: Annotated[
        bool, Parameter(negative=(), help="Print the experiment as JSON and do nothing more.")
    ] = False,
    as_json: Annotated[
        bool, Parameter("--json", negative=(), help="Print the summary as JSON alone.")
    ] = False,
) -> None:
    """Train one experiment: a dataset, a picture, and what was found.

    Run the same command again to go on where it was stopped.
    """
    with loading():
        from lazyrich._base import read_changes
    chosen = _read(experiment).changed(read_changes(change or []))
    if show:
        say_json(chosen.model_dump(mode="json"))
        return
    with loading():
        from lazyrich.plots import plot_run, write_figure
        from lazyrich.sweeps import EXPERIMENT_FILE, encode, outcome_of, to_dataset

        from ._summary import lines_of, summary_of
    require_devices()
    _require_places(out, chosen)
    history = _watched(chosen, out / "checkpoint.npz")
    outcome = outcome_of(history)
    write_file(out / "history.nc", encode(outcome), kind=EXPERIMENT_FILE, cure=_CURE_AFTER)
    summary = summary_of(history)
    if as_json:
        say_json(summary.to_json())
    else:
        for line in lines_of(history, summary, has_braille=can_draw()):
            say(line)
    figure = plot_run(to_dataset([outcome]), title=_title(chosen))
    pictures = write_figure(figure, out, "history", cure=_CURE_AFTER)
    if not as_json:
        say(f"{out / 'history.nc'}, {', '.join(str(path) for path in pictures)}")


def _require_places(out: Path, chosen: "Experiment | CommitteeExperiment") -> None:
    """Refuse what cannot be computed or written, before anything is."""
    from lazyrich import training
    from lazyrich.plots import require_figure_place
    from lazyrich.sweeps import EXPERIMENT_FILE

    training.require_memory([chosen])
    require_writable(out / "history.nc", kind=EXPERIMENT_FILE, cure=_CURE)
    require_figure_place(out, "history", cure=_CURE)
    with only_one_at(out):  # another process may begin to train there in this moment
        _require_same(out / "experiment.json", chosen)


def _watched(chosen: "Experiment | CommitteeExperiment", checkpoint: Path) -> "History":
    """Train, with a bar on stderr."""
    from lazyrich import training

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps", markup=False),
        TextColumn("{task.fields[live]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
    )
    row: list[TaskID] = []

    def on_progress(report: training.Progress) -> None:
        if not row:
            bars.start()  # only now: bad input is answered without a bar
            row.append(bars.add_task("train", total=report.n_steps, live=""))
        live = f"{report.steps_per_second:.3g} steps/s"
        for part in ("train", "test"):
            if f"{part}_loss" in report.metrics:
                live += f" · {part} {report.metrics[f'{part}_loss']:.2e}"
        bars.update(row[0], completed=report.n_done, live=live)

    how_to_go_on(lambda: _how_to_go_on(checkpoint))
    try:
        return training.train(chosen, progress=on_progress, checkpoint=checkpoint)
    finally:
        if row:
            bars.stop()


def _how_to_go_on(checkpoint: Path | None) -> str:
    """What to say after Ctrl-C: the state is only said to be kept where a file is."""
    if checkpoint is not None and os.path.isfile(checkpoint):
        return f"stopped; its state is kept in {checkpoint}, run the same command to go on."
    return "stopped before there was any state to keep."


def _title(chosen: "Experiment | CommitteeExperiment") -> str:
    from lazyrich.training import CommitteeExperiment

    if isinstance(chosen, CommitteeExperiment):
        return f"committee machine, exact {chosen.dynamics}, α = {chosen.alpha:g}"
    return f"{chosen.task.kind}, {chosen.net.kind}, α = {chosen.scaling.alpha:g}"


def _read(name: str) -> "Experiment | CommitteeExperiment":
    from lazyrich import training

    path = Path(name)
    if path.suffix != ".json" and not os.path.isfile(path):
        return training.preset(name)
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")  # editors may put a BOM
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); give a JSON "
            "file, such as one that `lazyrich train polynomial --show` prints."
        ) from error
    try:
        return training.experiment_from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_same(path: Path, chosen: "Experiment | CommitteeExperiment") -> None:
    """Keep the settings beside the results; refuse a folder that holds another experiment."""
    text = chosen.model_dump_json(indent=1) + "\n"
    try:
        kept = read_file(path, _MOST_BYTES)
    except FileNotFoundError:
        write_file(path, text.encode(), kind=None, cure=_CURE)
        return
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); move it away, or choose another folder "
            "with --out."
        ) from error
    if kept != text.encode() and _read(str(path)) != chosen:
        command = ["lazyrich", "train", str(path), "--out", str(path.parent)]
        raise InputError(
            f"{path.parent} holds another experiment; choose another folder with --out, or go "
            f"on with that one: {shlex.join(command)}."
        )
