"""What stands on the page, from the files that ``reproduce`` left."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .._claims import CLAIMS
from .._provenance import command_line
from ..figures import FIGURES
from ._downloads import Download, data_uri, downloads_of, open_panels, read_png, sizes_text
from ._strip import Strip, strip_of

VERDICTS = {
    "holds": "✓",
    "does not hold": "✗",
    "undecided": "?",
    "not computed": "–",
}
"""Every verdict that the page knows, and its sign."""


class Row(NamedTuple):
    """A claim on the page: as in the claims file, numbers for a reader."""

    figure: str
    name: str
    sentence: str
    where: str
    statistic: str
    threshold: str
    verdict: str
    median: float
    interval: tuple[float, float]
    values: tuple[float, ...]

    @property
    def measured(self) -> str:
        """Median and interval as text."""
        if self.verdict == "not computed":
            return ""
        low, high = map(readable, self.interval)
        return f"{readable(self.median)} ({low} to {high})"

    @property
    def strip(self) -> Strip | None:
        """Where the seeds lie beside the threshold."""
        return strip_of(self.values, self.threshold)


@dataclass(frozen=True)
class Entry:
    """A figure on the page.

    Attributes:
        name: such as "fig1".
        statement: what the print claims.
        rows: its claims.
        is_computed: whether it is in the claims file; what follows is empty if not.
        command: what computes it, again or for the first time.
        preset: the name of its settings.
        settings: the settings in a line.
        seeds: the seeds that were run.
        notes: what went wrong.
        made: versions, commit and machine.
        picture: as a data URI.
        picture_size: width and height in pixels, so that nothing moves when it is shown.
        downloads: the data behind it.
        sizes: what the data hold.
    """

    name: str
    statement: str
    rows: tuple[Row, ...]
    is_computed: bool = False
    command: str = ""
    preset: str = ""
    settings: str = ""
    seeds: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    made: tuple[tuple[str, str], ...] = ()
    picture: str = ""
    picture_size: tuple[int, int] = (0, 0)
    downloads: tuple[Download, ...] = ()
    sizes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Such as "Figure 1"."""
        return self.name.replace("fig", "Figure ")

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have each verdict, of those that occur."""
        return count(self.rows)


def entries_of(folder: Path, figures: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """Every figure in the order of the paper, computed or not.

    Args:
        folder: what ``reproduce`` wrote.
        figures: the claims file's figures.
    """
    names = sorted({claim.figure for claim in CLAIMS} | set(FIGURES), key=_number)
    return [
        _computed(folder, name, figures[name])
        if name in figures
        else Entry(
            name,
            FIGURES[name].statement if name in FIGURES else "",
            tuple(_open_row(claim) for claim in CLAIMS if claim.figure == name),
            command=command_line(name),
        )
        for name in names
    ]


def count(rows: tuple[Row, ...]) -> dict[str, int]:
    """How many claims have each verdict, of those that occur."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in VERDICTS if found[verdict]}


def readable(value: float) -> str:
    """Three digits; ∞ where something was never reached, – where it was not measured."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e6 else f"{rounded:g}"
    return text.replace("-", "−")


def _number(figure: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, figure))
    return int(digits or 0), figure


def _computed(folder: Path, name: str, found: Mapping[str, Any]) -> Entry:
    made = dict(found["provenance"])
    command = made.pop("command", command_line(name, found["preset"], len(found["seeds"])))
    rows = [_row(name, row) for row in found["claims"]]
    judged = {row.name for row in rows}
    rows += [_open_row(c) for c in CLAIMS if c.figure == name and c.name not in judged]
    panels = open_panels(folder / f"{name}.nc")
    picture = folder / f"{name}.png"
    pixels = read_png(picture)
    return Entry(
        name,
        FIGURES[name].statement,
        tuple(rows),
        is_computed=True,
        command=command,
        preset=found["preset"],
        settings=found["settings"],
        seeds=tuple(found["seeds"]),
        notes=tuple(found["notes"]),
        made=tuple(made.items()),
        picture=data_uri(picture.name, pixels) if pixels else "",
        picture_size=_size_of(pixels),
        downloads=tuple(downloads_of(folder, name, panels)),
        sizes=tuple(sizes_text(panels)),
    )


def _size_of(png: bytes) -> tuple[int, int]:
    """Width and height stand at fixed places in a PNG's header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _row(figure: str, found: Mapping[str, Any]) -> Row:
    low, high = map(float, found["interval"])
    return Row(
        figure,
        found["name"],
        found["sentence"],
        found["where"],
        found["statistic"],
        found["threshold"],
        found["verdict"],
        float(found["median"]),
        (low, high),
        tuple(map(float, found["values"])),
    )


def _open_row(claim: Any) -> Row:
    nothing = float("nan")
    return Row(
        claim.figure,
        claim.name,
        claim.sentence,
        claim.where,
        claim.statistic,
        claim.threshold,
        "not computed",
        nothing,
        (nothing, nothing),
        (),
    )
