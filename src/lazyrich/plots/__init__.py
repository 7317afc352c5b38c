"""Figures from labelled datasets.

One style for every figure: steps on a log axis, dashed train and solid test in the
colour of the network, the median over seeds with a band from lowest to highest,
colours that are distinct with colour blindness. Computes only medians and ranges.

Vocabulary: a *curve* is a dataset variable over ``seed`` and ``step``; a *swept parameter*
is the setting that varies over a sweep, such as α; a *map* shows a number over two of them.
"""

from lazyrich._base import require_extra

require_extra("plots", __name__)


from ._curves import BAND as BAND
from ._curves import has_bands as has_bands
from ._curves import plot_curve as plot_curve
from ._curves import plot_line as plot_line
from ._curves import plot_losses as plot_losses
from ._curves import plot_network_and_linearized as plot_network_and_linearized
from ._curves import step_axis as step_axis
from ._run import plot_run as plot_run
from ._run import text_curve as text_curve
from ._style import COLORS as COLORS
from ._style import figure_style as figure_style
from ._style import find_figure as find_figure
from ._style import legend_below as legend_below
from ._style import new_figure as new_figure
from ._style import require_figure_place as require_figure_place
from ._style import write_figure as write_figure
from ._sweep import plot_sweep_losses as plot_sweep_losses
from ._sweep_axis import plot_map as plot_map
from ._sweep_axis import plot_path as plot_path
from ._sweep_axis import plot_sweep as plot_sweep
from ._sweep_axis import sweep_axis as sweep_axis
from ._sweep_axis import sweep_colors as sweep_colors
from ._sweep_axis import sweep_ticks as sweep_ticks
