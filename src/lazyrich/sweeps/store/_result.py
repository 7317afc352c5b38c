"""The stored result of one experiment: arrays and plain values, no code."""

import hashlib
import json
import os
import platform
from functools import cache
from importlib.metadata import version
from typing import NamedTuple, TypedDict

import jax
import numpy as np

from lazyrich._base import Config, InputError, Status
from lazyrich.training import History, Record

from ._key import canonical_json, class_name, key_of_parts, numerics_of

FAILED = "failed"


class Hashed(TypedDict):
    """What the key of an experiment is made from; the fields are those of ``Outcome``."""

    experiment: str
    config: str
    numerics: dict[str, int]


class Identity(Hashed):
    """The same, with the key."""

    key: str


class Facts(Identity):
    """Everything of an ``Outcome`` but its arrays."""

    status: str
    error: str
    wall_seconds: float
    machine: dict[str, str]


class Outcome(NamedTuple):
    """One experiment as it is kept in a store.

    Attributes:
        key: its name in the store.
        experiment: class of the settings.
        config: the settings, canonical JSON.
        numerics: versions that the result depends on.
        status: name of a ``Status``, or "failed".
        error: why it failed, else empty.
        wall_seconds: time of the computation, as its history states it.
        machine: versions of packages and Python, device, host.
        steps: optimizer updates made before each record.
        records: measured quantities by name.

    Example:
        >>> steps = np.array([0])
        >>> Outcome("0" * 32, "Walk", "{}", {}, "ok", "", 0.1, {}, steps, {}).facts["status"]
        'ok'
    """

    key: str
    experiment: str
    config: str
    numerics: dict[str, int]
    status: str
    error: str
    wall_seconds: float
    machine: dict[str, str]
    steps: np.ndarray
    records: dict[str, Record]

    @property
    def facts(self) -> Facts:
        """Everything but the arrays."""
        return {
            "key": self.key,
            "experiment": self.experiment,
            "config": self.config,
            "numerics": self.numerics,
            "status": self.status,
            "error": self.error,
            "wall_seconds": self.wall_seconds,
            "machine": self.machine,
        }


def outcome_of(history: History) -> Outcome:
    """What to keep of a run.

    Args:
        history: of the run.

    Returns:
        Its outcome, under the key of its settings; the parameters are left out.

    Raises:
        InputError: if its records do not fit its evaluation steps or name axes that they lack.

    Example:
        >>> class Walk(Config):
        ...     length: float = 1.0
        >>> records = {"height": Record(np.array([1.0]))}
        >>> outcome_of(History(Walk(), np.array([0]), records, Status.ok, None, 0.1)).config
        '{"length":1.0}'
    """
    steps = np.asarray(history.steps)
    records = {name: _sound_record(name, record, steps) for name, record in history.records.items()}
    return Outcome(
        **_identity(history.experiment),
        status=Status(int(history.status)).name,
        error="",
        wall_seconds=float(history.wall_seconds),
        machine=this_machine(),
        steps=steps,
        records=records,
    )


def failed_outcome(experiment: Config, error: str) -> Outcome:
    """What to keep of an experiment that could not be computed."""
    return Outcome(
        **_identity(experiment),
        status=FAILED,
        error=error,
        wall_seconds=float("nan"),
        machine=this_machine(),
        steps=np.zeros(0, int),
        records={},
    )


def checksum(outcome: Outcome) -> str:
    """SHA-256 of everything that is kept, so that a flipped bit is noticed."""
    digest = hashlib.sha256(json.dumps(outcome.facts, sort_keys=True).encode())
    arrays = [("", np.asarray(outcome.steps))]
    for name, record in sorted(outcome.records.items()):
        digest.update(json.dumps([name, record.unit, record.axes, record.coordinates]).encode())
        arrays.append((name, np.asarray(record.values)))
    for name, array in arrays:
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def this_machine() -> dict[str, str]:
    """Versions, device and host of this process."""
    device = jax.devices()[0]
    return {
        "lazyrich": package_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{device.platform} ({device.device_kind})",
        "host": platform.node(),
        "cores": str(os.cpu_count()),
        "x64": str(is_x64()).lower(),
    }


def is_x64() -> bool:
    """Whether JAX works in double precision in this thread."""
    return bool(jax.config.read("jax_enable_x64"))


@cache
def package_version() -> str:
    """Version of lazyrich in this process."""
    return version("lazyrich")


def _identity(experiment: Config) -> Identity:
    name, config = class_name(experiment), canonical_json(experiment)
    numerics = numerics_of(experiment)
    key = key_of_parts(name, config, numerics)
    return {"key": key, "experiment": name, "config": config, "numerics": numerics}


def _sound_record(name: str, record: Record, steps: np.ndarray) -> Record:
    values = np.asarray(record.values)
    values = values.astype(np.uint8) if values.dtype == bool else values  # NetCDF has no bool
    n_axes = len(record.axes)
    coordinates = tuple(record.coordinates) + (None,) * (n_axes - len(record.coordinates))
    fits = (
        values.dtype.kind in "fiu"
        and values.shape[:1] == steps.shape
        and values.ndim == 1 + n_axes == 1 + len(coordinates)
        and all(
            labels is None or len(labels) == length
            for labels, length in zip(coordinates, values.shape[1:], strict=False)
        )
    )
    if not fits:
        raise InputError(
            f"The record {name} has shape {values.shape} and type {values.dtype}, wanted "
            f"{len(steps)} evaluation steps and one length for each of its axes {record.axes}."
        )
    plain = tuple(None if labels is None else tuple(map(_plain, labels)) for labels in coordinates)
    return Record(values, record.unit, tuple(record.axes), plain)


def _plain(label: object) -> object:
    return label.item() if isinstance(label, np.generic) else label
