"""``lazyrich diagnose STORE``: a verdict for every stored run, from what it has recorded."""

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._base import InputError, Json

from ._environment import loading
from ._output import json_value, say, say_json, say_table

if TYPE_CHECKING:
    from lazyrich.diagnosis import Reading
    from lazyrich.sweeps import Outcome

_MOST_RUNS, _MOST_COLUMNS = 60, 2
_BOUNDS = {"linearization_gap": "gap", "kernel_cosine": "cosine"}
_ERRORS = ("train_error", "test_error")


def diagnose_store(
    store: str, where: list[str], *, html: Path | None, as_json: bool, every: bool
) -> None:
    """Diagnose the runs of a store that meet all conditions.

    Args:
        store: folder or URL.
        where: conditions.
        html: where to write the page of one run.
        as_json: print JSON alone.
        every: diagnose more than a screen shows.

    Raises:
        InputError: if there is no store, nothing meets the conditions, or a page is asked
            for and several runs do.
    """
    with loading():
        from lazyrich import sweeps
    outcomes = sweeps.find(store, where)
    if html is not None and len(outcomes) > 1:
        raise InputError(
            f"{len(outcomes)} runs meet the conditions, and a page shows one; choose it with "
            f"--where, such as --where key={outcomes[0].key}."
        )
    chosen = outcomes if every else outcomes[:_MOST_RUNS]
    settings = sweeps.differing(outcomes, within_kinds=True)
    rows = []
    for i, outcome in enumerate(chosen):
        about = {name: json_value(values[i]) for name, values in settings.items()}
        rows.append({**about, "key": outcome.key, **_diagnosed(outcome, html)})
    if as_json:
        say_json(rows)
        return
    _print(rows, list(settings), f"{len(rows)} of {len(outcomes)} runs in {store}")
    if len(rows) < len(outcomes):
        say(f"and {len(outcomes) - len(rows)} more; --all diagnoses them, --where picks some")
    if html is not None:
        say(f"page: {html} (open it in a browser)")


def _diagnosed(outcome: "Outcome", html: Path | None) -> dict[str, Json]:
    from lazyrich.diagnosis import diagnose_records

    from ._stored_runs import records_of

    try:
        run = records_of(outcome)
    except InputError as error:
        if html is not None:
            raise
        return {"verdict": "undecided", "reason": str(error), "measured": []}
    end, fit = diagnose_records(run), diagnose_records(run, "fit")
    if html is not None:
        end.to_html(html)
    readings = end.readings
    return {
        "verdict": str(end.regime),
        "at the fit": str(fit.regime),
        "step": end.setup["step"],
        "fit step": fit.setup["step"] if fit.readings else None,
        **{name: _ends(readings.get(name)) for name in _BOUNDS},
        **{name: _finite(readings[name].value) if name in readings else None for name in _ERRORS},
        "reason": end.reason,
        "reason at the fit": fit.reason,
        "causes": [*(one.cause for one in end.advice)],
        "notes": [*end.notes],
        "measured": [*sorted(run.curves)],
    }


def _ends(reading: "Reading | None") -> list[Json]:
    return [] if reading is None else [_finite(reading.low), _finite(reading.high)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print(rows: list[dict[str, Json]], settings: list[str], title: str) -> None:
    """One row a run, and below why some are undecided."""
    if len(settings) > _MOST_COLUMNS:  # a column each would leave no room for what is found
        rows = [{**row, "settings": _joined(settings, row)} for row in rows]
        settings = ["settings"]
    names = [*settings, "verdict", "at the fit", *_BOUNDS, "key"]
    titles = {name: name.replace("_", " ") for name in names} | _BOUNDS
    say_table(
        title,
        [titles[name] for name in names],
        [[_cell(name, row.get(name)) for name in names] for row in rows],
        whole=("verdict", "at the fit", *_BOUNDS.values(), "key"),
    )
    counts = Counter(row["verdict"] for row in rows)
    say(", ".join(f"{regime} {n}" for regime, n in counts.most_common()))
    reasons = Counter(row["reason"] for row in rows if row["verdict"] == "undecided")
    for reason, n in reasons.most_common(5):
        say(f"undecided ({n}): {reason}")
    lists = [row.get("notes") for row in rows]
    notes = [str(note) for some in lists if isinstance(some, list) for note in some]
    for note, n in Counter(notes).most_common(3):
        say(f"note ({n}): {note}")


def _joined(settings: list[str], row: dict[str, Json]) -> str:
    known = [name for name in settings if row.get(name) is not None]
    return " ".join(f"{name}={_cell(name, row[name])}" for name in known)


def _cell(name: str, value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        ends = ["?" if end is None else f"{end:.2g}" for end in value]
        return "–".join(dict.fromkeys(ends))
    if name == "key":
        return str(value)[:8]
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
