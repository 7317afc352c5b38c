"""The claims in words: a summary for the README, a page for each figure, and all of them.

From ``results/claims.json`` and the table of claims. What has not been computed yet shows the
claims that will be judged.
"""

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from lazyrich import InputError
from lazyrich.paper import (
    CLAIMS,
    FIGURES,
    HISTORY,
    LEGEND,
    PRESETS,
    SYMBOLS,
    Claim,
    Result,
    Verdict,
    by_claim,
    describe,
    read_results,
)
from lazyrich.paper._claims import LATE_CLAIMS, full_name
from lazyrich.paper._results import Results, preset_folder
from lazyrich.paper._survives import SURVIVES
from lazyrich.paper._verdict import LEFT_OUT
from lazyrich.paper._words import SIGNS, absent, in_a_line, readable, reading

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
NEGATIVE = ("does not hold", "not met")


def recorded() -> Results:
    """What was measured, by figure and preset; nothing where all is of the first edition."""
    try:
        return read_results(RESULTS)
    except InputError as error:
        if "first edition" not in str(error):
            raise
        sys.stderr.write(f"{error} The pages say that nothing is computed yet.\n")
        return {}


def summary() -> str:
    """One row a figure, one column for each set of settings, and the negative that says most."""
    results = recorded()
    head = " | ".join(called(preset) for preset in PRESETS)
    lines = [f"| figure | {head} | furthest from holding |", "|---" * (len(PRESETS) + 2) + "|"]
    for name in FIGURES:
        found = results.get(name, {})
        cells = " | ".join(counted(name, preset, found.get(preset)) for preset in PRESETS)
        lines.append(f"| [{title(name)}](docs/figures/{name}.md) | {cells} | {worst(found)} |")
    totals = " | ".join(
        signs(v for found in results.values() for v in verdicts_of(found.get(preset)))
        for preset in PRESETS
    )
    lines.append(f"| **all {len(CLAIMS)} claims** | {totals} | |")
    return "\n".join(
        [
            *lines,
            "",
            f"{late()} ✓ holds or met, ✗ not, ? undecided, – not computed or no printed run. "
            f"{SYMBOLS} {LEGEND}",
        ]
    )


def survives() -> str:
    """The sentences on what survives, each with links to its evidence."""
    if not SURVIVES:
        return "*What survives is written here, in a few sentences, once all columns are computed.*"
    return "\n".join(
        f"- {one.text} ("
        + ", ".join(f"[{title(name)}](docs/figures/{name}.md)" for name in one.figures)
        + ")"
        for one in SURVIVES
    )


def pages() -> dict[str, str]:
    """The pages in ``docs/figures``, by file name."""
    results = recorded()
    return {"index.md": overview(results)} | {
        f"{name}.md": page(name, results.get(name, {})) for name in FIGURES
    }


def page(name: str, found: Mapping[str, Result]) -> str:
    """One figure: what the paper says, our pictures, the verdicts, how to compute it again."""
    lines = [f"# {title(name)}", "", f"**The paper's figure:** {FIGURES[name].statement}", ""]
    if not found:
        lines += [
            "!!! note",
            "    This figure has not been computed yet. These are the claims that it will be "
            "judged by.",
            "",
        ]
    for preset in PRESETS:
        if preset in found:
            lines += shown(name, preset, found[preset])
    lines += verdicts(name, found)
    lines += negatives(found)
    lines += changes(name)
    return "\n".join(lines).rstrip() + "\n"


def shown(name: str, preset: str, result: Result) -> list[str]:
    """Picture, settings, seeds, versions, the command, and what went wrong."""
    lines = [f"## {called(preset).capitalize()}", ""]
    picture = preset_folder(RESULTS, preset) / f"{name}.png"
    if picture.exists():
        link = f"../../{picture.relative_to(ROOT)}"
        lines += [f"![{title(name)}, {called(preset)}, computed here]({link})", ""]
    seeds, made = result.seeds, defaultdict(lambda: "?", result.provenance)
    said = f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else "One run"
    return [
        *lines,
        f"Preset `{preset}`: {result.settings}.",
        f"{said}. Computed with lazyrich {made['lazyrich']} (commit `{made['commit']}`), JAX "
        f"{made['jax']}, NumPy {made['numpy']}, Python {made['python']}, on {made['machine']} "
        f"({made['device']}).",
        "",
        "```sh",
        made.get("command", f"lazyrich reproduce {name} --preset {preset}"),
        "```",
        "",
        *(f"- {note}" for note in result.notes),
        *([""] if result.notes else []),
    ]


def verdicts(name: str, found: Mapping[str, Result]) -> list[str]:
    """Every claim of a figure, with what was measured under each preset."""
    columns = [preset for preset in PRESETS if preset in found]
    head = "".join(f" {called(preset)} |" for preset in columns)
    lines = [
        "## Verdicts" if found else "## Claims",
        "",
        f"| claim | statistic, for each seed | holds if |{head}",
        "|---" * (3 + len(columns)) + "|",
    ]
    for claim, judged in rows(name, found):
        cells = "".join(f" {cell(name, preset, judged.get(preset))} |" for preset in columns)
        lines.append(
            f"| **{claim.name}**{mark(claim)}: “{safe(claim.sentence)}” ({claim.where}) "
            f"| {safe(claim.statistic)} | {claim.threshold} |{cells}"
        )
    return [*lines, "", *([f"{SYMBOLS} {LEGEND}", ""] if found else [])]


def negatives(found: Mapping[str, Result]) -> list[str]:
    """Of every sentence that was not found: what was tested, where, and what came out."""
    lines = []
    for claim, judged in by_claim(found).items():
        if not any(verdict.outcome in NEGATIVE for verdict in judged.values()):
            continue
        measured = "; ".join(
            f"{called(preset)} ({found[preset].settings}): "
            + ", ".join([describe(verdict)[1], *describe(verdict)[2:]])
            for preset, verdict in judged.items()
            if verdict.outcome not in LEFT_OUT
        )
        lines.append(
            f"- **{claim.name}**: {reading(judged)} Tested was {claim.statistic}, with "
            f"{claim.threshold} wanted. Measured: {measured}."
        )
    return ["## What was not found, and where", "", *lines, ""] if lines else []


def changes(name: str) -> list[str]:
    """Changes to the claims of this figure since they were written down."""
    lines = [
        f"- {row.date}, {row.about.removeprefix(f'{name}, ')}"
        f"{f' (after {row.after})' if row.after else ''}: {row.reason}"
        for row in HISTORY
        if name in row.figures
    ]
    return (
        ["## Changes to these claims since they were written down", "", *lines, ""] if lines else []
    )


def overview(results: Results) -> str:
    """Every claim of every figure in one table, and how many hold."""
    head = " | ".join(called(preset) for preset in PRESETS)
    totals = [
        Counter(
            judged[preset].outcome if preset in judged else absent(name, preset)
            for name in FIGURES
            for _, judged in rows(name, results.get(name, {}))
        )
        for preset in PRESETS
    ]
    outcomes = [one for one in SIGNS if any(total[one] for total in totals)]
    lines = [
        "# Figures and claims",
        "",
        "Every figure of the paper has a page: what the paper says, our pictures, and the verdict "
        "on each sentence, in the authors' own draw, over seeds at the authors' settings, and over "
        f"seeds in wide networks. {late()} The table with its history is "
        "`src/lazyrich/paper/claims.toml`.",
        "",
        f"| verdict | {head} |",
        "|---" * (1 + len(PRESETS)) + "|",
        *(
            f"| {SIGNS[one]} {one} | {' | '.join(str(total[one]) for total in totals)} |"
            for one in outcomes
        ),
        "",
        f"{SYMBOLS} {LEGEND}",
        "",
        f"| claim | holds if | {head} |",
        "|---" * (2 + len(PRESETS)) + "|",
    ]
    for name in FIGURES:
        for claim, judged in rows(name, results.get(name, {})):
            cells = " | ".join(cell(name, preset, judged.get(preset)) for preset in PRESETS)
            lines.append(
                f"| [{title(name)}]({name}.md), {claim.name}{mark(claim)} | {claim.threshold} "
                f"| {cells} |"
            )
    rule = [row for row in HISTORY if not row.claims]
    lines += ["", "## Changes to the rule and the table", ""]
    lines += [f"- {row.date}, {row.about}: {row.reason}" for row in rule]
    return "\n".join(lines) + "\n"


def late() -> str:
    """How many claims were written or changed when something had been seen of them."""
    counts = Counter(LATE_CLAIMS.values())
    return (
        f"Claims and thresholds were written down before the runs, except {len(LATE_CLAIMS)} of "
        f"{len(CLAIMS)}, marked †: {counts['pilots']} were added or changed after pilot runs, "
        f"{counts['runs']} after results had been seen."
    )


def rows(name: str, found: Mapping[str, Result]) -> list[tuple[Claim, dict[str, Verdict]]]:
    """A figure's claims with the verdicts on them, those without any last."""
    judged = by_claim(found)
    names = {claim.name for claim in judged}
    rest = [one for one in CLAIMS if one.figure == name and one.name not in names]
    return [*judged.items(), *((claim, {}) for claim in rest)]


def cell(figure: str, preset: str, verdict: Verdict | None) -> str:
    """A verdict in a cell of a table."""
    return f"– {absent(figure, preset)}" if verdict is None else safe(in_a_line(verdict))


def counted(figure: str, preset: str, result: Result | None) -> str:
    """How many verdicts of each kind, and of how many seeds."""
    if result is None:
        return absent(figure, preset)
    n = len(result.seeds)
    return f"{signs(result.verdicts)} ({n} seeds)" if n > 1 else signs(result.verdicts)


def signs(verdicts: Iterable[Verdict]) -> str:
    """How many verdicts there are of each sign: "9 ✓ 1 ✗"."""
    found = Counter(SIGNS[verdict.outcome] for verdict in verdicts)
    return " ".join(
        f"{found[sign]} {sign}" for sign in dict.fromkeys(SIGNS.values()) if found[sign]
    )


def worst(found: Mapping[str, Result]) -> str:
    """The claim that is furthest from holding at the authors' settings, else in wide networks."""
    for preset in ("paper", "quick"):
        failed = [v for v in verdicts_of(found.get(preset)) if v.outcome in NEGATIVE]
        if failed:
            one = max(failed, key=distance)
            return f"{one.claim.name}: {readable(one.median)}, wanted {one.claim.threshold}"
    return ""


def distance(verdict: Verdict) -> float:
    """How far the median is from the nearest threshold, as the logarithm of their ratio."""
    limits = [one for one in (verdict.claim.low, verdict.claim.high) if one is not None]
    if not math.isfinite(verdict.median) or verdict.median <= 0 or min(limits) <= 0:
        return math.inf
    return min(abs(math.log(verdict.median / limit)) for limit in limits)


def verdicts_of(result: Result | None) -> tuple[Verdict, ...]:
    """The verdicts of a result, none if there is none."""
    return () if result is None else result.verdicts


def called(preset: str) -> str:
    """What a preset is called, over seeds where there are several."""
    return PRESETS[preset] if preset == "authors" else f"{PRESETS[preset]} over seeds"


def mark(claim: Claim) -> str:
    """† at a claim that was added or changed when something had been seen of it."""
    return " †" if full_name(claim) in LATE_CLAIMS else ""


def title(name: str) -> str:
    """Figure 1 for fig1."""
    return f"Figure {name.removeprefix('fig')}"


def safe(text: str) -> str:
    """Text that does not end the cell of a table."""
    return text.replace("|", "∣")
