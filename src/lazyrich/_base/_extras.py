"""Packages that only some of the subpackages need, and what installs them."""

from importlib.util import find_spec
from typing import Final

from ._errors import InputError

EXTRAS: Final = {
    "sweeps": ("fsspec", "h5netcdf", "h5py", "pandas", "rich", "xarray"),
    "plots": ("PIL", "matplotlib", "xarray"),
    "cli": ("cyclopts", "rich"),
    "report": ("jinja2", "markupsafe"),
    "images": ("platformdirs", "sklearn"),
    "torch": ("torch",),
    "lightning": ("lightning",),
    "transformers": ("accelerate", "peft", "transformers"),
    "dask": ("distributed",),
}
"""For each extra of the package, the modules that it brings."""


class MissingExtra(InputError, ImportError):
    """A package of an extra is not installed; the message names the line that installs it."""


def require_extra(extra: str, what: str) -> None:
    """Refuse to go on without the packages of an extra.

    Args:
        extra: a key of ``EXTRAS``.
        what: what needs them, as the subject of the sentence.

    Raises:
        MissingExtra: naming the packages that are not there and what installs them.

    Example:
        >>> require_extra("sweeps", "lazyrich.sweeps")
    """
    missing = [package for package in EXTRAS[extra] if not _is_installed(package)]
    if missing:
        raise MissingExtra(
            f"{what} needs {', '.join(missing)}; install with pip install 'lazyrich[{extra}]'."
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # None in sys.modules: somebody has ruled it out
        return False
