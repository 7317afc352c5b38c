"""From a figure's name to a picture, a dataset and verdicts."""

import dataclasses
import difflib
import hashlib
import json
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._ground import InputError, Status
from lazyrich.plots import house_style, write_figure

from . import figures as _figures
from ._claims_table import CLAIMS, claims_of
from ._committee_run import CommitteeSettings
from ._files import read_dataset, writable_folder, write_dataset, write_json
from ._provenance import provenance
from ._recipe import Preset, Recipe
from ._verdict import Verdict, judge

FIGURES: dict[str, Recipe] = {recipe.name: recipe for recipe in (_figures.FIG1, _figures.FIG4)}
"""Every figure that can be reproduced, by name."""

# Changing what a run computes or records changes this, and with it every stored seed's key.
NUMERICS_VERSION = 1
_CLAIMS_FILE = "claims.json"


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What one figure came to.

    Attributes:
        figure: such as "fig1".
        preset: the name of its settings.
        settings: the settings themselves, with what the caller changed.
        seeds: the seeds that were run.
        dataset: everything measured, over ``seed`` and ``step``.
        files: the dataset's file and the pictures.
        verdicts: of each claim of the figure.
        notes: sentences on what went wrong, such as a diverged seed.
    """

    figure: str
    preset: str
    settings: CommitteeSettings
    seeds: tuple[int, ...]
    dataset: xr.Dataset
    files: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def reproduce(
    figures: Sequence[str],
    *,
    preset: str = "quick",
    out: Path = Path("reproduction"),
    n_seeds: int | None = None,
    changes: Mapping[str, str] | None = None,
    on_record: Callable[[str, int, int], None] = lambda figure, done, total: None,
) -> list[Reproduction]:
    """Compute figures of the paper, draw them, and judge their claims.

    Writes for each figure FIG.nc (opens with xarray), FIG.png and FIG.pdf, and one
    claims.json. Each finished seed is kept under ``out/seeds`` and used again by a
    later call with the same settings; seeds run side by side on the processor's cores.

    Args:
        figures: names such as "fig1"; "all" stands for every figure.
        preset: "quick" or "paper".
        out: folder for the files.
        n_seeds: seeds 0 … n − 1; None takes the preset's number.
        changes: settings to change, as text by name, such as {"alpha": "4"}.
        on_record: called with the figure, records done and records in all.

    Returns:
        One reproduction for each figure, in the order asked for.

    Raises:
        InputError: if a figure, preset or setting is unknown, a setting cannot be run,
            or the folder cannot be written. Nothing is computed then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [found] = reproduce(["fig4"], out=Path(folder), n_seeds=1, changes={
        ...         "dim": "5", "width": "20", "n_train": "30", "n_steps": "10", "n_test": "50"})
        >>> found.dataset.sizes["seed"], found.verdicts[0].outcome
        (1, 'undecided')
    """
    recipes = [FIGURES[name] for name in _known_figures(figures)]
    plans = [(recipe, _changed(recipe, preset, n_seeds, changes or {})) for recipe in recipes]
    folder = writable_folder(out)
    made = provenance()
    return [_reproduce_one(recipe, preset, plan, folder, made, on_record) for recipe, plan in plans]


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
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content["figures"][name] for name in FIGURES if name in content["figures"]}
    except FileNotFoundError as error:
        raise InputError(
            f"There is no {path}; run `lazyrich reproduce all --out {out}` first."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
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
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(valid)}."
    raise InputError(f"There is no {what} {name!r}; {hint}")


def _changed(
    recipe: Recipe, preset: str, n_seeds: int | None, changes: Mapping[str, str]
) -> Preset:
    _require_known("preset", preset, list(recipe.presets))
    plan = recipe.presets[preset]
    if n_seeds is not None and n_seeds < 1:
        raise InputError(f"--seeds is {n_seeds}; ask for at least 1 (3 for a verdict).")
    kinds = typing.get_type_hints(CommitteeSettings)
    values = {}
    for name, text in changes.items():
        _require_known("setting", name, list(kinds))
        values[name] = _parsed(name, text, kinds[name])
    return Preset(
        dataclasses.replace(plan.settings, **values),
        plan.n_seeds if n_seeds is None else n_seeds,
    )


def _parsed(name: str, text: str, kind: type) -> Any:
    words = {"true": True, "false": False}
    try:
        return words[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}
        sentence = f"The setting {name} is {text!r}; it must be {wanted[kind.__name__]}."
        raise InputError(sentence) from error


def _reproduce_one(
    recipe: Recipe,
    preset: str,
    plan: Preset,
    folder: Path,
    made: dict[str, str],
    on_record: Callable[[str, int, int], None],
) -> Reproduction:
    settings, seeds = plan.settings, tuple(range(plan.n_seeds))
    dataset = _run_seeds(recipe, settings, seeds, writable_folder(folder / "seeds"), on_record)
    dataset.attrs = {
        "title": f"{recipe.name} ({preset}): {recipe.statement}",
        "settings": json.dumps(dataclasses.asdict(settings)),
        **made,
    }
    data_file = folder / f"{recipe.name}.nc"
    write_dataset(data_file, dataset)
    notes = _notes(recipe, settings, dataset)
    caption = _caption(preset, settings, len(seeds))
    with house_style():
        pictures = write_figure(recipe.draw(dataset, caption), folder, recipe.name)
    statistics, claims = recipe.statistics(dataset), claims_of(recipe.name)
    verdicts = tuple(judge(claims[name], values) for name, values in statistics.items())
    found = Reproduction(
        recipe.name, preset, settings, seeds, dataset, (data_file, *pictures), verdicts, notes
    )
    _write_verdicts(folder, found, made)
    return found


def _run_seeds(
    recipe: Recipe,
    settings: CommitteeSettings,
    seeds: Sequence[int],
    kept: Path,
    on_record: Callable[[str, int, int], None],
) -> xr.Dataset:
    """Every seed, from the folder of finished ones or computed side by side."""
    content = json.dumps([NUMERICS_VERSION, dataclasses.asdict(settings)], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    files = {seed: kept / f"{key}-seed{seed}.nc" for seed in seeds}
    runs = {seed: read_dataset(path) for seed, path in files.items() if path.exists()}
    runs = {seed: run for seed, run in runs.items() if run is not None}
    total, done = len(seeds) * settings.n_saves, len(runs) * settings.n_saves
    on_record(recipe.name, done, total)

    def tick() -> None:
        nonlocal done
        done += 1
        on_record(recipe.name, min(done, total - 1), total)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {
            pool.submit(recipe.run, settings, seed, tick): seed
            for seed in seeds
            if seed not in runs
        }
        try:
            for future in as_completed(waiting):
                seed = waiting[future]
                runs[seed] = future.result()
                write_dataset(files[seed], runs[seed])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    on_record(recipe.name, total, total)
    return xr.concat(
        [runs[seed] for seed in seeds], xr.Variable("seed", np.asarray(seeds)), join="exact"
    )


def _notes(recipe: Recipe, settings: CommitteeSettings, dataset: xr.Dataset) -> tuple[str, ...]:
    notes = []
    for seed in dataset.seed.values[dataset.status.values == Status.diverged]:
        loss = dataset.train_loss.sel(seed=seed)
        last = int(loss.step[int(np.argmin(np.isfinite(loss.values))) - 1])
        notes.append(
            f"{recipe.name}, seed {seed}: diverged after step {last} at alpha={settings.alpha:g}, "
            f"epsilon={settings.epsilon:g}, learning_rate={settings.learning_rate:g} (units of "
            "N/α²); the curve up to there is kept, lower the learning rate for the rest."
        )
    return tuple(notes)


def _caption(preset: str, settings: CommitteeSettings, n_seeds: int) -> str:
    return (
        f"{preset}: D={settings.dim}, P={settings.n_train}, N={settings.width}, "
        f"ε={settings.epsilon:g}, α={settings.alpha:g}, η={settings.learning_rate:g}·N/α², "
        f"{'centred' if settings.centered else 'not centred'}; "
        f"median and range of {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    )


def _write_verdicts(folder: Path, found: Reproduction, made: dict[str, str]) -> None:
    """Put one figure's verdicts into the claims file, beside those already there."""
    path = folder / _CLAIMS_FILE
    try:
        figures = dict(json.loads(path.read_text(encoding="utf-8"))["figures"])
    except (OSError, ValueError, KeyError, TypeError):
        figures = {}
    figures[found.figure] = {
        "preset": found.preset,
        "seeds": list(found.seeds),
        "settings": dataclasses.asdict(found.settings),
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


assert {claim.figure for claim in CLAIMS} <= set(FIGURES), "a claim without a figure"
