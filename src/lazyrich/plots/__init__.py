"""Figures from labelled datasets.

One style for every figure: steps on a log axis, dashed train and solid test in the
colour of the network, the median over seeds with a band from lowest to highest,
colours that are distinct with colour blindness. Computes nothing but medians and ranges.

Vocabulary: a *curve* is a dataset variable over ``seed`` and ``save_step``; a *dial* is a
swept parameter, such as α; a *map* shows a number over two of them.
"""

from lazyrich._base import require_extra

require_extra("plots", __name__)


from ._curves import draw_curve as draw_curve
from ._curves import draw_line as draw_line
from ._curves import draw_losses as draw_losses
from ._curves import draw_net_and_twin as draw_net_and_twin
from ._curves import step_axis as step_axis
from ._run import draw_run as draw_run
from ._run import text_curve as text_curve
from ._style import COLORS as COLORS
from ._style import find_figure as find_figure
from ._style import house_style as house_style
from ._style import legend_below as legend_below
from ._style import new_figure as new_figure
from ._style import require_figure_place as require_figure_place
from ._style import write_figure as write_figure
from ._sweep import draw_sweep as draw_sweep
from ._sweep_axis import dial_axis as dial_axis
from ._sweep_axis import dial_colors as dial_colors
from ._sweep_axis import dial_ticks as dial_ticks
from ._sweep_axis import draw_dial as draw_dial
from ._sweep_axis import draw_map as draw_map
from ._sweep_axis import draw_path as draw_path
