"""From a figure's name to a picture, a dataset and verdicts."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import xarray as xr

from lazyrich._base import (
    InputError,
    field_paths,
    grouped,
    nearest_name,
    shown,
    value_text,
)
from lazyrich.plots import figure_style, find_figure, new_figure, write_figure
from lazyrich.sweeps import Outcome, require_executor
from lazyrich.tasks import ImageTask
from lazyrich.training import Experiment

from ._claims import claims_of
from ._figure_spec import FigureSpec, Panel, Panels
from ._files import CURE, require_places, writable_folder, write_panels
from ._panels import fill_figures, with_changes
from ._provenance import command_line, provenance
from ._results import (
    CLAIMS_FILE,
    PRESETS,
    Result,
    add_result,
    preset_folder,
    require_second_edition,
)
from ._run_statistics import faults_of
from ._value import Value, missing, reason_of
from ._verdict import Verdict, judge
from .figures import FIGURES

_MOST_EXPERIMENTS = 100_000


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What one figure came to.

    Attributes:
        figure: such as "fig1".
        preset: the name of its settings.
        seeds: the seeds that were run.
        panels: everything measured, by panel.
        files: the dataset's file and the pictures.
        verdicts: of each claim of the figure.
        notes: sentences on what went wrong, such as a diverged run.

    Example:
        >>> Reproduction("fig1", "quick", (0,), {}, (), (), ("One run diverged.",)).notes
        ('One run diverged.',)
    """

    figure: str
    preset: str
    seeds: tuple[int, ...]
    panels: Mapping[str, xr.Dataset]
    files: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def reproduce(
    figures: Sequence[str],
    *,
    preset: str = "quick",
    out: Path = Path("reproduction"),
    store: str | None = None,
    executor: Executor | str | None = None,
    n_seeds: int | None = None,
    changes: Mapping[str, object] | None = None,
    progress: bool = False,
) -> list[Reproduction]:
    """Compute figures of the paper, draw them, and judge their claims.

    Writes for each figure FIG.nc (a group for each panel), FIG.png and FIG.pdf, and one
    claims.json for all figures and presets; the files of another preset than "quick" go
    into a folder of its name. Every finished run is kept in the store and used again, by
    other figures too; a call that was killed resumes. A picture that is
    there and made from the same runs by the same code is left as it is. A run that fails
    and a picture that cannot be drawn are named in the notes and cost nothing else.

    Args:
        figures: names such as "fig1"; "all" stands for every figure that has the preset.
        preset: "quick" (wide networks), "paper" (the authors' settings) or "authors"
            (their own draw, one run).
        out: folder for the files.
        store: folder or URL of the runs; None takes ``out/store``.
        executor: as for ``lazyrich.sweeps.sweep``; None takes "threads:2", on a GPU "serial".
        n_seeds: seeds 0 … n − 1; None takes the preset's number.
        changes: settings to change by name, as values or as they are typed, such as
            {"alpha": "4"}, in all runs that have them.
        progress: show how far it is, on stderr.

    Returns:
        One reproduction for each figure, in the order asked for.

    Raises:
        InputError: if a figure, preset or setting is unknown, a figure does not have the
            preset, a setting cannot be run, a data set's files are missing, or the folder
            cannot be written or holds results of the first edition. Nothing is computed
            then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [found] = reproduce(["fig4"], out=Path(folder), n_seeds=1, changes={
        ...         "dim": "5", "width": "20", "n_train": "30", "n_steps": "10", "n_test": "50"})
        >>> found.panels["runs"].sizes["seed"], found.verdicts[0].outcome
        (1, 'undecided')
    """
    _require_known("preset", preset, list(PRESETS))
    names = _known_figures(figures, preset)
    if n_seeds is not None and n_seeds < 1:
        raise InputError(f"--seeds is {n_seeds}; ask for at least 1 (3 for a verdict).")
    plans = _plans([FIGURES[name] for name in names], preset, n_seeds, changes or {})
    _require_files(plans)
    if executor is not None:
        require_executor(executor)
    require_second_edition(out)
    folder = writable_folder(out)
    figures = [spec.name for spec, _, _ in plans]
    require_places(preset_folder(folder, preset), figures, folder / CLAIMS_FILE)
    where = str(folder / "store") if store is None else store
    made = provenance()
    found: dict[int, Reproduction] = {}

    def write(position: int, opened: Panels, outcomes: Sequence[Outcome]) -> None:
        spec, seeds, _ = plans[position]
        typed = {"command": command_line(spec.name, preset, len(seeds), changes)}
        call = _Call(preset, seeds, folder, made | typed)
        found[position] = _written(spec, call, opened, outcomes)

    name = figures[0] if len(figures) == 1 else f"{len(figures)} figures"
    fill_figures(
        [panels for _, _, panels in plans],
        write,
        store=where,
        executor=executor,
        progress=name if progress else False,
    )
    return [found[position] for position in range(len(plans))]


def _known_figures(figures: Sequence[str], preset: str) -> list[str]:
    if not figures:
        raise InputError(f"No figure was named; choose from {', '.join(FIGURES)} or all.")
    names: list[str] = []
    for name in figures:
        if name == "all":
            names += [one for one, spec in FIGURES.items() if preset in spec.n_seeds]
            continue
        _require_known("figure", name, [*FIGURES, "all"])
        if preset not in FIGURES[name].n_seeds:
            has = " and ".join(FIGURES[name].n_seeds)
            raise InputError(f"{name} has no preset {preset}; it has {has}.")
        names.append(name)
    return list(dict.fromkeys(names))


def _require_known(what: str, name: str, valid: Sequence[str]) -> None:
    if name in valid:
        return
    near = nearest_name(name, valid)
    raise InputError(f"There is no {what} {shown(name)}; {near}{'' if near.endswith('?') else '.'}")


_Plan = tuple[FigureSpec, tuple[int, ...], Mapping[str, Panel]]


def _plans(
    specs: Sequence[FigureSpec], preset: str, n_seeds: int | None, changes: Mapping[str, object]
) -> list[_Plan]:
    plans: list[_Plan] = []
    unknown = set(changes)
    for spec in specs:
        n = spec.n_seeds[preset] if n_seeds is None else n_seeds
        each = spec.panels(preset, (0,)).values()
        total = n * sum(len(panel.experiments) for panel in each)
        if total > _MOST_EXPERIMENTS:
            raise InputError(
                f"{spec.name} with {grouped(n)} seeds is {grouped(total)} experiments; more than "
                f"{grouped(_MOST_EXPERIMENTS)}, ask for fewer with --seeds."
            )
        seeds = tuple(range(n))
        panels, missing = with_changes(spec.panels(preset, seeds), changes)
        unknown &= missing
        plans.append((_captioned(spec, changes, missing), seeds, panels))
    for name in sorted(unknown):
        experiments = [
            one for _, _, panels in plans for p in panels.values() for one in p.experiments
        ]
        known = {
            field
            for one in experiments[:: max(1, len(experiments) // 50)]
            for field in field_paths(one.model_dump(mode="json"))
        }
        _require_known("setting", name, sorted(known))
    return plans


def _require_files(plans: Sequence[_Plan]) -> None:
    """Refuse before anything is computed where a data set is not there."""
    tasks = {
        one.task
        for _, _, panels in plans
        for panel in panels.values()
        for one in panel.experiments
        if isinstance(one, Experiment) and isinstance(one.task, ImageTask)
    }
    for task in tasks:
        if task.source == "mnist":
            task.sample(0)


def _captioned(spec: FigureSpec, changes: Mapping[str, object], missing: set[str]) -> FigureSpec:
    """The spec with captions that say what was changed."""
    made = [f"{n}={value_text(value)}" for n, value in changes.items() if n not in missing]
    if not made:
        return spec
    said = f"; changed: {', '.join(made)}"
    captions = {preset: text + said for preset, text in spec.captions.items()}
    return dataclasses.replace(spec, captions=captions)


class _Call(NamedTuple):
    """What was asked of a figure, where its files go, and how they were made."""

    preset: str
    seeds: tuple[int, ...]
    out: Path
    made: dict[str, str]


def _written(
    spec: FigureSpec, call: _Call, panels: Panels, outcomes: Sequence[Outcome]
) -> Reproduction:
    """Write a figure's data, judge it, write the verdicts, and only then plot."""
    preset, seeds, out, made = call
    folder = writable_folder(preset_folder(out, preset))
    data_file = folder / f"{spec.name}.nc"
    write_panels(data_file, panels, {"title": f"{spec.name}: {spec.statement}"} | made)
    verdicts, faults = _judged(spec, panels, seeds, is_one_draw=preset == "authors")
    notes = (*_notes(outcomes), *faults)

    def keep() -> str:
        result = Result(seeds, spec.captions[preset], made, notes, verdicts)
        return add_result(out, spec.name, preset, result)

    set_aside = keep()
    plural = "s" if len(seeds) > 1 else ""
    caption = f"{preset}: {spec.captions[preset]}; {len(seeds)} seed{plural}"
    pictures, fault = _drawn(spec, panels, caption, folder, _drawn_from(spec, caption, outcomes))
    if set_aside or fault:
        notes += tuple(filter(None, (set_aside, fault)))
        keep()
    return Reproduction(spec.name, preset, seeds, panels, (data_file, *pictures), verdicts, notes)


def _judged(
    spec: FigureSpec, panels: Panels, seeds: Sequence[int], *, is_one_draw: bool
) -> tuple[tuple[Verdict, ...], list[str]]:
    """A verdict on every claim; a statistic that cannot be computed is NaN in every seed."""
    try:
        found, faults = dict(spec.statistics(panels)), []
    except Exception as error:  # whatever it is, the other figures of the call go on
        said = _said(error)
        found, faults = {}, [f"The statistics of {spec.name} could not be computed ({said})."]
    verdicts = []
    for name, claim in claims_of(spec.name).items():
        values = found.get(name, [math.nan] * len(seeds))
        # A panel with fewer seeds has the first ones.
        numbers = [v if isinstance(v, Value) else float(v) for v in values]
        explained = [_explained(v, panels, seeds[k]) for k, v in enumerate(numbers)]
        verdicts.append(judge(claim, explained, is_one_draw=is_one_draw))
    return tuple(verdicts), faults


def _explained(value: float, panels: Panels, seed: int) -> float:
    """A value; where it is NaN without a reason, with what became of the seed's runs."""
    if not math.isnan(value) or reason_of(value):
        return value
    faults = [fault for panel in panels.values() for fault in faults_of(panel, seed)]
    return missing(" or ".join(dict.fromkeys(faults)) or "could not be measured")


def _drawn(
    spec: FigureSpec, panels: Panels, caption: str, folder: Path, made_from: str
) -> tuple[list[Path], str]:
    """The pictures, and what went wrong; where drawing fails a page that says so."""
    pictures = find_figure(folder, spec.name, made_from)
    if pictures:
        return pictures, ""
    fault = ""
    with figure_style():
        try:
            pictures = write_figure(
                spec.plot(panels, caption), folder, spec.name, made_from=made_from, cure=CURE
            )
        except InputError:
            raise
        except Exception as error:  # the verdicts stand without it
            fault = f"The picture of {spec.name} could not be drawn ({_said(error)})."
            if isinstance(error, KeyError) and (name := re.search(r"'(\w+)'", str(error))):
                fault = f"The picture of {spec.name} shows {name[1]}, of which there is no record."
            figure, [axes] = new_figure(1, 1)
            axes.axis("off")
            axes.text(0.5, 0.5, fault, ha="center", va="center", wrap=True, parse_math=False)
            pictures = write_figure(figure, folder, spec.name, cure=CURE)
    return pictures, fault


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text:.200}" if text else type(error).__name__


def _drawn_from(spec: FigureSpec, caption: str, outcomes: Sequence[Outcome]) -> str:
    """A digest of all that decides a picture: its runs, its caption, the code that draws."""
    digest = hashlib.sha256(f"{spec.name} {caption} {matplotlib.__version__}".encode())
    for one in sorted(outcomes, key=lambda one: one.key):
        digest.update(f"{one.key} {one.status}".encode())
    package = Path(__file__).parents[1]
    for path in sorted([*package.glob("plots/*.py"), *package.glob("paper/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_MOST_NOTES = 6


def _notes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """A sentence on each run that went wrong, and how many more there are than can be read."""
    notes = []
    for one in outcomes:
        if one.status in ("ok", "out_of_steps"):
            continue
        config = json.loads(one.config)
        said = ", ".join(f"{name}={value}" for name, value in _scalars(config).items())
        if one.status == "diverged":
            loss = one.records["train_loss"].values
            last = int(one.steps[max(0, int(np.argmin(np.isfinite(loss))) - 1)])
            notes.append(
                f"A run diverged after step {last} ({said}); the curve up to there is kept, lower "
                "the learning rate for the rest."
            )
        else:
            notes.append(f"A run failed ({said}): {one.error.splitlines()[0]}")
    more = len(notes) - _MOST_NOTES
    return (*notes[:_MOST_NOTES], *([f"{more} more runs went wrong."] if more > 0 else []))


def _scalars(config: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell one run of a figure from another, by their last name."""
    wanted = (
        "alpha",
        "epsilon",
        "learning_rate",
        "weight_scale",
        "weight_decay",
        "n_train",
        "seed",
    )
    found: dict[str, object] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _scalars(value)
        elif name in wanted:
            found[name] = value
    return {name: found[name] for name in wanted if name in found}
