"""The rates that plans are made with: those measured on this device, or the package's own.

Measured rates are kept in the user's cache folder. They change plans, and so the last digits
of kernels, therefore nothing is measured unless it is asked for.
"""

import json
import math
import os
import sys
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jax

from lazyrich._base import (
    BrokenSeal,
    FileKind,
    has_seal,
    read_file,
    seal,
    unseal,
    write_file,
)

from ._calibration import measured_rates
from ._work import Rates

_SEALED_AS = "kernel rates"
_MOST_BYTES = 2**20
_MOST_DEVICES = 100
_FORMAT = 1

# Measured on one core of an AMD EPYC (Zen 4), and guessed from the data sheet of an H100.
_PACKAGED = {
    "cpu": Rates(
        products=5e10,
        operands=4.6e9,
        batches=2.1e6,
        convolutions=4.5e10,
        moved=1e9,
        entries=7e9,
        functions=2.9e9,
        operations=1e6,
    ),
    "gpu": Rates(
        products=2e13,
        operands=4e11,
        batches=1e9,
        convolutions=1e13,
        moved=4e11,
        entries=4e12,
        functions=1e12,
        operations=2e5,
    ),
}


def measure_rates() -> Rates:
    """Measure how fast this device computes, and keep that for plans of tangent kernels.

    `ntk` chooses among exact methods by predicted time, by default with the rates that come
    with the package. After this it uses those of the device on which JAX computes, in this
    process and in later ones, from the file ``ntk-rates.json`` in the cache folder of the
    user (``LAZYRICH_CACHE`` names another folder). A file that is damaged, or of another
    device or another version of JAX, is ignored. Takes some seconds; nothing else should run
    meanwhile.

    Returns:
        What was measured.

    Raises:
        InputError: if the file cannot be written.

    Example:
        >>> measure_rates().products > 1e6  # doctest: +SKIP
        True
    """
    rates = measured_rates()
    kept = dict(list(_stored().items())[-_MOST_DEVICES:])
    kept.pop(device_name(), None)
    kept[device_name()] = asdict(rates)
    content = json.dumps({"format": _FORMAT, "devices": kept}, indent=1).encode()
    kind = FileKind("a file of kernel rates", lambda file: has_seal(file, _SEALED_AS))
    cure = "name another folder by the environment variable LAZYRICH_CACHE"
    write_file(rates_file(), seal(content, _SEALED_AS), kind=kind, cure=cure)
    current_rates.cache_clear()
    return rates


@cache
def current_rates() -> Rates:
    """The rates of the device on which JAX computes: as measured, or the package's."""
    found = _rates(_stored().get(device_name()))
    platform = "cpu" if jax.default_backend() == "cpu" else "gpu"
    return _PACKAGED[platform] if found is None else found


def are_measured() -> bool:
    """Whether the rates are those of this device."""
    return current_rates() not in _PACKAGED.values()


def rates_file() -> Path:
    """Where measured rates are kept."""
    chosen = os.environ.get("LAZYRICH_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute() / "ntk-rates.json"
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or home)
    elif sys.platform == "darwin":
        folder = home / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return folder / "lazyrich" / "ntk-rates.json"


def device_name() -> str:
    """What rates depend on: the device, how much of it there is, and the version of JAX."""
    device = jax.local_devices()[0]
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [device.platform, device.device_kind, f"{len(jax.local_devices())} devices"]
    if device.platform == "cpu":
        parts += [_processor(), f"{n_cores} cores"]
    return ", ".join([*parts, f"jaxlib {version('jaxlib')}"])


def _processor() -> str:
    with suppress(OSError):
        for line in read_file("/proc/cpuinfo", 2**24).decode(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return (
        " ".join(os.uname()[3:])
        if hasattr(os, "uname")
        else os.environ.get("PROCESSOR_IDENTIFIER", "")
    )


def _stored() -> dict[str, object]:
    """What the file says of every device; nothing if it is not there or not sound."""
    with suppress(OSError, BrokenSeal, ValueError, TypeError, LookupError, RecursionError):
        content = json.loads(unseal(read_file(rates_file(), _MOST_BYTES), _SEALED_AS))
        if content["format"] == _FORMAT:
            return dict(content["devices"])
    return {}


def _rates(found: object) -> Rates | None:
    names = {field.name for field in fields(Rates)}
    if not isinstance(found, dict) or set(found) != names:
        return None
    is_sound = all(isinstance(v, float) and math.isfinite(v) and v > 0 for v in found.values())
    return Rates(**found) if is_sound else None
