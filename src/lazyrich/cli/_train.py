"""``lazyrich train``: one experiment, watched while it runs, kept, drawn and summed up."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ._environment import loading, require_devices
from ._interrupt import how_to_go_on
from ._output import can_draw, console, say, say_json


def train(
    experiment: Annotated[
        str,
        Parameter(
            help="A JSON file, or a starting point: polynomial, modular, teacher, digits, "
            "transformer, parity."
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
    with loading():
        from lazyrich import training
    chosen = _read(experiment).changed(dict(_name_and_value(text) for text in change or []))
    if show:
        say_json(chosen.model_dump(mode="json"))
        return
    with loading():
        from lazyrich.cli._summary import lines_of, summary_of
        from lazyrich.plots import draw_run, write_figure
        from lazyrich.sweeps import encode, outcome_of, to_dataset
    require_devices()

    checkpoint = out / "checkpoint.npz"
    _require_same(out / "experiment.json", chosen)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps", markup=False),
        TextColumn("{task.fields[live]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
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

    how_to_go_on(lambda: _how_to_go_on(checkpoint))
    try:
        history = training.train(chosen, progress=on_progress, checkpoint=checkpoint)
    finally:
        if row:
            bars.stop()
    outcome = outcome_of(history)
    _write(out / "history.nc", encode(outcome))
    title = f"{chosen.task.kind}, {chosen.net.kind}, α = {chosen.scaling.alpha:g}"
    pictures = write_figure(draw_run(to_dataset([outcome]), title=title), out, "history")
    summary = summary_of(history)
    if as_json:
        say_json(summary)
        return
    for line in lines_of(history, summary, has_braille=can_draw()):
        say(line)
    say(f"{out / 'history.nc'}, {', '.join(str(path) for path in pictures)}")


def _how_to_go_on(checkpoint: Path) -> str:
    """What to say after Ctrl-C: the state is only said to be kept where a file is."""
    if checkpoint.is_file():
        return f"stopped; its state is kept in {checkpoint}, run the same command to go on."
    return "stopped before there was any state to keep."


def _read(name: str) -> Any:
    from lazyrich import training
    from lazyrich._ground import InputError

    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        return training.starting_point(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); give a JSON "
            "file, such as one that `lazyrich train polynomial --show` prints."
        ) from error
    return training.Experiment.from_json(text)


def _require_same(path: Path, chosen: Any) -> None:
    """Keep the settings beside the results; refuse a folder that holds another experiment."""
    from lazyrich._ground import InputError

    text = chosen.model_dump_json(indent=1) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(
            f"{path.parent} holds another experiment; choose another folder with --out, or go "
            f"on with that one: lazyrich train {path} --out {path.parent}."
        )
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    from lazyrich._ground import InputError

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


def _name_and_value(text: str) -> tuple[str, Any]:
    from lazyrich._ground import InputError

    name, equals, given = text.partition("=")
    if not (name and equals and given):
        raise InputError(f"--set got {text!r}; write it as NAME=VALUE, such as alpha=4.")
    for read in (json.loads, float):
        try:
            return name, read(given)
        except ValueError:
            continue
    return name, given
