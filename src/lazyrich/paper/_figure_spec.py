"""What a figure consists of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure

from lazyrich._base import Config

Panels = Mapping[str, xr.Dataset]
"""What was measured, by panel: each over the panel's axes, ``seed`` and ``step``."""


@dataclass(frozen=True)
class Panel:
    """Experiments that lie in one grid.

    Attributes:
        experiments: with every seed of the figure; two panels may share some.
        axes: names of the settings that become dimensions, besides ``seed``; a setting
            stays a dimension also where it has one value only.

    Example:
        >>> from lazyrich.sweeps import grid
        >>> from lazyrich.training import CommitteeExperiment
        >>> base = CommitteeExperiment(dim=5, width=20, n_train=30, n_steps=10)
        >>> panel = Panel(grid(base, {"alpha": [1.0, 4.0], "seed": [0, 1]}), ("alpha",))
        >>> len(panel.experiments)
        4
    """

    experiments: Sequence[Config]
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the paper.

    Attributes:
        name: such as "fig1".
        statement: what the paper claims, in a line.
        n_seeds: by preset, of those that the figure has, how many seeds it is run with; a
            panel may take fewer, the first ones.
        captions: by preset, the settings in a line.
        panels: from the preset and the seeds to the experiments.
        statistics: from what was measured to the statistic of each claim of the figure,
            one value for each seed, inf where it is never reached, NaN (a ``Value`` says
            why) where it could not be measured.
        plot: from what was measured to a picture; the text is the caption.

    Example:
        >>> from lazyrich.paper import FIGURES
        >>> FIGURES["fig1"].name, FIGURES["fig1"].n_seeds["quick"]
        ('fig1', 3)
    """

    name: str
    statement: str
    n_seeds: Mapping[str, int]
    captions: Mapping[str, str]
    panels: Callable[[str, Sequence[int]], Mapping[str, Panel]]
    statistics: Callable[[Panels], Mapping[str, Sequence[float]]]
    plot: Callable[[Panels, str], Figure]
