"""Which record names are reserved, and which are free for user-defined metrics."""

from collections.abc import Mapping

from lazyrich._base import InputError, shown

from ._batch import Metrics
from ._checkpoint import Saved
from ._committee_program import COMMITTEE_RECORDS
from ._metric_kinds import METRICS

_LOSSES = [f"{who}{part}_loss" for who in ("", "linearized_") for part in ("train", "test")]
_ACCURACIES = [name.replace("loss", "accuracy") for name in _LOSSES]
_OF_METRICS = [name for metric in METRICS.values() for name in metric.names]
RECORDS = frozenset([*_LOSSES, *_ACCURACIES, *_OF_METRICS]) | COMMITTEE_RECORDS
"""Names of all records that the losses, accuracies and metrics of a run have."""

# What stands beside the records in a dataset or a table.
_BESIDE = frozenset({"step", "status", "wall_seconds", "key", "error", "run"})


def checked_metrics(metrics: Mapping[str, object] | object) -> Metrics:
    """User-defined metrics as pairs of name and function.

    Raises:
        InputError: if a name is that of a built-in record or stands twice, or what is given
            is no mapping from names to functions.

    Example:
        >>> checked_metrics({"train_loss": len})
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: The metric train_loss has the name of a built-in
        record; give it another.
    """
    if metrics is not None and not isinstance(metrics, Mapping):
        raise InputError(
            f"The metrics are {shown(metrics)}; give a mapping from names to functions, such as "
            '{"largest": largest}.'
        )
    pairs = () if metrics is None else tuple(metrics.items())
    seen: set[str] = set()
    for name, measure in pairs:
        if not isinstance(name, str) or not name.strip() or "/" in name or not name.isprintable():
            raise InputError(f"A metric is named {shown(name)}; give a word without a slash.")
        if name in RECORDS | _BESIDE:
            raise InputError(
                f"The metric {name} has the name of a built-in record; give it another."
            )
        if name in seen:
            raise InputError(f"Two metrics are named {name}; give each a name of its own.")
        if not callable(measure):
            raise InputError(
                f"The metric {name} is {shown(measure)}; give a function of a Snapshot."
            )
        seen.add(name)
    return pairs


def own_records(saved: Saved) -> set[str]:
    """The names of the user-defined metrics with which a run was kept."""
    return set(saved.records) - RECORDS if saved.metrics is None else set(saved.metrics)
