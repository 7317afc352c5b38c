"""What commands print: lines, tables and JSON, with control characters made visible."""

import math
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lazyrich._base import Json

from ._text import ENCODING_ERRORS, has_braille, json_text, visible

Cell = str | tuple[str, str] | list[tuple[str, str]]
"""A text; with a style; or several of these after one another, "\n" for a new line."""


def console(*, stderr: bool = False) -> Console:
    """A terminal on which brackets and colons are only that."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(line: str) -> None:
    """Print a line."""
    print(visible(line))


def say_json(value: object) -> None:
    """Print a value as JSON alone."""
    print(json_text(value))


def json_value(value: object) -> Json:
    """A setting or a number as JSON, which has no NaN and no infinities: they go in as text."""
    if isinstance(value, tuple | list):
        return [json_value(part) for part in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def note(line: str) -> None:
    """Print a line that tells what to mind."""
    console().print(styled([("note ", "yellow"), (line, "")]), soft_wrap=True)


def say_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    whole: Sequence[str] = (),
) -> None:
    """Print a table; columns that are too wide are folded, but not those that stay whole."""
    table = Table(title=styled(title), title_justify="left")
    for name in columns:
        table.add_column(styled(name), overflow="fold", no_wrap=name in whole, min_width=6)
    for row in rows:
        table.add_row(*map(styled, row))
    console().print(table)


def styled(cell: Cell) -> Text:
    """A text for the terminal, with all that is in it made visible."""
    parts = cell if isinstance(cell, list) else [(cell, "") if isinstance(cell, str) else cell]
    return Text.assemble(*((t if t == "\n" else _in_place(t), style) for t, style in parts))


def _in_place(text: str) -> str:
    """As standard output will show it: a table has to know how wide that is."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return visible(text).encode(encoding, ENCODING_ERRORS).decode(encoding)


def can_draw() -> bool:
    """Whether standard output shows braille dots."""
    return has_braille(getattr(sys.stdout, "encoding", None))
