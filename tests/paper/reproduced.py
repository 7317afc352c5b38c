"""A folder as ``reproduce`` leaves it, made by hand within milliseconds."""

import numpy as np
import xarray as xr

from lazyrich.paper import CLAIMS, Result, judge
from lazyrich.paper._files import write_panels
from lazyrich.paper._results import add_result
from lazyrich.paper._value import missing
from lazyrich.plots import figure_style, new_figure, write_figure

MADE = {"lazyrich": "0.1.0", "commit": "abc1234+", "jax": "0.10", "machine": "Linux <x86>"}
VALUES = {  # by preset and name, of a figure 1
    "quick": {
        "train loss falls first": [8.0, 4.0, 9.0],  # holds
        "lazy until fitted": [0.7, 0.6, 0.8],  # does not hold
        "debiased alignment grows": [-1.5, 4.0, 10.0],  # undecided
        "alignment over random labels grows": [missing("diverged"), 1.2, float("inf")],  # undecided
    },
    "authors": {
        "train loss falls first": [3.0],  # met
        "lazy until fitted": [0.7],  # not met
    },
}
VALUES["paper"] = VALUES["quick"]


def panel():
    """Two values of α, three seeds; the curve is α·step + seed, once not finite."""
    alpha, seed, step = np.array([0.5, 2.0]), np.arange(3), np.array([0, 1, 10])
    curve = alpha[:, None, None] * step + seed[:, None]
    curve[0, 2, 1] = np.inf
    return xr.Dataset(
        {
            "train_loss": (("alpha", "seed", "step"), curve.astype(np.float32)),
            "status": (("alpha", "seed"), np.full((2, 3), "ok")),
        },
        {"alpha": alpha, "seed": seed, "step": step},
    )


def verdicts(preset):
    """On the claims of ``VALUES``, in the order of the table."""
    values = VALUES[preset]
    return tuple(
        judge(claim, values[claim.name], is_one_draw=preset == "authors")
        for claim in CLAIMS
        if claim.figure == "fig1" and claim.name in values
    )


def result(preset="quick", *, notes=("A run diverged <after> step 3.",), **provenance):
    """What figure 1 came to."""
    seeds = (0,) if preset == "authors" else (0, 1, 2)
    return Result(seeds, "D=6, ε<1", MADE | provenance, tuple(notes), verdicts(preset))


def reproduced(folder, *, presets=("quick",), **provenance):
    """Write figure 1 as if it had been reproduced; gives the folder."""
    for preset in presets:
        own = folder if preset == "quick" else folder / preset
        own.mkdir(exist_ok=True)
        write_panels(own / "fig1.nc", {"runs": panel()}, {"title": "fig1"})
        with figure_style():
            figure, [axes] = new_figure(1, 1)
            axes.plot([1, 2])
            write_figure(figure, own, "fig1")
        add_result(folder, "fig1", preset, result(preset, **provenance))
    return folder
