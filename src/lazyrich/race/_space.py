"""Search spaces: from quasi-random points of the unit cube to settings."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator
from scipy.stats import qmc

from lazyrich._base import Config, InputError, Json

_DIGITS = 4


class Range(Config):
    """Numbers from low to high.

    Attributes:
        low: the least, above zero on a log scale.
        high: the largest.
        scale: "log" or "linear".
        zero: share of the unit interval, from its beginning, that means 0 instead.

    Raises:
        InputError: if the range is empty, or a log scale does not begin above zero.

    Example:
        >>> Range(low=0.01, high=1.0).at(0.5), Range(low=1, high=2, zero=0.2).at(0.1)
        (0.1, 0.0)
    """

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"
    zero: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise InputError(
                f"the range {self.low} to {self.high} on a {self.scale} scale holds nothing; give "
                "low below high, and above zero on a log scale"
            )
        return self

    def at(self, u: float) -> float:
        """The number at a place of the unit interval, to four digits."""
        if u < self.zero:
            return 0.0
        u = (u - self.zero) / (1 - self.zero)
        if self.scale == "linear":
            value = self.low + u * (self.high - self.low)
        else:
            value = math.exp(math.log(self.low) + u * math.log(self.high / self.low))
        return float(f"{value:.{_DIGITS}g}")


class Choice(Config):
    """One of several values.

    Attributes:
        of: the values; the text "none" is None.

    Example:
        >>> Choice(of=("none", 512)).at(0.4), Choice(of=("none", 512)).at(0.6)
        (None, 512)
    """

    of: tuple[int | float | str, ...] = Field(min_length=1)

    def at(self, u: float) -> int | float | str | None:
        """The value at a place of the unit interval, which they share equally."""
        value = self.of[min(int(u * len(self.of)), len(self.of) - 1)]
        return None if value == "none" else value


def _kind_of_knob(given: object) -> str:
    is_choice = isinstance(given, Choice) or (isinstance(given, Mapping) and "of" in given)
    return "choice" if is_choice else "range"


Knob = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choice, Tag("choice")], Discriminator(_kind_of_knob)
]
"""A choice has ``of``; what has not is taken for a range, so that an error is about one of them."""


def sobol_points(
    space: Mapping[str, Range | Choice], n: int, *, seed: int
) -> list[dict[str, Json]]:
    """The first n points of a scrambled Sobol sequence, as settings.

    Args:
        space: a range or choice for each setting, by its path.
        n: number of points.
        seed: of the scrambling.

    Returns:
        Settings by path, one dictionary a point.

    Example:
        >>> points = sobol_points({"rate": Range(low=0.1, high=10)}, 4, seed=0)
        >>> sorted(int(point["rate"] > 1) for point in points)  # two in each half
        [0, 0, 1, 1]

    References:
        Dahl et al. (2023), Benchmarking Neural Network Training Algorithms (AlgoPerf),
        arXiv:2306.07179, whose external tuning takes quasi-random points.
    """
    if not space:
        return [{} for _ in range(n)]
    sampler = qmc.Sobol(len(space), scramble=True, rng=np.random.default_rng(seed))
    cube = sampler.random_base2(math.ceil(math.log2(max(n, 1))))[:n]
    return [
        {path: part.at(float(u)) for (path, part), u in zip(space.items(), row, strict=True)}
        for row in cube
    ]
