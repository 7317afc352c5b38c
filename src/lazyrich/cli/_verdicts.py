"""The table of verdicts: a column for each set of settings."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lazyrich.paper import Result, Verdict

_COLOURS = {"holds": "green", "met": "green", "does not hold": "red", "not met": "red"}


def show_verdicts(results: "Mapping[str, Mapping[str, Result]]", *, as_json: bool) -> None:
    """Print the verdicts by figure, or as JSON alone."""
    from lazyrich import paper

    if as_json:
        print(json.dumps(paper.as_json(results), indent=1, ensure_ascii=False))
        return
    console = Console()
    for figure, by_preset in results.items():
        table = Table(title=figure, title_justify="left")
        table.add_column("claim and its statistic", overflow="fold")
        table.add_column("holds if")
        for preset, result in by_preset.items():
            n = len(result.seeds)
            seeds = f"{n} seed{'s' if n > 1 else ''}"
            table.add_column(f"{paper.PRESETS[preset]} ({preset}, {seeds})", overflow="fold")
        for claim, verdicts in paper.by_claim(by_preset).items():
            cells = [_cell(verdicts.get(preset)) for preset in by_preset]
            name = f"{escape(claim.name)}\n[dim]{escape(claim.statistic)}[/dim]"
            table.add_row(name, claim.threshold, *cells)
        console.print(table)
        for note in dict.fromkeys(note for result in by_preset.values() for note in result.notes):
            console.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True)
    if results:
        console.print(f"[dim]{paper.LEGEND}[/dim]")


def _cell(verdict: "Verdict | None") -> str:
    from lazyrich import paper

    if verdict is None:
        return ""
    outcome, measured, *more = map(escape, paper.describe(verdict))
    lines = [f"[{_COLOURS.get(outcome, 'yellow')}]{outcome}[/]: {measured}"]
    return "\n".join([*lines, *(f"[dim]{line}[/dim]" for line in more)])
