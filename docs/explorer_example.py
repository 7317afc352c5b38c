"""Writes the runs that the page in the browser shows where there are no others."""

import json
from pathlib import Path

from lazyrich.explorer._document import document_of_panel
from lazyrich.paper._files import read_panels

ROOT = Path(__file__).parents[1]
FILE = ROOT / "src" / "lazyrich" / "explorer" / "page" / "example.json"
TITLE = (
    "An example that comes with lazyrich, not your own runs: delay over α and ε, the map of "
    "Figure 3 (D = 50, P = 400, N = 500, gradient flow)"
)

COMMON = ("dim", "n_train", "width", "learning_rate", "n_steps", "dynamics")


def example() -> str:
    """The map of Figure 3, with the losses of every run."""
    [*_, panel] = [
        one
        for name, one in read_panels((ROOT / "results" / "fig3.nc").read_bytes()).items()
        if name == "map"
    ]
    found = document_of_panel(panel, TITLE, names=("train_loss", "test_loss"), every=2)
    for one in found.index["runs"]:
        one["seconds"] = None  # of the machine, not of the run
    common = found.index["common"]
    found.index["common"] = {name: common[name] for name in COMMON}
    return json.dumps(found.with_curves(), ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    FILE.write_text(example(), encoding="utf-8")
