"""The key of an experiment in a store: a hash of its settings and numerics versions."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, runtime_checkable

from lazyrich._base import AddedLater, Config, Json, settings
from lazyrich.training import CommitteeExperiment, Experiment, Record


@runtime_checkable
class HasNumerics(Protocol):
    """An experiment that says which versions its result depends on."""

    @property
    def numerics(self) -> dict[str, int]:
        """Version numbers by name, such as ``{"task": 1, "training": 3}``."""
        ...


def canonical_json(experiment: Config) -> str:
    """All settings as JSON that is equal for equal settings: sorted names, no spaces.

    Fields that were added later are left out where they are at their default.
    """
    return _compact(settings(experiment))


def class_name(experiment: Config) -> str:
    """Where the class of an experiment is offered, without the private files it lies in."""
    found = type(experiment)
    public = [part for part in found.__module__.split(".") if not part.startswith("_")]
    return ".".join([*public, found.__qualname__])


def numerics_of(experiment: Config) -> dict[str, int]:
    """Versions that the result depends on; none where the experiment names none."""
    return dict(experiment.numerics) if isinstance(experiment, HasNumerics) else {}


def experiment_key(experiment: Config) -> str:
    """The name of an experiment in a store.

    SHA-256 of the whole config, the class of the experiment, and its ``numerics``: the
    versions of the task and of the code that computes it. Equal settings give equal
    keys in every process and on every machine; a new version gives a new key, so old
    results stay and are never mistaken for new ones.

    Args:
        experiment: any frozen config, with a property ``numerics`` if versions matter.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> class Walk(Config):
        ...     n_steps: int = 10
        >>> experiment_key(Walk()) == experiment_key(Walk(n_steps=10))
        True
        >>> experiment_key(Walk()) == experiment_key(Walk(n_steps=11))
        False
    """
    return _digest(class_name(experiment), canonical_json(experiment), numerics_of(experiment))


def key_of_parts(experiment: str, config: str, numerics: Mapping[str, int]) -> str:
    """The key again, from what a file says about itself."""
    return _digest(experiment, config, numerics)


def _digest(experiment: str, config: str, numerics: Mapping[str, int]) -> str:
    config = _first_form(config)
    whole = json.dumps([experiment, config, sorted(numerics.items())], ensure_ascii=False)
    return hashlib.sha256(whole.encode()).hexdigest()


def _lasting_fields(kind: type[Config]) -> frozenset[str]:
    """The fields that every stored experiment of a class has."""
    return frozenset(
        name
        for name, field in kind.model_fields.items()
        if not any(isinstance(mark, AddedLater) for mark in field.metadata)
    )


_KINDS = {kind: _lasting_fields(kind) for kind in (Experiment, CommitteeExperiment)}


def _kind_of(tree: Mapping[str, Json]) -> type[Experiment] | type[CommitteeExperiment] | None:
    """The class that has these settings, or whose subclass has; None for any other.

    Recognised by its fields, under former or present names: a stored experiment of a
    user's subclass has the name of that class, which may not be importable.
    """
    for kind, fields in _KINDS.items():
        if fields <= {kind.former_names.get(name, name) for name in tree}:
            return kind
    return None


@lru_cache(10_000)  # a sweep asks for each key before its experiment is computed and after
def _first_form(config: str) -> str:
    """The settings as keys are made from them: as they were when results were first stored.

    Some fields had other names. Two tasks had a label scale of their own beside that of
    the scaling, and the linearized network was trained where ``twin`` stood among the
    metrics.
    """
    tree = json.loads(config)
    kind = _kind_of(tree)
    if kind is None:
        return config
    first = {now: old for old, now in kind.former_names.items()}
    tree = {first.get(name, name): value for name, value in tree.items()}
    found = _with_own_label_scale(tree)
    if found is not None and "label_scale" not in found[0]:
        task, scaling = found
        task["label_scale"], scaling["label_scale"] = scaling["label_scale"], 1.0
    if tree.get("linearized") is True and isinstance(tree.get("probes"), list):
        del tree["linearized"]
        tree["probes"].insert(_place_of_twin(tree["probes"]), {"kind": "twin"})
    return _compact(tree)


def _place_of_twin(metrics: list[Json]) -> int:
    """Where it stood in all results that come with this package.

    At the end; beside kernel regression or the terms of the loss after the plain metrics
    with which the list began.
    """
    kinds = [metric.get("kind") for metric in metrics if isinstance(metric, dict)]
    if not {"kernel_regression", "terms"} & set(kinds):
        return len(kinds)
    others = (k for k, kind in enumerate(kinds) if kind not in ("weight_norm", "parameter_change"))
    return next(others, len(kinds))


def former_keys(experiment: Config) -> list[str]:
    """Other names under which the same results may have been stored.

    Metrics could include ``twin``, now the setting ``linearized``, anywhere
    among them.
    """
    if getattr(experiment, "linearized", False) is not True:
        return []
    tree = settings(experiment)
    metrics = tree.pop("metrics", None)
    if tree.pop("linearized", False) is not True or not isinstance(metrics, list):
        return []
    own = experiment_key(experiment)
    keys = []
    for place in range(len(metrics) + 1):
        listed = [*metrics[:place], {"kind": "twin"}, *metrics[place:]]
        config = _compact(tree | {"metrics": listed})
        keys.append(_digest(class_name(experiment), config, numerics_of(experiment)))
    return [key for key in keys if key != own]


def present_form(tree: dict[str, Json]) -> dict[str, Json]:
    """Stored settings with their present names and places."""
    kind = _kind_of(tree)
    if kind is None:
        return tree
    now = kind.former_names
    tree = {now.get(name, name): value for name, value in tree.items()}
    found = _with_own_label_scale(tree)
    if found is not None:
        task, scaling = found
        own, outer = task.get("label_scale"), scaling["label_scale"]
        if isinstance(own, int | float) and isinstance(outer, int | float):
            tree["task"] = {name: value for name, value in task.items() if name != "label_scale"}
            tree["scaling"] = scaling | {"label_scale": own * outer}
    metrics = tree.get("metrics")
    if isinstance(metrics, list):
        others = [metric for metric in metrics if metric != {"kind": "twin"}]
        is_named = len(others) < len(metrics)
        tree |= {"metrics": others, "linearized": is_named or tree.get("linearized", False)}
    return tree


def present_records(config: str, records: Mapping[str, Record]) -> dict[str, Record]:
    """Stored records of an experiment with these settings, by their present names."""
    kind = _kind_of(json.loads(config))
    if kind is None:
        return dict(records)
    now = kind.former_records
    return {now.get(name, name): record for name, record in records.items()}


def _with_own_label_scale(tree: dict[str, Json]) -> tuple[dict[str, Json], dict[str, Json]] | None:
    """Task and scaling, if the task is of a kind that once had a label scale of its own."""
    task, scaling = tree.get("task"), tree.get("scaling")
    if not isinstance(task, dict) or not isinstance(scaling, dict) or "label_scale" not in scaling:
        return None
    return (task, scaling) if task.get("kind") in _OWN_LABEL_SCALE else None


_OWN_LABEL_SCALE = ("hermite", "polynomial")


def _compact(tree: object) -> str:
    return json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
