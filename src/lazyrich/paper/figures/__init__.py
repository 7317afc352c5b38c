"""One file a figure: its experiments, its statistics, its picture."""

from .._figure_spec import FigureSpec
from ._fig1 import FIG1
from ._fig2 import FIG2
from ._fig3 import FIG3
from ._fig4 import FIG4
from ._fig5 import FIG5
from ._fig6 import FIG6
from ._fig7 import FIG7
from ._fig8 import FIG8
from ._fig9 import FIG9
from ._fig10 import FIG10
from ._fig11 import FIG11
from ._fig12 import FIG12
from ._fig13 import FIG13
from ._fig14 import FIG14
from ._fig15 import FIG15
from ._fig16 import FIG16
from ._fig17 import FIG17
from ._fig18 import FIG18
from ._fig19 import FIG19

FIGURES: dict[str, FigureSpec] = {
    spec.name: spec
    for spec in (
        FIG1,
        FIG2,
        FIG3,
        FIG4,
        FIG5,
        FIG6,
        FIG7,
        FIG8,
        FIG9,
        FIG10,
        FIG11,
        FIG12,
        FIG13,
        FIG14,
        FIG15,
        FIG16,
        FIG17,
        FIG18,
        FIG19,
    )
}
"""Every figure that can be reproduced, by name."""
