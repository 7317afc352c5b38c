"""One file a figure: its settings, its statistics, its picture."""

from ._fig1 import FIG1 as FIG1
from ._fig4 import FIG4 as FIG4
