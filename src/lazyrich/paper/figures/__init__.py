"""One file a figure: its experiments, its statistics, its picture."""

from .._recipe import Recipe
from ._fig1 import FIG1
from ._fig3 import FIG3
from ._fig4 import FIG4
from ._fig7 import FIG7

FIGURES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FIG1, FIG3, FIG4, FIG7)}
"""Every figure that can be reproduced, by name."""
