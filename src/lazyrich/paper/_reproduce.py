"""From a figure's name to a picture, a dataset and verdicts."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xarray as xr

from lazyrich._ground import (
    InputError,
    field_paths,
    grouped,
    nearest_name,
    read_file,
    shown,
    value_text,
)
from lazyrich.plots import find_figure, house_style, write_figure
from lazyrich.sweeps import Outcome
from lazyrich.tasks import ImageTask
from lazyrich.training import Experiment

from ._claims import claims_of
from ._files import CURE, MOST_JSON, require_places, writable_folder, write_json, write_panels
from ._panels import fill_panels, with_changes
from ._provenance import command_line, provenance
from ._recipe import Panel, Panels, Recipe
from ._verdict import Verdict, judge
from .figures import FIGURES

_CLAIMS_FILE = "claims.json"
_PRESETS = ("quick", "paper")
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
    changes: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Reproduction]:
    """Compute figures of the paper, draw them, and judge their claims.

    Writes for each figure FIG.nc (a group for each panel), FIG.png and FIG.pdf, and one
    claims.json. Every finished run is kept in the store and used again, by other figures
    too; a call that was killed goes on where it was. A picture that is there and made
    from the same runs by the same code is left as it is.

    Args:
        figures: names such as "fig1"; "all" stands for every figure.
        preset: "quick" or "paper".
        out: folder for the files.
        store: folder or URL of the runs; None takes ``out/store``.
        executor: as for ``lazyrich.sweeps.sweep``.
        n_seeds: seeds 0 … n − 1; None takes the preset's number.
        changes: settings to change by name, as values or as they are typed, such as
            {"alpha": "4"}, in all runs that have them.
        progress: show how far it is, on stderr.

    Returns:
        One reproduction for each figure, in the order asked for.

    Raises:
        InputError: if a figure, preset or setting is unknown, a setting cannot be run,
            a data set's files are missing, or the folder cannot be written. Nothing is
            computed then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [found] = reproduce(["fig4"], out=Path(folder), n_seeds=1, changes={
        ...         "dim": "5", "width": "20", "n_train": "30", "n_steps": "10", "n_test": "50"})
        >>> found.panels["runs"].sizes["seed"], found.verdicts[0].outcome
        (1, 'undecided')
    """
    names = _known_figures(figures)
    _require_known("preset", preset, _PRESETS)
    if n_seeds is not None and n_seeds < 1:
        raise InputError(f"--seeds is {n_seeds}; ask for at least 1 (3 for a verdict).")
    plans = _plans([FIGURES[name] for name in names], preset, n_seeds, changes or {})
    _require_files(plans)
    folder = writable_folder(out)
    require_places(folder, [recipe.name for recipe, _, _ in plans])
    where = str(folder / "store") if store is None else store
    made = provenance()
    found = []
    for recipe, seeds, panels in plans:
        opened, outcomes = fill_panels(
            panels, store=where, executor=executor, progress=recipe.name if progress else False
        )
        typed = {"command": command_line(recipe.name, preset, len(seeds), changes)}
        found.append(_written(recipe, preset, seeds, opened, outcomes, folder, made | typed))
    return found


def read_verdicts(out: Path = Path("reproduction")) -> dict[str, dict[str, Any]]:
    """The claims file of an earlier ``reproduce``: by figure, with settings and verdicts.

    Args:
        out: the folder that it wrote.

    Returns:
        For each figure a mapping with preset, seeds, settings, provenance, notes and
        claims.

    Raises:
        InputError: if there is no claims file, or it cannot be read.
    """
    path = out / _CLAIMS_FILE
    try:
        content = json.loads(read_file(path, MOST_JSON).decode("utf-8"))
        return {name: content["figures"][name] for name in FIGURES if name in content["figures"]}
    except FileNotFoundError as error:
        raise InputError(
            f"There is no {path}; run `lazyrich reproduce all --out {out}` first."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a claims file that can be read; delete it and reproduce again."
        ) from error


def _known_figures(figures: Sequence[str]) -> list[str]:
    if not figures:
        raise InputError(f"No figure was named; choose from {', '.join(FIGURES)} or all.")
    names: list[str] = []
    for name in figures:
        if name != "all":
            _require_known("figure", name, [*FIGURES, "all"])
        names += list(FIGURES) if name == "all" else [name]
    return list(dict.fromkeys(names))


def _require_known(what: str, name: str, valid: Sequence[str]) -> None:
    if name in valid:
        return
    raise InputError(f"There is no {what} {shown(name)}; {nearest_name(name, valid)}.")


_Plan = tuple[Recipe, tuple[int, ...], Mapping[str, Panel]]


def _plans(
    recipes: Sequence[Recipe], preset: str, n_seeds: int | None, changes: Mapping[str, Any]
) -> list[_Plan]:
    plans: list[_Plan] = []
    unknown = set(changes)
    for recipe in recipes:
        n = recipe.n_seeds[preset] if n_seeds is None else n_seeds
        each = recipe.panels(preset, (0,)).values()
        total = n * sum(len(panel.experiments) for panel in each)
        if total > _MOST_EXPERIMENTS:
            raise InputError(
                f"{recipe.name} with {grouped(n)} seeds is {grouped(total)} experiments; more than "
                f"{grouped(_MOST_EXPERIMENTS)}, ask for fewer with --seeds."
            )
        seeds = tuple(range(n))
        panels, missing = with_changes(recipe.panels(preset, seeds), changes)
        unknown &= missing
        plans.append((_captioned(recipe, changes, missing), seeds, panels))
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
            task.draw(0)


def _captioned(recipe: Recipe, changes: Mapping[str, Any], missing: set[str]) -> Recipe:
    """The recipe with captions that say what was changed."""
    made = [f"{n}={value_text(value)}" for n, value in changes.items() if n not in missing]
    if not made:
        return recipe
    said = f"; changed: {', '.join(made)}"
    captions = {preset: text + said for preset, text in recipe.captions.items()}
    return dataclasses.replace(recipe, captions=captions)


def _written(
    recipe: Recipe,
    preset: str,
    seeds: tuple[int, ...],
    panels: Panels,
    outcomes: Sequence[Outcome],
    folder: Path,
    made: dict[str, str],
) -> Reproduction:
    """Judge a figure, draw it, and write its files."""
    data_file = folder / f"{recipe.name}.nc"
    write_panels(data_file, panels, {"title": f"{recipe.name}: {recipe.statement}"} | made)
    plural = "s" if len(seeds) > 1 else ""
    caption = f"{preset}: {recipe.captions[preset]}; {len(seeds)} seed{plural}"
    drawn_from = _drawn_from(recipe, caption, outcomes)
    pictures = find_figure(folder, recipe.name, drawn_from)
    if not pictures:
        with house_style():
            picture = recipe.draw(panels, caption)
            pictures = write_figure(picture, folder, recipe.name, made_from=drawn_from, cure=CURE)
    measured = recipe.statistics(panels)
    verdicts = tuple(judge(claim, measured[name]) for name, claim in claims_of(recipe.name).items())
    found = Reproduction(
        recipe.name, preset, seeds, panels, (data_file, *pictures), verdicts, _notes(outcomes)
    )
    _write_verdicts(folder, found, recipe.captions[preset], made)
    return found


def _drawn_from(recipe: Recipe, caption: str, outcomes: Sequence[Outcome]) -> str:
    """A digest of all that decides a picture: its runs, its caption, the code that draws."""
    digest = hashlib.sha256(f"{recipe.name} {caption} {matplotlib.__version__}".encode())
    for one in sorted(outcomes, key=lambda one: one.key):
        digest.update(f"{one.key} {one.status}".encode())
    package = Path(__file__).parents[1]
    for path in sorted([*package.glob("plots/*.py"), *package.glob("paper/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _notes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
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
    return tuple(notes)


def _scalars(config: Mapping[str, Any]) -> dict[str, Any]:
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
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _scalars(value)
        elif name in wanted:
            found[name] = value
    return {name: found[name] for name in wanted if name in found}


def _write_verdicts(folder: Path, found: Reproduction, settings: str, made: dict[str, str]) -> None:
    """Put one figure's verdicts into the claims file, beside those already there."""
    path = folder / _CLAIMS_FILE
    try:
        figures = dict(json.loads(path.read_text(encoding="utf-8"))["figures"])
    except (OSError, ValueError, KeyError, TypeError):
        figures = {}
    figures[found.figure] = {
        "preset": found.preset,
        "seeds": list(found.seeds),
        "settings": settings,
        "provenance": made,
        "notes": list(found.notes),
        "claims": [_as_row(verdict) for verdict in found.verdicts],
    }
    write_json(path, {"figures": {name: figures[name] for name in FIGURES if name in figures}})


def _as_row(verdict: Verdict) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "name": claim.name,
        "sentence": claim.sentence,
        "where": claim.where,
        "statistic": claim.statistic,
        "values": [_json_number(value) for value in verdict.values],
        "median": _json_number(verdict.median),
        "interval": [_json_number(value) for value in verdict.interval],
        "threshold": claim.threshold,
        "verdict": verdict.outcome,
    }


def _json_number(value: float) -> float | str:
    """JSON has no infinities: they go in as text."""
    return value if np.isfinite(value) else str(value)
