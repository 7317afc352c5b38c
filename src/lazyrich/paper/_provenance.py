"""Provenance of results: versions, machine and command."""

import platform
import shlex
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax

from lazyrich._base import value_text


def provenance() -> dict[str, str]:
    """Versions, device and commit, as text by name; no commit outside a checkout."""
    return {
        "lazyrich": version("lazyrich"),
        "commit": _commit(),
        "jax": jax.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
    }


def command_line(
    figure: str,
    preset: str = "quick",
    n_seeds: int | None = None,
    changes: Mapping[str, object] | None = None,
) -> str:
    """What to type to compute a figure.

    Args:
        figure: such as "fig1".
        preset: the name of its settings.
        n_seeds: how many seeds; None leaves it to the preset.
        changes: settings that differ from the preset's.

    Example:
        >>> command_line("fig4", "paper", 5, {"alpha": "4"})
        'lazyrich reproduce fig4 --preset paper --seeds 5 --set alpha=4'
    """
    words = ["lazyrich", "reproduce", figure, "--preset", preset]
    words += [] if n_seeds is None else ["--seeds", str(n_seeds)]
    for name, value in (changes or {}).items():
        words += ["--set", f"{name}={value_text(value)}"]
    return shlex.join(words)


def _commit() -> str:
    """The checkout's commit, with a + if files were changed since; "" outside of one."""

    def git(*words: str) -> str:
        folder = Path(__file__).parent
        run = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return run.stdout.strip()

    try:
        if not git("ls-files", "--", Path(__file__).name):
            return ""  # installed inside some other project's checkout
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--short") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
