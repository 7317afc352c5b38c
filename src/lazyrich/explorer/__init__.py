"""The page in the browser: interactive exact dynamics, and stored runs.

Puts one HTML file together, and serves it on the loopback address. The equations are those
of ``lazyrich.theory``, written again in JavaScript and compared with it in the tests.
Changes nothing and writes nothing but the page; trains only what it is asked to.

Vocabulary: a *document* is what the page shows of a store, a run, a figure or a diagnosis;
a *job* is a run that the page has asked the server for.
"""

from ._document import Document as Document
from ._page import figure_links as figure_links
from ._page import page_text as page_text
from ._server import ExplorerServer as ExplorerServer
from ._source import read_document as read_document
