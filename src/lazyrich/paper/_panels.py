"""From experiments to the labelled panels of a figure, through the store."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import xarray as xr

from lazyrich._ground import Config
from lazyrich.sweeps import Outcome, experiment_key, fill, to_dataset
from lazyrich.training import CommitteeExperiment, History, train_committee, train_many

from ._recipe import Panel, Panels


def compute(
    experiments: Sequence[Config],
    on_finished: Callable[[int, History], None] | None = None,
) -> list[History]:
    """Train experiments of both kinds: those with exact dynamics, and all others."""
    is_exact = [isinstance(one, CommitteeExperiment) for one in experiments]
    found: dict[int, History] = {}
    for train, chosen in ((train_committee, True), (train_many, False)):
        places = [k for k, exact in enumerate(is_exact) if exact == chosen]

        def keep(i: int, history: History, places: list[int] = places) -> None:
            found[places[i]] = history
            if on_finished is not None:
                on_finished(places[i], history)

        if places:
            asked: Any = [experiments[k] for k in places]
            train(asked, on_finished=keep)
    return [found[k] for k in range(len(experiments))]


def fill_panels(
    panels: Mapping[str, Panel],
    *,
    store: str,
    executor: Executor | str | None,
    progress: str | bool,
) -> tuple[Panels, list[Outcome]]:
    """Compute what the store lacks, each experiment once, and open every panel.

    Returns:
        The panels as datasets, and the outcomes of all experiments.
    """
    distinct = {experiment_key(one): one for panel in panels.values() for one in panel.experiments}
    outcomes = dict(
        zip(
            distinct,
            fill(
                list(distinct.values()),
                store=store,
                executor=executor,
                progress=progress,
                run=compute,
            ),
            strict=True,
        )
    )
    opened = {}
    for name, panel in panels.items():
        keys = dict.fromkeys(experiment_key(one) for one in panel.experiments)
        opened[name] = _over_axes(to_dataset([outcomes[key] for key in keys]), panel)
    return opened, list(outcomes.values())


def _over_axes(dataset: xr.Dataset, panel: Panel) -> xr.Dataset:
    """The dataset over the panel's axes and the seed, also where one has a single value."""
    common = json.loads(dataset.attrs["common"])
    for axis in (*panel.axes, "seed"):
        if axis in dataset.dims:
            continue
        if axis in dataset.coords:
            dataset = dataset.swap_dims({dataset[axis].dims[0]: axis}).sortby(axis)
            continue
        values = [value for path, value in common.items() if path.rsplit(".", 1)[-1] == axis]
        dataset = dataset.expand_dims({axis: values[:1]})
    order = (*panel.axes, "seed")
    rest = [dim for dim in dataset.dims if dim not in order]
    return dataset.transpose(*order, *rest)


def with_changes(
    panels: Mapping[str, Panel], changes: Mapping[str, Any]
) -> tuple[dict[str, Panel], set[str]]:
    """The panels with settings changed in every experiment that has them.

    Returns:
        The panels, and the names that no experiment has.
    """
    unknown = set(changes)
    changed = {}
    for name, panel in panels.items():
        experiments: dict[str, Config] = {}
        for one in panel.experiments:
            fitting = {field: value for field, value in changes.items() if has_field(one, field)}
            unknown -= fitting.keys()
            new = one.changed(fitting)
            experiments.setdefault(experiment_key(new), new)
        changed[name] = Panel(list(experiments.values()), panel.axes)
    return changed, unknown


def has_field(experiment: Config, name: str) -> bool:
    """Whether ``changed`` would find this name."""
    return name in field_names(experiment)


def field_names(experiment: Config) -> set[str]:
    """Every name by which a setting can be changed: paths, and ends of them."""
    names: set[str] = set()

    def walk(tree: Mapping[str, Any], prefix: str) -> None:
        for field, value in tree.items():
            path = f"{prefix}{field}"
            parts = path.split(".")
            names.update(".".join(parts[i:]) for i in range(len(parts)))
            if isinstance(value, Mapping):
                walk(value, f"{path}.")

    walk(experiment.model_dump(mode="json"), "")
    return names
