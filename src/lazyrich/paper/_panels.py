"""From experiments to the labelled panels of a figure, through the store."""

import json
from collections.abc import Mapping
from concurrent.futures import Executor

import xarray as xr

from lazyrich._base import Config, field_paths, matching_paths, read_value
from lazyrich.sweeps import Outcome, experiment_key, fill, to_dataset

from ._figure_spec import Panel, Panels


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
    panels: Mapping[str, Panel], changes: Mapping[str, object]
) -> tuple[dict[str, Panel], set[str]]:
    """The panels with settings changed in every experiment that has them; text is as typed.

    Returns:
        The panels, and the names that no experiment has.
    """
    unknown = set(changes)
    changes = {
        name: read_value(value) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    changed = {}
    for name, panel in panels.items():
        experiments: dict[str, Config] = {}
        for one in panel.experiments:
            paths = [*field_paths(one.model_dump(mode="json"))]
            fitting = {
                field: value for field, value in changes.items() if matching_paths(field, paths)
            }
            unknown -= fitting.keys()
            new = one.changed(fitting)
            experiments.setdefault(experiment_key(new), new)
        changed[name] = Panel(list(experiments.values()), panel.axes)
    return changed, unknown
