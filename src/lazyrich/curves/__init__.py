"""Numbers from recorded curves: steps at which a loss falls, delays, phases, peaks, trends.

Pure functions of curves, which need no network.

Vocabulary: a loss *falls* at the first step at which it is at or below a level, an
accuracy *rises* at the first at or above one; the *delay* (time to grok) runs from the
fall or rise on the training points to that on the test points; it is *censored* if the
test curve does not get there before the run ends; a *phase* names the outcome of a run.
"""

from ._accuracy import accuracy_delay as accuracy_delay
from ._accuracy import rise_step as rise_step
from ._concordance import concordance as concordance
from ._delay import GrokkingDelay as GrokkingDelay
from ._delay import fall_step as fall_step
from ._delay import grokking_delay as grokking_delay
from ._learning_curve_shape import departure_step as departure_step
from ._learning_curve_shape import peak_before as peak_before
from ._learning_curve_shape import value_at as value_at
from ._phase import Phase as Phase
from ._phase import phase as phase
from ._trend import count_peaks as count_peaks
from ._trend import ordered_share as ordered_share
from ._trend import rank_correlation as rank_correlation
from ._trend import relative_spread as relative_spread
