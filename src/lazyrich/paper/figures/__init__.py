"""One file a figure: its experiments, its statistics, its picture."""

from .._recipe import Recipe
from ._fig1 import FIG1
from ._fig4 import FIG4
from ._fig5 import FIG5
from ._fig11 import FIG11
from ._fig15 import FIG15
from ._fig19 import FIG19

FIGURES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (FIG1, FIG4, FIG5, FIG11, FIG15, FIG19)
}
"""Every figure that can be reproduced, by name."""
