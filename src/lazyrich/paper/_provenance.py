"""With what a number was made."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import jax


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
