"""Oracle: the keys in the results that were computed and kept, one file for each figure."""

from pathlib import Path

import pytest
import xarray as xr

from lazyrich.paper import FIGURES
from lazyrich.sweeps import experiment_key

ROOT = Path(__file__).parents[2] / "results"
FILES = sorted(ROOT.glob("*/fig*.nc"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_keys_of_kept_results_are_those_of_now(path):
    kept = set()
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        for panel in tree.subtree:
            if "key" in panel:
                kept |= set(panel["key"].values.ravel().tolist()) - {""}
        seeds = sorted({int(s) for panel in tree.subtree for s in panel.coords.get("seed", ())})
    panels = FIGURES[path.stem].panels(path.parent.name, seeds)
    now = {experiment_key(one) for panel in panels.values() for one in panel.experiments}
    assert kept
    assert kept == now
