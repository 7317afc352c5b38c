"""The claims in words: a summary for the README, a page for each figure, and all of them.

From ``results/claims.json`` and ``src/lazyrich/paper/claims.toml``. Figures that have not been
computed yet show the claims that will be judged.
"""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = tuple(f"fig{number}" for number in range(1, 20))
VERDICTS = ("holds", "does not hold", "undecided")
MARKS = {"holds": "✓ holds", "does not hold": "✗ does not hold", "undecided": "? undecided"}
MEASURED = (
    "Measured: the median over seeds and its interval (95 % bootstrap of the median, or the range "
    "of three seeds). A claim *holds* if the whole interval is on the right side of the threshold, "
    "*does not hold* if all of it is on the wrong side, and is *undecided* otherwise; inf is never "
    "reached, nan could not be measured."
)

Row = dict[str, Any]


def recorded() -> dict[str, Row]:
    """What was measured, by figure."""
    text = (ROOT / "results" / "claims.json").read_text(encoding="utf-8")
    return json.loads(text)["figures"]


def claims_table() -> dict[str, Any]:
    """The table of claims and its history, as it was written before the runs."""
    path = ROOT / "src" / "lazyrich" / "paper" / "claims.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def statements() -> dict[str, str]:
    """What the print claims in each figure that can be computed, in a line."""
    from lazyrich.paper import FIGURES as RECIPES

    return {name: recipe.statement for name, recipe in RECIPES.items()}


def summary() -> str:
    """One row a figure: how many claims hold, and the negative that says most."""
    figures = recorded()
    lines = [
        "| figure | preset, seeds | holds | does not hold | undecided | what does not hold |",
        "|---|---|---|---|---|---|",
    ]
    totals = dict.fromkeys(VERDICTS, 0)
    for name in FIGURES:
        if name not in figures:
            continue
        figure = figures[name]
        counts = counted(figure["claims"])
        totals = {verdict: totals[verdict] + counts[verdict] for verdict in VERDICTS}
        numbers = " | ".join(str(counts[verdict]) for verdict in VERDICTS)
        lines.append(
            f"| [{title(name)}](docs/figures/{name}.md) | {figure['preset']}, "
            f"{len(figure['seeds'])} | {numbers} | {worst(figure['claims'])} |"
        )
    numbers = " | ".join(f"**{totals[verdict]}**" for verdict in VERDICTS)
    lines.append(f"| **all {sum(totals.values())}** | | {numbers} | |")
    missing = len(FIGURES) - sum(name in figures for name in FIGURES)
    said = f" {missing} of {len(FIGURES)} figures are not computed yet." if missing else ""
    return "\n".join([*lines, "", MEASURED + said])


def pages() -> dict[str, str]:
    """The pages in ``docs/figures``, by file name."""
    figures, table, said = recorded(), claims_table(), statements()
    return {"index.md": overview(figures, table)} | {
        f"{name}.md": page(name, figures.get(name), table, said.get(name)) for name in FIGURES
    }


def page(name: str, figure: Row | None, table: dict[str, Any], statement: str | None) -> str:
    """One figure: what the print says, our picture, the verdicts, how to compute it again."""
    lines = [f"# {title(name)}", ""]
    if statement:
        lines += [f"**The paper's figure:** {statement}", ""]
    if figure is None:
        lines += [
            "!!! note",
            "    This figure has not been computed yet. These are the claims that it will be "
            "judged by.",
            "",
            *rows_to_come(name, table),
        ]
    else:
        lines += [*picture(name), *how(name, figure), *verdicts(figure), *notes(figure)]
    lines += changes(name, table)
    return "\n".join(lines).rstrip() + "\n"


def picture(name: str) -> list[str]:
    """Our picture, if one is recorded."""
    if not (ROOT / "results" / f"{name}.png").exists():
        return []
    return [f"![{title(name)}, computed here](../../results/{name}.png)", ""]


def how(name: str, figure: Row) -> list[str]:
    """Settings, seeds, versions, and the command."""
    made, settings = figure["provenance"], figure["settings"]
    seeds = figure["seeds"]
    return [
        f"Preset `{figure['preset']}`: {settings}.",
        f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}. Computed with lazyrich "
        f"{made['lazyrich']} (commit `{made['commit']}`), JAX {made['jax']}, NumPy "
        f"{made['numpy']}, Python {made['python']}, on {made['machine']} ({made['device']}).",
        "",
        "```sh",
        made["command"],
        "```",
        "",
    ]


def verdicts(figure: Row) -> list[str]:
    """Every claim of a figure, with what was measured."""
    counts = counted(figure["claims"])
    said = ", ".join(f"{verdict}: {counts[verdict]}" for verdict in VERDICTS)
    lines = [
        "## Verdicts",
        "",
        f"Of {len(figure['claims'])} claims, {said}.",
        "",
        "| claim | verdict | measured | holds if | statistic, for each seed |",
        "|---|---|---|---|---|",
    ]
    for row in figure["claims"]:
        lines.append(
            f"| **{row['name']}**: “{row['sentence']}” ({row['where']}) | {MARKS[row['verdict']]} "
            f"| {measured(row)} | {row['threshold']} | {safe(row['statistic'])} |"
        )
    return [*lines, "", MEASURED, ""]


def notes(figure: Row) -> list[str]:
    """What went wrong while it was computed."""
    if not figure["notes"]:
        return []
    return ["## Notes", "", *(f"- {note}" for note in figure["notes"]), ""]


def changes(name: str, table: dict[str, Any]) -> list[str]:
    """Changes to the claims of this figure since they were written down."""
    found = [row for row in table["history"] if re.match(rf"{name}\b", row["claim"])]
    if not found:
        return []
    said = [f"- {row['date']}, {row['claim'].split(', ')[-1]}: {row['reason']}" for row in found]
    return ["## Changes to the claims since they were written down", "", *said, ""]


def rows_to_come(name: str, table: dict[str, Any]) -> list[str]:
    """The claims of a figure that has not been computed."""
    lines = ["| claim | statistic, for each seed | holds if |", "|---|---|---|"]
    for row in table["claim"]:
        if row["figure"] == name:
            lines.append(
                f"| **{row['name']}**: “{row['sentence']}” ({row['where']}) "
                f"| {safe(row['statistic'])} | {threshold(row)} |"
            )
    return [*lines, ""]


def overview(figures: dict[str, Row], table: dict[str, Any]) -> str:
    """Every claim of every figure in one table, and how many hold."""
    judged = [row for figure in figures.values() for row in figure["claims"]]
    counts = counted(judged)
    n_open = sum(row["figure"] not in figures for row in table["claim"])
    lines = [
        "# Figures and claims",
        "",
        "Every figure of the paper has a page: what the print says, our picture, and the verdict "
        "on each sentence. Definitions and thresholds were written down before the runs, in "
        "`src/lazyrich/paper/claims.toml`, with a history of every later change.",
        "",
        "| verdict | claims |",
        "|---|---|",
        *(f"| {MARKS[verdict]} | {counts[verdict]} |" for verdict in VERDICTS),
        *([f"| not computed yet | {n_open} |"] if n_open else []),
        "",
        MEASURED,
        "",
        "| claim | verdict | measured | holds if |",
        "|---|---|---|---|",
    ]
    for name in FIGURES:
        link = f"[{title(name)}]({name}.md)"
        if name in figures:
            lines += [
                f"| {link}, {row['name']} | {MARKS[row['verdict']]} | {measured(row)} "
                f"| {row['threshold']} |"
                for row in figures[name]["claims"]
            ]
        else:
            lines += [
                f"| {link}, {row['name']} | not computed yet | – | {threshold(row)} |"
                for row in table["claim"]
                if row["figure"] == name
            ]
    return "\n".join(lines) + "\n"


def title(name: str) -> str:
    """Figure 1 for fig1."""
    return f"Figure {name.removeprefix('fig')}"


def counted(rows: list[Row]) -> dict[str, int]:
    """How many claims have each verdict."""
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}


def measured(row: Row) -> str:
    """Median and interval as text."""
    low, high = (short(value) for value in row["interval"])
    return f"{short(row['median'])} ({low} to {high})"


def worst(rows: list[Row]) -> str:
    """The claim that is furthest from holding, in a few words."""
    negatives = [row for row in rows if row["verdict"] == "does not hold"]
    if not negatives:
        return ""
    row = max(negatives, key=distance)
    return f"{row['name']}: {short(row['median'])}, wanted {row['threshold']}"


def distance(row: Row) -> float:
    """How far the median is from the nearest threshold, as the logarithm of their ratio."""
    median = float(row["median"])
    limits = [float(text) for text in re.findall(r"-?[\d.]+(?:e[-+]?\d+)?", row["threshold"])]
    if not math.isfinite(median) or median <= 0 or min(limits) <= 0:
        return math.inf
    return min(abs(math.log(median / limit)) for limit in limits)


def threshold(row: Row) -> str:
    """The threshold as text."""
    if "low" in row and "high" in row:
        return f"{row['low']:g} to {row['high']:g}"
    return f"≥ {row['low']:g}" if "low" in row else f"≤ {row['high']:g}"


def short(value: float | str) -> str:
    """Three digits, without an exponent up to a million."""
    number = float(value)
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e6 else f"{number:.3g}"


def safe(text: str) -> str:
    """Text that does not end the cell of a table."""
    return text.replace("|", "∣")
