"""Closed forms of the paper, and the committee machine's exact dynamics.

A reader finds every numbered equation here. Functions of arrays and of the two
statistics; never sees a network's parameters, a file or a clock.

Vocabulary: *statistics* are w̄ and M (Eq. 4); *alpha* is the output scale α,
*epsilon* the quadratic strength ε, *beta* the target direction β⋆, *t* flow time
(learning rate × steps).
"""

from ._statistics import Statistics as Statistics
from ._statistics import committee_output as committee_output
from ._statistics import infinite_width as infinite_width
from ._statistics import polynomial_target as polynomial_target
from ._statistics import statistics as statistics
