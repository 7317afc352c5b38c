"""From a curve to a number: when a loss falls, how long the test loss waits, how high it rose.

Functions of recorded curves only: never trains, never sees a network.

Vocabulary: a loss *falls* at the first step at which it is at or below a level; the
*delay* (time to grok) runs from the fall of the train loss to that of the test loss; a
delay is *censored* if the test loss never fell while it was watched.
"""

from ._delay import GrokkingDelay as GrokkingDelay
from ._delay import fall_step as fall_step
from ._delay import grokking_delay as grokking_delay
from ._shape import leave_step as leave_step
from ._shape import peak_before as peak_before
from ._shape import value_at as value_at
