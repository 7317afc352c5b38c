"""What the networks of known regime have in common in both frameworks: cases, rows, the loop."""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lazyrich import InputError
from lazyrich.diagnosis import Diagnosis

RESULTS = Path(__file__).parent / "results"
N, DIM, N_STEPS = 32, 8, 500
_KEPT = ("linearization_gap", "kernel_cosine", "kernel_growth", "parameter_change")


class Case(NamedTuple):
    """One network."""

    half: str
    architecture: str
    loss: str
    optimizer: str
    kind: str  # scaled, linearized, linear, width
    alpha: float
    width: int
    seed: int

    @property
    def truth(self) -> str:
        """The regime by construction, or "not judged"."""
        if self.kind in ("linear", "linearized") or self.alpha >= 1000:
            return "lazy"
        return "rich" if self.alpha <= 0.1 else "not judged"


def shuffled(cases: list[Case]) -> list[Case]:
    """The cases in a fixed random order, so that any first part of them is a random part."""
    order = np.random.default_rng(0).permutation(len(cases))
    return [cases[k] for k in order]


def row(
    case: Case, when: str, remaining: float, diagnose: Callable[[], Diagnosis]
) -> dict[str, Any]:
    """What is kept of a case at the fit or at the end."""
    remaining = remaining if math.isfinite(remaining) else 1e30
    about = {**case._asdict(), "truth": case.truth, "when": when, "remaining_loss": remaining}
    try:
        found = diagnose()
    except InputError as error:
        return {**about, "regime": "refused", "reason": str(error)}
    readings = {}
    for name in _KEPT:
        one = found.readings[name]
        readings[name] = [
            round(value, 6) if math.isfinite(value) else None
            for value in (one.value, one.low, one.high)
        ]
    return {**about, "regime": str(found.regime), "reason": found.reason, **readings}


def measure_all(
    half: str,
    chosen: list[Case],
    measured: Callable[[Case], list[dict[str, Any]]],
    versions: dict[str, str],
    seconds: float,
) -> None:
    """Measure the cases and write down after each; the next call goes on with the rest."""
    path = RESULTS / f"{half}.json"
    before: dict[str, Any] = {"n_cases": 0, "rows": []}
    if path.exists():
        before = json.loads(path.read_text())
    rows: list[dict[str, Any]] = before["rows"]
    for n, case in enumerate(chosen[before["n_cases"] :], before["n_cases"] + 1):
        if time.process_time() > seconds:
            break
        rows += measured(case)
        result = {**versions, "n_cases": n, "n_all": len(chosen), "rows": rows}
        path.write_text(json.dumps(result, indent=0) + "\n")
        print(n, len(chosen), round(time.process_time()), case[1:], rows[-1]["regime"], flush=True)


def arguments(*halves: str) -> argparse.Namespace:
    """The command line: which half, if there are two, and how long."""
    parser = argparse.ArgumentParser()
    if halves:
        parser.add_argument("half", choices=halves)
    parser.add_argument("--seconds", type=float, default=1200)
    return parser.parse_args()
