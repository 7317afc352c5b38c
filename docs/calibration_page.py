"""The page on networks of known regime, from ``benchmarks/diagnosis/results``."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from lazyrich.diagnosis import THRESHOLD_HISTORY, THRESHOLDS, Estimate, decide

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "diagnosis" / "results"
REGIMES = ("lazy", "in between", "rich", "undecided", "refused")
TRUTHS = {"lazy": "lazy", "rich": "rich", "not judged": "not judged (α of 1 to 100, widths)"}
DECIDING = ("lazy_gap", "rich_gap", "lazy_cosine", "rich_cosine")

_TEXT = """# Networks of known regime

How far is a verdict to be trusted? These networks are lazy or rich by construction: linear
models, linearized networks and an output scale of 10⁴ (unless its loss grows) are lazy, an
output scale of 0.1 or less is rich if the labels are fitted (loss below a tenth of its start).
They are diagnosed where the labels are fitted and at the end of 500 steps, by
`lazyrich.diagnosis.THRESHOLDS`:
{thresholds}.

Thresholds are chosen on the first half. The second half has other seeds, architectures and
another task; it was not looked at before they were chosen. `benchmarks/diagnosis/zoo.py` measures
again; a random part of all cases fits into its time, {parts}. {dropped} transformers of the
second half were refused by a check that was wrong and is mended now; they count nowhere until they
are measured again.

{halves}
## What is got wrong

{wrong}
## History of the thresholds

{history}
"""


def rows_of(half: str) -> list[dict[str, Any]]:
    """What was measured of a half."""
    return json.loads((RESULTS / f"{half}.json").read_text(encoding="utf-8"))["rows"]


def regime(row: dict[str, Any]) -> str:
    """The verdict by the present thresholds; undecided for other reasons than intervals stays."""
    if row["regime"] == "refused" or not row["reason"].startswith("The "):
        return row["regime"]
    if row["reason"].startswith(("The loss has hardly", "The two checkpoints")):
        return row["regime"]
    values = (row["linearization_gap"], row["kernel_cosine"])
    if any(value is None for three in values for value in three):
        return row["regime"]
    gap, cosine = (Estimate(*map(float, three)) for three in values)
    return str(decide(gap, cosine).regime)


def truth(row: dict[str, Any]) -> str:
    """The known regime; one of small α that does not fit, or any α that blows up, has none."""
    most = {"rich": 0.1, "lazy": 1.0, "not judged": math.inf}[row["truth"]]
    is_known = row["kind"] != "scaled" or row["remaining_loss"] < most
    return row["truth"] if is_known else "not judged"


def matrix(rows: list[dict[str, Any]]) -> str:
    """Known regimes against verdicts."""
    counts = Counter((truth(row), regime(row)) for row in rows)
    lines = [f"| known | {' | '.join(REGIMES)} (diverged) |", "|---" * (len(REGIMES) + 1) + "|"]
    for name, title in TRUTHS.items():
        lines.append(f"| {title} | {' | '.join(str(counts[name, one]) for one in REGIMES)} |")
    return "\n".join(lines)


def wrong(rows: list[dict[str, Any]]) -> str:
    """Every network of known regime that gets another verdict."""
    lines = [
        "| network | loss, optimizer | α | at | known | verdict | gap | cosine |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        if truth(row) in ("not judged", regime(row)) or regime(row) == "refused":
            continue
        gap, cosine = ((row.get(n) or [None])[0] for n in ("linearization_gap", "kernel_cosine"))
        lines.append(
            f"| {row['architecture']}, {row['kind']} | {row['loss']}, {row['optimizer']} | "
            f"{row['alpha']:g} | {row['when']} | {truth(row)} | {regime(row)} | "
            f"{_number(gap)} | {_number(cosine)} |"
        )
    return "\n".join(lines) + "\n" if len(lines) > 2 else "Nothing of known regime.\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def page() -> str:
    """The whole page."""
    halves, parts, everything = "", [], []
    for half, title in (
        ("calibrate", "First half: to choose thresholds"),
        ("test", "Second half: to test them"),
    ):
        result = json.loads((RESULTS / f"{half}.json").read_text(encoding="utf-8"))
        parts.append(f"{result['n_cases']} of {result['n_all']}")
        dropped = result.get("n_dropped", 0)
        halves += f"## {title}\n\n{matrix(result['rows'])}\n\n"
        everything += result["rows"]
    thresholds = ", ".join(f"`{name}` {THRESHOLDS[name].value:g}" for name in DECIDING)
    history = "\n".join(
        f"- {date}, {change}: {reason}" for date, change, reason in (THRESHOLD_HISTORY)
    )
    return _TEXT.format(
        thresholds=thresholds,
        parts=" and ".join(parts),
        dropped=dropped,
        halves=halves,
        wrong=wrong(everything),
        history=history,
    )
