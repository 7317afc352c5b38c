"""A folder as ``reproduce`` leaves it, made by hand within milliseconds."""

import json

import numpy as np
import xarray as xr

from lazyrich.paper import CLAIMS
from lazyrich.paper._files import write_panels
from lazyrich.plots import house_style, new_figure, write_figure

MADE = {"lazyrich": "0.1.0", "commit": "abc1234+", "jax": "0.10", "machine": "Linux <x86>"}
VALUES = {  # by name, of a figure 1 with three seeds
    "train falls first": ([8.0, 4.0, "inf"], "holds"),
    "lazy until fitted": ([0.7, 0.6, 0.8], "does not hold"),
    "debiased alignment grows": ([-1.5, 4.0, 10.0], "undecided"),
    "alignment beats chance": (["nan", 1.0, 1.2], "undecided"),
}


def panel():
    """Two values of α, three seeds; the curve is α·step + seed, once not finite."""
    alpha, seed, step = np.array([0.5, 2.0]), np.arange(3), np.array([0, 1, 10])
    curve = alpha[:, None, None] * step + seed[:, None]
    curve[0, 2, 1] = np.inf
    return xr.Dataset(
        {
            "train_loss": (("alpha", "seed", "save_step"), curve.astype(np.float32)),
            "status": (("alpha", "seed"), np.full((2, 3), "ok")),
        },
        {"alpha": alpha, "seed": seed, "save_step": step},
    )


def rows(figure="fig1"):
    """The claims file's rows: those of ``VALUES``, the first value as the median."""
    found = []
    for claim in CLAIMS:
        if claim.figure == figure and claim.name in VALUES:
            values, verdict = VALUES[claim.name]
            low, *_, high = sorted(map(float, values))
            numbers = {"values": values, "median": values[0], "interval": [str(low), str(high)]}
            text = {
                "name": claim.name,
                "sentence": claim.sentence,
                "where": claim.where,
                "statistic": claim.statistic,
                "threshold": claim.threshold,
            }
            found.append(text | numbers | {"verdict": verdict})
    return found


def reproduced(folder, *, notes=("A run diverged <after> step 3.",), **provenance):
    """Write figure 1 as if it had been reproduced; gives the folder."""
    write_panels(folder / "fig1.nc", {"runs": panel()}, {"title": "fig1"})
    with house_style():
        figure, [axes] = new_figure(1, 1)
        axes.plot([1, 2])
        write_figure(figure, folder, "fig1")
    entry = {
        "preset": "quick",
        "seeds": [0, 1, 2],
        "settings": "D=6, ε<1",
        "provenance": MADE | provenance,
        "notes": list(notes),
        "claims": rows(),
    }
    text = json.dumps({"figures": {"fig1": entry}}, ensure_ascii=False)
    (folder / "claims.json").write_text(text, encoding="utf-8")
    return folder
