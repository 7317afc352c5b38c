"""Misprints of the paper, each decided by a measurement.

The correction is a formula of ``lazyrich.theory``; what both it and the printed formula are
compared with uses neither. Nothing here changes what the figures compute.
"""

from ._errata import Erratum as Erratum
from ._errata import errata as errata
