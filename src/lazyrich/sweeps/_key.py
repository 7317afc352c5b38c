"""What names an experiment in a store: its settings and the versions of what computes it."""

import hashlib
import json
from typing import Any, Protocol, runtime_checkable

from lazyrich._ground import Config, settings


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


def key_of_parts(experiment: str, config: str, numerics: dict[str, Any]) -> str:
    """The key again, from what a file says about itself."""
    return _digest(experiment, config, numerics)


def _digest(experiment: str, config: str, numerics: dict[str, Any]) -> str:
    config = _first_form(config)
    whole = json.dumps([experiment, config, sorted(numerics.items())], ensure_ascii=False)
    return hashlib.sha256(whole.encode()).hexdigest()


def _first_form(config: str) -> str:
    """The settings as keys are made from them: where they stood when results were first stored.

    Two tasks had a label scale of their own beside that of the scaling.
    """
    tree = json.loads(config)
    task, scaling = tree.get("task"), tree.get("scaling")
    is_moved = isinstance(task, dict) and isinstance(scaling, dict) and "label_scale" in scaling
    if not is_moved or task.get("kind") not in _OWN_LABEL_SCALE or "label_scale" in task:
        return config
    task["label_scale"], scaling["label_scale"] = scaling["label_scale"], 1.0
    return _compact(tree)


def present_form(tree: dict[str, Any]) -> dict[str, Any]:
    """Stored settings with their present names: one label scale, that of the scaling."""
    task, scaling = tree.get("task"), tree.get("scaling")
    is_old = isinstance(task, dict) and isinstance(scaling, dict) and "label_scale" in task
    if not is_old or task.get("kind") not in _OWN_LABEL_SCALE or "label_scale" not in scaling:
        return tree
    rest = {name: value for name, value in task.items() if name != "label_scale"}
    product = task["label_scale"] * scaling["label_scale"]
    return tree | {"task": rest, "scaling": scaling | {"label_scale": product}}


_OWN_LABEL_SCALE = ("hermite", "polynomial")


def _compact(tree: Any) -> str:
    return json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
