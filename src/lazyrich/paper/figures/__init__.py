"""One file a figure: its experiments, its statistics, its picture."""

from .._recipe import Recipe
from ._fig1 import FIG1
from ._fig4 import FIG4
from ._fig6 import FIG6
from ._fig12 import FIG12

FIGURES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FIG1, FIG4, FIG6, FIG12)}
"""Every figure that can be reproduced, by name."""
