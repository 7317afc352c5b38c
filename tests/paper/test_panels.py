"""Oracle: which experiments a store gave back, against those that were asked for."""

import pytest

from lazyrich._base import InputError
from lazyrich.paper import Panel
from lazyrich.paper import _panels as panels_module
from lazyrich.sweeps import grid
from lazyrich.training import preset


def test_an_experiment_that_is_removed_meanwhile_moves_no_other_into_its_place(monkeypatch):
    """Outcomes are handed over by position, which a shorter list would shift."""
    runs = grid(preset("committee"), {"seed": range(3)})
    monkeypatch.setattr(panels_module, "fill", lambda *args, **kwargs: ["second", "third"])
    with pytest.raises(InputError, match="1 of 3 experiments went missing"):
        panels_module.fill_figures(
            [{"runs": Panel(runs, axes=())}],
            lambda *found: None,
            store="nowhere",
            executor="serial",
            progress=False,
        )
