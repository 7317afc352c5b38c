"""What a figure consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure

from ._committee_run import CommitteeSettings


@dataclass(frozen=True)
class Preset:
    """Settings of a figure and how many seeds they are run with.

    Attributes:
        settings: what each seed runs.
        n_seeds: seeds 0 … n_seeds − 1, unless the caller asks for another number.
    """

    settings: CommitteeSettings
    n_seeds: int


@dataclass(frozen=True)
class Recipe:
    """One figure of the paper.

    Attributes:
        name: such as "fig1".
        statement: what the print claims, in a line.
        presets: by name, "quick" and "paper".
        run: one seed of the settings to a dataset over ``step``; the third argument is
            called at every record.
        statistics: the dataset with its ``seed`` dimension to the statistic of each
            claim of the figure, one value for each seed.
        draw: the dataset and a line on settings to a picture.
    """

    name: str
    statement: str
    presets: Mapping[str, Preset]
    run: Callable[[CommitteeSettings, int, Callable[[], None]], xr.Dataset]
    statistics: Callable[[xr.Dataset], dict[str, list[float]]]
    draw: Callable[[xr.Dataset, str], Figure]
