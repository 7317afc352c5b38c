"""Argument types that are parsed by the common parser of typed values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    from lazyrich._base import read_whole_number  # loads jax

    return read_whole_number(tokens[0].value, name="it")  # the parser names the option before it


WholeNumber = Annotated[int, Parameter(converter=_whole)]
"""A whole number that is not rounded: 1.5 is refused."""


def _local(kind: object, tokens: Sequence[Token]) -> Path:
    from lazyrich._base import InputError, shown  # loads jax

    text = tokens[0].value
    if not text.strip():
        raise InputError(f"it is {text!r}; name a file or folder, . for the one you are in.")
    if "://" in text:
        raise InputError(f"{shown(text)} is an address; only --store takes one.")
    if not text.startswith("~"):
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home
        raise InputError(
            f"{shown(text)} names no home folder here; give the path itself."
        ) from None


LocalPath = Annotated[Path, Parameter(converter=_local)]
"""A path on this machine, with ~ as in a store's; a URL would name a folder ``https:``."""
