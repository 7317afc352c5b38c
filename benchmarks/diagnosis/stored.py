"""The verdicts on the runs of the paper's figures, from what a store holds; nothing is trained.

Of each panel of each figure the first seed, and of a large grid a few runs evenly spread over
it, are diagnosed where the training rows are fitted and at the end. Some tasks are read from
files: set LAZYRICH_DATA for the images. Stops after --seconds of processor time; the next call
goes on with the rest.

    python benchmarks/diagnosis/stored.py STORE
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from lazyrich import InputError
from lazyrich.cli._stored_runs import records_of
from lazyrich.diagnosis import Diagnosis, diagnose_records
from lazyrich.paper import FIGURES, Panel
from lazyrich.sweeps import Outcome, Store, differing, experiment_key

RESULTS = Path(__file__).parent / "results" / "stored.json"
MOST = 8


def chosen(panel: Panel, store: Store) -> tuple[int, list[Outcome]]:
    """How many runs a panel has, and those that are diagnosed, as far as they are stored."""
    keys = list(dict.fromkeys(experiment_key(one) for one in panel.experiments))
    places = np.unique(np.linspace(0, len(keys) - 1, MOST).round().astype(int))
    some = [keys[place] for place in places]
    found = store.outcomes([key for key in some if key in store])
    return len(keys), [found[key] for key in some if key in found]


def verdicts(outcome: Outcome) -> dict[str, Any]:
    """Both verdicts on a run, or why there are none."""
    try:
        run = records_of(outcome)
        return {when: kept(diagnose_records(run, when)) for when in ("fit", "end")}
    except InputError as error:
        return {when: {"regime": "undecided", "reason": str(error)} for when in ("fit", "end")}


def kept(found: Diagnosis) -> dict[str, Any]:
    """What is kept of a diagnosis."""
    bounds = {
        name: [found.to_dict()["readings"][name][end] for end in ("low", "high")]
        for name in ("linearization_gap", "kernel_cosine")
        if name in found.readings
    }
    causes = [one.cause for one in found.advice]
    about = {"regime": str(found.regime), "reason": found.reason, "step": found.setup["step"]}
    return {**about, **bounds, "causes": causes}


def main() -> None:
    """Diagnose, and write down after each panel."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--seconds", type=float, default=1200)
    given = parser.parse_args()
    store = Store(given.store)
    store.scan()
    panels: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(one["figure"], one["panel"]) for one in panels}
    for figure, spec in FIGURES.items():
        for name, panel in spec.panels("paper", (0,)).items():
            if (figure, name) in done or time.process_time() > given.seconds:
                continue
            n, outcomes = chosen(panel, store)
            settings = differing(outcomes, within_kinds=True) if outcomes else {}
            runs = [
                {"settings": {k: str(v[i]) for k, v in settings.items()}, **verdicts(one)}
                for i, one in enumerate(outcomes)
            ]
            panels.append({"figure": figure, "panel": name, "n": n, "runs": runs})
            RESULTS.write_text(json.dumps(panels, indent=1, ensure_ascii=False) + "\n")
            counts = [[one[when]["regime"] for one in runs] for when in ("fit", "end")]
            print(figure, name, n, round(time.process_time()), *counts, flush=True)


if __name__ == "__main__":
    main()
