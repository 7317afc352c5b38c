"""The contents of the report, read from the files that ``reproduce`` wrote."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .._claims import CLAIMS, LATE_CLAIMS, full_name
from .._provenance import command_line
from .._results import PRESETS, Result, Results, preset_folder
from .._verdict import LEFT_OUT, Claim, Verdict
from .._words import SIGNS, absent, by_claim, reading
from ..figures import FIGURES
from ._downloads import Download, data_uri, downloads_of, open_panels, read_png, sizes_text
from ._strip import Strip, strip_of


class Row(NamedTuple):
    """A claim on the page, with the verdicts on it by preset."""

    claim: Claim
    verdicts: Mapping[str, Verdict]

    @property
    def outcomes(self) -> dict[str, str]:
        """By preset; not computed, or no printed run, where there is none."""
        return {
            preset: self.verdicts[preset].outcome
            if preset in self.verdicts
            else absent(self.claim.figure, preset)
            for preset in PRESETS
        }

    @property
    def judged(self) -> dict[str, Verdict]:
        """By preset, where there was something to judge."""
        return {
            preset: verdict
            for preset, verdict in self.verdicts.items()
            if verdict.outcome not in LEFT_OUT
        }

    @property
    def reading(self) -> str:
        """What the verdicts come to together, in a sentence."""
        return reading(self.verdicts)

    @property
    def after(self) -> str:
        """What had been seen when the claim was written or changed: "pilots", "runs" or ""."""
        return LATE_CLAIMS.get(full_name(self.claim), "")

    @property
    def fails(self) -> bool:
        """Whether the sentence was not found under some preset."""
        return bool({"does not hold", "not met"} & set(self.outcomes.values()))

    def strip(self, preset: str) -> Strip | None:
        """Where the seeds lie beside the threshold."""
        return strip_of(self.verdicts[preset].values, self.claim.low, self.claim.high)


@dataclass(frozen=True)
class Shown:
    """A figure under one preset.

    Attributes:
        preset: the name of the settings.
        called: what they are.
        result: settings, seeds, notes and verdicts.
        command: what computes it again.
        made: versions, commit and machine.
        picture: as a data URI; "" if there is none.
        picture_name: the file's name, in its folder.
        picture_size: width and height in pixels, so that nothing moves when it is shown.
        downloads: the data behind it.
        sizes: what the data hold.
    """

    preset: str
    called: str
    result: Result
    command: str
    made: tuple[tuple[str, str], ...]
    picture: str
    picture_name: str
    picture_size: tuple[int, int]
    downloads: tuple[Download, ...]
    sizes: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A figure on the page.

    Attributes:
        name: such as "fig1".
        statement: what the paper claims.
        rows: its claims.
        shown: what was computed, by preset.
        commands: what computes the presets that are still to come.
    """

    name: str
    statement: str
    rows: tuple[Row, ...]
    shown: tuple[Shown, ...]
    commands: tuple[str, ...]

    @property
    def title(self) -> str:
        """Such as "Figure 1"."""
        return self.name.replace("fig", "Figure ")

    @property
    def counts(self) -> dict[str, int]:
        """How many verdicts of each kind there are, over all presets that were computed."""
        presets = [one.preset for one in self.shown] or list(PRESETS)[:1]
        return count(row.outcomes[preset] for row in self.rows for preset in presets)


def entries_of(out: Path, results: Results) -> list[Entry]:
    """Every figure in the order of the paper, computed or not.

    Args:
        out: the folder that ``reproduce`` wrote.
        results: what its claims file holds.
    """
    names = dict.fromkeys([*FIGURES, *(claim.figure for claim in CLAIMS), *results])
    return [_entry(out, name, results.get(name, {})) for name in names]


def count(outcomes: Iterable[str]) -> dict[str, int]:
    """How many outcomes of each kind there are, of those that occur."""
    found = Counter(outcomes)
    return {outcome: found[outcome] for outcome in SIGNS if found[outcome]}


def _entry(out: Path, name: str, results: Mapping[str, Result]) -> Entry:
    judged = by_claim(results)
    known = {claim.name for claim in judged}
    to_come = [claim for claim in CLAIMS if claim.figure == name and claim.name not in known]
    rows = [Row(claim, verdicts) for claim, verdicts in judged.items()]
    rows += [Row(claim, {}) for claim in to_come]
    has = FIGURES[name].n_seeds if name in FIGURES else {}
    return Entry(
        name,
        FIGURES[name].statement if name in FIGURES else "",
        tuple(rows),
        tuple(_shown(out, name, one, results[one]) for one in PRESETS if one in results),
        tuple(command_line(name, preset) for preset in has if preset not in results),
    )


def _shown(out: Path, name: str, preset: str, result: Result) -> Shown:
    made = dict(result.provenance)
    command = made.pop("command", command_line(name, preset, len(result.seeds)))
    folder = preset_folder(out, preset)
    panels = open_panels(folder / f"{name}.nc")
    picture = folder / f"{name}.png"
    pixels = read_png(picture)
    return Shown(
        preset,
        PRESETS[preset],
        result,
        command,
        tuple(made.items()),
        data_uri(picture.name, pixels) if pixels else "",
        str(picture.relative_to(out)),
        _size_of(pixels),
        tuple(downloads_of(folder, name, panels)),
        tuple(sizes_text(panels)),
    )


def _size_of(png: bytes) -> tuple[int, int]:
    """Width and height stand at fixed places in a PNG's header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
