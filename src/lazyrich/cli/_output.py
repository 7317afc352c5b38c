"""What commands print: lines, tables and JSON, with control characters made visible."""

import itertools
import math
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lazyrich._base import Json

from ._text import ENCODING_ERRORS, has_braille, json_text, visible

_LEAST_WIDTH = 6

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
        least = min(_LEAST_WIDTH, max(map(len, name.split()), default=1))
        table.add_column(styled(name), overflow="fold", no_wrap=name in whole, min_width=least)
    for row in rows:
        table.add_row(*map(styled, row))
    console().print(table)


def say_columns(title: str, columns: Sequence[tuple[str, Sequence[str]]], *, always: int) -> int:
    """Print a table of the columns for which there is room without folding a cell.

    Args:
        title: of the table.
        columns: title and cells of each; the first come first.
        always: so many of the last ones are shown in any case.

    Returns:
        How many columns were left out.
    """
    heads = [styled(name) for name, _ in columns]
    cells = [[*map(styled, texts)] for _, texts in columns]
    widths = [
        max(min(_LEAST_WIDTH, head.cell_len), *(cell.cell_len for cell in column))
        for head, column in zip(heads, cells, strict=True)
    ]
    n_settings = len(columns) - always
    room = console().width - 1 - sum(3 + width for width in widths[n_settings:])
    sums = itertools.accumulate(3 + width for width in widths[:n_settings])
    n_fitting = sum(total <= room for total in sums)
    places = [*range(n_fitting), *range(n_settings, len(columns))]
    room -= sum(3 + width for width in widths[:n_fitting])
    table = Table(title=styled(title), title_justify="left")
    for k in places:
        if room >= 0:  # what is left goes to titles, which are folded else
            more = min(room, max(0, heads[k].cell_len - widths[k]))
            room -= more
            table.add_column(heads[k], overflow="fold", width=widths[k] + more)
        else:
            table.add_column(heads[k], overflow="fold", min_width=_LEAST_WIDTH)
    for row in zip(*(cells[k] for k in places), strict=True):
        table.add_row(*row)
    console().print(table)
    return n_settings - n_fitting


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
