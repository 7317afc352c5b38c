"""The page on networks of known regime, from ``benchmarks/diagnosis/results``."""

import itertools
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
_VALUES = {
    "lazy_gap": (0.05, 0.1, 0.2, 0.3, 0.4),
    "rich_gap": (0.3, 0.5, 0.7, 0.9),
    "lazy_cosine": (0.9, 0.95, 0.98, 0.99, 0.999),
    "rich_cosine": (0.7, 0.8, 0.9, 0.95),
}
DECIDING = ("lazy_gap", "rich_gap", "lazy_cosine", "rich_cosine")

_TEXT = """# Networks of known regime

How reliable is a verdict, and does the advice help?

These networks are lazy or rich by construction: linear models, linearized networks and an output
scale of 10⁴ (unless its loss grows) are lazy, an output scale of 0.1 or less is rich if the
labels are fitted (loss below a tenth of its start).
They are diagnosed where the labels are fitted and at the end of 500 steps, by
`lazyrich.diagnosis.THRESHOLDS`:
{thresholds}.

Thresholds are chosen on the first half. The second half has other seeds, architectures and
another task; it was not looked at before they were chosen, and neither was the third part,
committee machines and MLPs through `lazyrich.diagnose` in JAX. `benchmarks/diagnosis/zoo.py` and
`zoo_jax.py` measure again{parts}.

{halves}
## How much the thresholds matter

Second half and JAX, with one threshold changed and the others as they are: how many networks of
known regime get the right verdict, the opposite one, and neither.

{sensitivity}

The committee machine of the paper is a case that these networks lack: at D = 100 and a small ε
its kernel keeps a cosine above 0.99 while the linearized network misses most of what it learns,
so it is called in between lazy and rich.

## Wrong verdicts

{wrong}
## Is the advice right? Late runs, changed as advised

Each run is late: its training rows are fitted (error below {fitted_error:g} of chance) before
its test rows are predicted (below {late_error:g}, unless stated otherwise). It is diagnosed in
the middle of its plateau and trained again with what the first cause names changed and nothing
else; as a control, with what another cause names ({n_seeds} seeds; they and all settings were
fixed on other seeds before; `benchmarks/diagnosis/interventions.py`). Sooner: steps until
the test rows are predicted for good, before over after, geometric mean over seeds with its 95 %
interval; a run that never gets there counts with its last step (↑).

{interventions}

{confirmed}

## Verdicts on the runs of the paper's figures

By `lazyrich diagnose STORE` from what the runs had recorded, one seed, at most eight settings of
each panel, at the fit and at the end (`benchmarks/diagnosis/stored.py`).

{stored}

{reasons}

## Early warnings and the delay law (experimental)

Does anything in the past of a run that has fitted its training rows tell that it is about to
generalise? Scored on {n_fitted} recorded runs of the paper's figures that fit and do not
generalise at once (`benchmarks/diagnosis/forecast.py`); {n_late} of them generalise before they
end. The level of each alarm is set on half of the runs to 10 % of false alarms and scored on the
other half. Detectors see neither test rows nor what comes later. Lead: step at which it
generalises over step of the alarm, median.

{forecast}

{beaten}

The delay law log(V/V*)/(2·rate·decay), with V* from the other seeds, misses the remaining steps
from the fit of {n_law} runs with weight decay by a factor of {law:.3g} (median; it says none are
left in {n_zero} of them); the median of the other seeds misses by {seeds:.3g}, and "once more as
long as the fit took" by {fit:.3g}. It beats the other seeds in {better:.0%} of the runs.

## History of the thresholds

{history}
"""


def rows_of(half: str) -> list[dict[str, Any]]:
    """What was measured of a half."""
    return _read(half)["rows"]


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


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


def right(rows: list[dict[str, Any]]) -> str:
    """How many of the networks of known regime get it, as a sentence; undecided is wrong."""
    known = [row for row in rows if truth(row) != "not judged" and regime(row) != "refused"]
    n = sum(truth(row) == regime(row) for row in known)
    opposite = sum({truth(row), regime(row)} == {"lazy", "rich"} for row in known)
    return (
        f"{n} of {len(known)} of known regime are called what they are ({n / len(known):.1%}), "
        f"{opposite} the opposite."
    )


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


def judged(row: dict[str, Any], changed: dict[str, float]) -> str:
    """The verdict if some thresholds were other ones; every pair of ends must agree."""
    if row["regime"] == "undecided" and not row["reason"].startswith("The intervals"):
        return "undecided"
    limits = {name: THRESHOLDS[name].value for name in DECIDING} | changed
    found = set()
    for gap, cosine in itertools.product(row["linearization_gap"][1:], row["kernel_cosine"][1:]):
        if gap <= limits["lazy_gap"] and cosine >= limits["lazy_cosine"]:
            found.add("lazy")
        elif gap >= limits["rich_gap"] and cosine <= limits["rich_cosine"]:
            found.add("rich")
        else:
            found.add("in between")
    return found.pop() if len(found) == 1 else "undecided"


def sensitivity(rows: list[dict[str, Any]]) -> str:
    """Right, opposite and other verdicts for several values of each threshold."""
    known = [row for row in rows if truth(row) != "not judged" and row["regime"] != "refused"]
    lines = ["| threshold | value | right | opposite | neither |", "|---" * 5 + "|"]
    for name, values in _VALUES.items():
        for value in values:
            pairs = [(truth(row), judged(row, {name: value})) for row in known]
            right = sum(one == other for one, other in pairs)
            opposite = sum({one, other} == {"lazy", "rich"} for one, other in pairs)
            is_now = value == THRESHOLDS[name].value
            lines.append(
                f"| `{name}` | {value:g}{' (now)' if is_now else ''} | {right} | {opposite} | "
                f"{len(pairs) - right - opposite} |"
            )
    return "\n".join(lines)


def forecast(result: dict[str, Any]) -> str:
    """Every detector in every group that has runs of both kinds."""
    lines = ["| runs | detector | detected | lead | false alarms |", "|---" * 5 + "|"]
    for group, found in result["detectors"].items():
        for name, one in found.items():
            if not one.get("n_late") or not one["n_never"]:
                continue
            lead = "–" if one["median_lead"] is None else f"{one['median_lead']:.3g}×"
            lines.append(
                f"| {group} | {name} | {one['detected']:.0%} of {one['n_late']} | {lead} | "
                f"{one['false_alarms']:.0%} of {one['n_never']} |"
            )
    return "\n".join(lines)


def beaten(result: dict[str, Any]) -> str:
    """Which detectors do better than the norm in all runs, as a sentence."""
    baseline, *others = result["detectors"]["all"].items()
    better = [name for name, one in others if one["detected"] > baseline[1]["detected"]]
    if not better:
        return "None of the three detects more than the slope of the norm, and none is advised."
    return f"More than the slope of the norm detects: {', '.join(better)}."


def _times(three: list[float], is_bound: bool) -> str:
    value, low, high = three
    return f"{value:.3g}{'↑' if is_bound else ''} ({low:.3g} to {high:.3g})"


def advised(run: dict[str, Any]) -> str:
    """The first cause, the same with every seed."""
    [cause] = {said["causes"][0] for said in run["diagnoses"]}
    return cause


def interventions(results: dict[str, Any]) -> str:
    """Each late run: diagnosis, the change advised, and controls."""
    lines = [
        "| run | fitted → predicted, steps | verdict | first cause | change | sooner, times |",
        "|---" * 6 + "|",
    ]
    for run in results.values():
        cause = advised(run)
        for k, name in enumerate(sorted(run["changes"], key=lambda name: name != cause)):
            change = run["changes"][name]
            is_bound = any(test is None for _, test in change["steps"] + run["steps"])
            about = _about(run) if k == 0 else ["", "", ""]
            role = cause if name == cause else f"control: {name}"
            cells = [*about, role, change["what"], _times(change["sooner"], is_bound)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _about(run: dict[str, Any]) -> list[str]:
    fits, tests = ([steps[k] for steps in run["steps"]] for k in (0, 1))
    ends = [
        f"{_middle(fits):.3g} → {_middle([test or run['n_steps'] for test in tests]):.3g}"
        f"{'↑' if None in tests else ''}"
    ]
    level = run["test_level"]
    is_usual = level == THRESHOLDS["late_error"].value
    title = run["title"] if is_usual else f"{run['title']} (predicted below {level:g})"
    regimes = Counter(said["regime"] for said in run["diagnoses"])
    return [title, *ends, ", ".join(f"{name} {n}" for name, n in regimes.most_common())]


def _middle(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def is_confirmed(run: dict[str, Any]) -> bool:
    """Whether the advised change helps beyond doubt, and more than any control."""
    cause = advised(run)
    mine = run["changes"][cause]["sooner"]
    others = [one["sooner"][0] for name, one in run["changes"].items() if name != cause]
    return mine[1] > 1 and mine[0] > max(others)


def confirmed(results: dict[str, Any]) -> str:
    """In how many runs, as a sentence."""
    failed = [run["title"] for run in results.values() if not is_confirmed(run)]
    said = (
        f"In {len(results) - len(failed)} of {len(results)} runs the change advised makes them "
        "sooner, with an interval above 1, and more so than the control."
    )
    return said if not failed else f"{said} Not in: {'; '.join(failed)}."


def stored(panels: list[dict[str, Any]]) -> str:
    """Each panel that is stored: how often each verdict is given."""
    lines = ["| figure, panel | runs diagnosed | at the fit | at the end |", "|---" * 4 + "|"]
    for one in panels:
        if not one["runs"]:
            continue
        counts = [
            ", ".join(
                f"{name} {n}"
                for name, n in Counter(run[when]["regime"] for run in one["runs"]).most_common()
            )
            for when in ("fit", "end")
        ]
        name = f"{one['figure'].removeprefix('fig')}, {one['panel']}"
        lines.append(f"| {name} | {len(one['runs'])} of {one['n']} | {' | '.join(counts)} |")
    return "\n".join(lines)


def reasons(panels: list[dict[str, Any]]) -> str:
    """Why runs are undecided at their end, the most frequent reasons."""
    ends = [run["end"] for one in panels for run in one["runs"]]
    counts = Counter(end["reason"] for end in ends if end["regime"] == "undecided")
    lines = [f"- {n}: {reason}" for reason, n in counts.most_common(5)]
    n = sum(counts.values())
    return "\n".join([f"Why {n} of {len(ends)} are undecided at their end, mostly:", "", *lines])


def page() -> str:
    """The whole page."""
    halves, parts, everything = "", [], []
    for half, title in (
        ("calibrate", "First half: to choose thresholds"),
        ("test", "Second half: to test them"),
        ("jax", "JAX: committee machines and MLPs"),
    ):
        result = _read(half)
        if result["n_cases"] < result["n_all"]:
            parts.append(f"{result['n_cases']} of {result['n_all']}")
        halves += f"## {title}\n\n{matrix(result['rows'])}\n\n{right(result['rows'])}\n\n"
        everything += result["rows"]
    thresholds = ", ".join(f"`{name}` {THRESHOLDS[name].value:g}" for name in DECIDING)
    history = "\n".join(
        f"- {date}, {change}: {reason}" for date, change, reason in (THRESHOLD_HISTORY)
    )
    late = _read("interventions")
    result = _read("forecast")
    law = result["delay_law"]
    return _TEXT.format(
        thresholds=thresholds,
        parts=f"; a random part of all is measured, {', '.join(parts)}" if parts else "",
        interventions=interventions(late),
        confirmed=confirmed(late),
        n_seeds=len(next(iter(late.values()))["seeds"]),
        stored=stored(_read("stored")),
        reasons=reasons(_read("stored")),
        fitted_error=THRESHOLDS["fitted_error"].value,
        late_error=THRESHOLDS["late_error"].value,
        halves=halves,
        wrong=wrong(everything),
        history=history,
        sensitivity=sensitivity(rows_of("test") + rows_of("jax")),
        forecast=forecast(result),
        beaten=beaten(result),
        n_fitted=result["n_fitted"],
        n_late=result["n_late"],
        n_law=law["n"],
        n_zero=law["n_zero"],
        law=law["median_error"]["law"],
        seeds=law["median_error"]["other seeds"],
        fit=law["median_error"]["as long as the fit took"],
        better=1 - law["worse_than_seeds"],
    )
