"""From the folder of a reproduction to one HTML file."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup, escape

from lazyrich._base import FileKind, InputError, require_writable, write_file

from .._claims import CLAIMS, HISTORY, LATE_CLAIMS
from .._results import PRESETS, read_results
from .._survives import SURVIVES
from .._verdict import LEFT_OUT
from .._words import LEGEND, SIGNS, SYMBOLS, describe, readable
from ..errata import errata
from ._contents import Entry, count, entries_of
from ._downloads import MOST_BYTES, size_text

_CURE = "make room, move it away or choose another place with --to"
# What a page begins with; the first version's had its title only.
_MARKS = (
    b'<meta name="generator" content="lazyrich report">',
    b"<title>Lazy to rich: the paper computed again</title>",
)


def write_report(
    out: Path = Path("reproduction"),
    to: Path = Path("report.html"),
    *,
    explorer: str = "",
    explorer_links: Mapping[str, str] | None = None,
) -> Path:
    """Put all that was reproduced on one page that needs no network.

    Every figure has its printed statement, the picture, the verdicts with all seeds, the
    settings, the command and the data; figures that are missing say what computes them.
    The errata are measured anew. Equal files give an equal page.

    Args:
        out: the folder that ``reproduce`` wrote.
        to: the page, one file.
        explorer: another page that it carries along, ``lazyrich.explorer.page_text()``.
        explorer_links: for each figure that opens in that page, the end of the address.

    Returns:
        The page's path.

    Raises:
        InputError: if there are no results, they cannot be read, or the page cannot be
            written.

    Example:
        >>> import tempfile
        >>> write_report(Path(tempfile.mkdtemp()))
        Traceback (most recent call last):
        lazyrich._base...InputError: There is no ...; run `lazyrich reproduce all --out ...` first.

    References:
        Pages open in any browser of the last years; figures are those of Kumar et al. (2024).
    """
    results = read_results(out)
    if os.path.isdir(to):
        raise InputError(f"--to is the folder {to}; name a file, such as {to / 'report.html'}.")
    require_writable(to, kind=_PAGE, cure=_CURE)
    text = _render(entries_of(out, results), out, explorer, explorer_links or {})
    write_file(to, text.encode("utf-8", "backslashreplace"), kind=_PAGE, cure=_CURE)
    return to


def _is_page(file: BufferedIOBase) -> bool:
    start = file.read(4096)
    return start[:15] == b"<!DOCTYPE html>" and any(mark in start for mark in _MARKS)


_PAGE = FileKind("a report", _is_page)


def _render(
    entries: Sequence[Entry], out: Path, explorer: str, explorer_links: Mapping[str, str]
) -> str:
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["formula"] = _formula
    environment.filters["readable"] = readable
    environment.filters["size"] = size_text
    rows = tuple(row for entry in entries for row in entry.rows)
    return environment.get_template("page.html").render(
        entries=entries,
        rows=rows,
        counts={preset: count(row.outcomes[preset] for row in rows) for preset in PRESETS},
        presets=PRESETS,
        signs=SIGNS,
        legend=f"{SYMBOLS} {LEGEND}",
        survives=SURVIVES,
        describe=describe,
        left_out=LEFT_OUT,
        late=LATE_CLAIMS,
        n_claims=len(CLAIMS),
        errata=errata(),
        history=HISTORY,
        machines=_machines(entries),
        most_bytes=MOST_BYTES,
        out=str(out),
        # As text inside of a script element, which no word of it may end.
        explorer=Markup(json.dumps(explorer).replace("<", "\\u003c")) if explorer else "",
        explorer_links=explorer_links,
        made_by=f"lazyrich {version('lazyrich')}, Python {platform.python_version()}",
        css=Markup((here / "page.css").read_text(encoding="utf-8")),
        js=Markup((here / "page.js").read_text(encoding="utf-8")),
    )


def _formula(text: str) -> Markup:
    """Subscripts set as such: L_te, x_i."""
    marked = re.sub(r"(?<![^\W_])([^\W\d_])_([A-Za-z]+)", r"\1<sub>\2</sub>", str(escape(text)))
    return Markup(marked)


class Machine(NamedTuple):
    """Versions and machine, and the figures that were made with them."""

    versions: dict[str, str]
    made: list[tuple[Entry, str]]


def _machines(entries: Sequence[Entry]) -> list[Machine]:
    computed = [(entry, shown) for entry in entries for shown in entry.shown]
    names = list(dict.fromkeys(name for _, shown in computed for name, _ in shown.made))
    found: dict[tuple[str, ...], Machine] = {}
    for entry, shown in computed:
        versions = {name: dict(shown.made).get(name, "") for name in names}
        machine = found.setdefault(tuple(versions.values()), Machine(versions, []))
        machine.made.append((entry, shown.preset))
    return list(found.values())
