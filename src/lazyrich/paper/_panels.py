"""From experiments to the labelled panels of a figure, through the store."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

import jax
import xarray as xr

from lazyrich._base import Config, InputError, field_paths, matching_paths, read_value
from lazyrich.sweeps import Outcome, Submission, experiment_key, fill, to_dataset

from ._figure_spec import Panel, Panels


def fill_figures(
    figures: Sequence[Mapping[str, Panel]],
    on_filled: Callable[[int, Panels, Sequence[Outcome]], object],
    *,
    store: str,
    executor: Executor | str | None,
    progress: str | bool,
) -> None:
    """Compute what the store lacks, each experiment of several figures once.

    Args:
        figures: the panels of each.
        on_filled: called with the position of a figure, its panels as datasets and the
            outcomes of its experiments, once it has all; others are still computed then.
        store: as for ``lazyrich.sweeps.sweep``, as are the others.
        executor: where to compute.
        progress: show how far it is, on stderr; a text names the sweep there.

    Raises:
        InputError: if an experiment is removed from the store meanwhile, or as ``sweep`` does.
    """
    keys = [_distinct(panels) for panels in figures]
    distinct = {key: one for of_one in keys for key, one in of_one.items()}
    names = list(distinct)
    outcomes: dict[str, Outcome] = {}
    waiting = {position: set(of_one) for position, of_one in enumerate(keys)}

    def keep(found: Mapping[int, Outcome]) -> None:
        outcomes.update({names[position]: outcome for position, outcome in found.items()})
        for position, missing in [*waiting.items()]:
            missing -= outcomes.keys()
            if not missing:
                del waiting[position]
                opened = {name: _opened(p, outcomes) for name, p in figures[position].items()}
                on_filled(position, opened, [outcomes[key] for key in keys[position]])

    found = fill(
        list(distinct.values()),
        store=store,
        executor=executor if executor is not None else _threads(),
        progress=progress,
        submission=Submission(on_kept=keep),
    )
    lost = len(names) - len(found)
    if lost:  # positions would be those of other experiments
        raise InputError(
            f"{lost} of {len(names)} experiments went missing from the store {store} meanwhile; "
            "run again, which computes them."
        )
    keep(dict(enumerate(found)))  # with what another call on the same store has computed


def _distinct(panels: Mapping[str, Panel]) -> dict[str, Config]:
    return {experiment_key(one): one for panel in panels.values() for one in panel.experiments}


def _opened(panel: Panel, outcomes: Mapping[str, Outcome]) -> xr.Dataset:
    keys = dict.fromkeys(experiment_key(one) for one in panel.experiments)
    return _over_axes(to_dataset([outcomes[key] for key in keys]), panel)


def _threads() -> str:
    """Two groups at a time, so that one runs while the other compiles; a GPU takes one."""
    return "threads:2" if jax.default_backend() == "cpu" else "serial"


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
