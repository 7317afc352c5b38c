"""``lazyrich explore``: the page in the browser, served on the loopback address."""

import sys
import webbrowser
from typing import Annotated

from cyclopts import Parameter

from ._arguments import WholeNumber
from ._environment import loading
from ._interrupt import how_to_go_on
from ._output import say


def explore(
    target: Annotated[
        str | None,
        Parameter(
            help="A store, the folder of a run or of a reproduction, a figure's .nc file, or a "
            "diagnosis (.json or .html). Default: an example."
        ),
    ] = None,
    /,
    *,
    port: Annotated[WholeNumber, Parameter(help="Default: any that is free.")] = 0,
    browser: Annotated[
        bool, Parameter(negative="--no-browser", help="Open the page in a browser.")
    ] = True,
    train: Annotated[
        bool,
        Parameter(negative=(), help="Let the page train runs on this machine; else it only reads."),
    ] = False,
) -> None:
    """Open a page in the browser: train a small network by its exact dynamics, inspect stored runs.

    The page is served on this machine alone, at an address with a random token, until Ctrl-C.
    """
    with loading():
        from lazyrich.explorer import ExplorerServer, read_document
    document = None if target is None else read_document(target)
    server = ExplorerServer(document, port=port, train=train)
    try:
        how_to_go_on(lambda: "the page is closed.")
        say(f"explore: {server.url} (Ctrl-C ends it)")
        sys.stdout.flush()  # what reads it through a pipe must not wait for the end
        if browser:
            webbrowser.open(server.url)
        server.serve()
    finally:
        server.close()
