"""Everything that was reproduced on one page: a single HTML file that needs no network.

Reads what ``reproduce`` wrote and computes only the errata. ``page.html`` is the
template, ``page.css`` and ``page.js`` go into the file as they are.
"""

from lazyrich._base import require_extra

require_extra("report", "The report")

from ._page import write_report as write_report
