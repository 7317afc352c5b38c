"""The table of verdicts: a column for each set of settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._output import Cell, console, note, say, say_json, say_table, styled

if TYPE_CHECKING:
    from lazyrich.paper import Result, Verdict

_COLOURS = {"holds": "green", "met": "green", "does not hold": "red", "not met": "red"}


def show_verdicts(results: "Mapping[str, Mapping[str, Result]]", *, as_json: bool) -> None:
    """Print the verdicts by figure, or as JSON alone."""
    from lazyrich import paper

    if as_json:
        say_json(paper.as_json(results))
        return
    for figure, by_preset in results.items():
        columns = ["claim and its statistic", "holds if"]
        for preset, result in by_preset.items():
            n = len(result.seeds)
            seeds = f"{n} seed{'s' if n > 1 else ''}"
            columns.append(f"{paper.PRESETS[preset]} ({preset}, {seeds})")
        rows = []
        for claim, verdicts in paper.by_claim(by_preset).items():
            name: Cell = [(claim.name, ""), ("\n", ""), (claim.statistic, "dim")]
            cells = [_cell(verdicts.get(preset)) for preset in by_preset]
            rows.append((name, claim.threshold, *cells))
        say_table(figure, columns, rows)
        for line in dict.fromkeys(one for result in by_preset.values() for one in result.notes):
            note(line)
    if not results:
        return
    for text in (paper.SYMBOLS, paper.LEGEND):
        console().print(styled((text, "dim")))
        console().print()
    for figure, by_preset in results.items():
        statement: Cell = [
            (figure, "bold"),
            (f", the paper: {paper.FIGURES[figure].statement}", "dim"),
        ]
        console().print(styled(statement))
        for preset, result in by_preset.items():
            say(f"  {paper.in_short(preset, result)}")


def _cell(verdict: "Verdict | None") -> Cell:
    from lazyrich import paper

    if verdict is None:
        return ""
    outcome, measured, *more = paper.describe(verdict)
    parts = [(outcome, _COLOURS.get(outcome, "yellow"))]
    parts += [(f": {measured}", "")] if outcome in _COLOURS or outcome == "undecided" else []
    for line in more:
        parts += [("\n", ""), (line, "dim")]
    return parts
