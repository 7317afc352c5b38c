"""The race at the sizes of the papers, for a GPU."""

import tomllib
from functools import cache
from pathlib import Path

from ._edition import Edition, default_edition

_FILE = Path(__file__).parent / "full.toml"


@cache
def full_edition() -> Edition:
    """The arms, spaces and rules of the default edition, on tasks of full size.

    On a GPU, where trials that share a program are computed as one batch, it takes minutes;
    on two cores, days.

    Returns:
        The edition.

    Example:
        >>> full_edition().task["addition"].experiment["task"]["modulus"]
        59
    """
    tasks = tomllib.loads(_FILE.read_text("utf-8"))["task"]
    return Edition(**default_edition().model_dump() | {"task": tasks})
