"""``lazyrich train``: one experiment, watched while it runs, kept, drawn and summed up."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lazyrich._ground import InputError

_MOST_BYTES = 2**24
"""Of a file of settings; an experiment has about two thousand."""


def train(
    experiment: Annotated[
        str,
        Parameter(
            help="A JSON file of an experiment of either kind, or a starting point: polynomial, "
            "modular, teacher, digits, transformer, parity."
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
        Path, Parameter(help="Folder for the dataset, the picture and the checkpoint.")
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
    from lazyrich import training
    from lazyrich._ground import read_changes

    chosen = _read(experiment).changed(read_changes(change or []))
    if show:
        print(chosen.model_dump_json(indent=1))
        return
    from lazyrich.cli._summary import lines_of, summary_of
    from lazyrich.plots import draw_run, write_figure
    from lazyrich.sweeps import encode, outcome_of, to_dataset

    is_exact = isinstance(chosen, training.CommitteeExperiment)
    checkpoint = None if is_exact else out / "checkpoint.npz"
    training.require_memory([chosen])
    _require_same(out / "experiment.json", chosen)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TextColumn("{task.fields[live]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    row: list[Any] = []

    def on_progress(report: training.Progress) -> None:
        if not row:
            bars.start()  # only now: bad input is answered without a bar
            row.append(bars.add_task("train", total=report.n_steps, live=""))
        live = f"{report.steps_per_second:.3g} steps/s"
        for part in ("train", "test"):
            if f"{part}_loss" in report.metrics:
                live += f" · {part} {report.metrics[f'{part}_loss']:.2e}"
        bars.update(row[0], completed=report.n_done, live=live)

    try:
        history = training.train(chosen, progress=on_progress, checkpoint=checkpoint)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped; its state is kept in {checkpoint}, run the same command to go on."
        ) from None
    finally:
        if row:
            bars.stop()
    outcome = outcome_of(history)
    _write(out / "history.nc", encode(outcome))
    pictures = write_figure(draw_run(to_dataset([outcome]), title=_title(chosen)), out, "history")
    summary = summary_of(history)
    if as_json:
        print(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    for line in lines_of(history, summary):
        print(line)
    print(f"{out / 'history.nc'}, {', '.join(str(path) for path in pictures)}")


def _title(chosen: Any) -> str:
    if not hasattr(chosen, "task"):
        return f"committee machine, exact {chosen.dynamics}, α = {chosen.alpha:g}"
    return f"{chosen.task.kind}, {chosen.net.kind}, α = {chosen.scaling.alpha:g}"


def _read(name: str) -> Any:
    from lazyrich import training

    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        return training.starting_point(name)
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        if path.stat().st_size > _MOST_BYTES:
            raise OSError(f"it is larger than {_MOST_BYTES // 2**20} MB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); give a JSON "
            "file, such as one that `lazyrich train polynomial --show` prints."
        ) from error
    return training.experiment_from_json(text)


def _require_same(path: Path, chosen: Any) -> None:
    """Keep the settings beside the results; refuse a folder that holds another experiment."""
    text = chosen.model_dump_json(indent=1) + "\n"
    if path.exists() and _read(str(path)) != chosen:
        raise InputError(
            f"{path.parent} holds another experiment; choose another folder with --out, or go "
            f"on with that one: lazyrich train {path} --out {path.parent}."
        )
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); make room or choose another "
            "folder with --out, then run again: the checkpoint is kept."
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
