"""The commands: each parses, calls one function, prints."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from lazyrich._base import require_extra

require_extra("cli", "The command line")

from cyclopts import App, Parameter

from lazyrich import __version__

from ._arguments import LocalPath, WholeNumber
from ._diagnose import diagnose
from ._environment import loading, require_devices
from ._explore import explore
from ._interrupt import how_to_go_on
from ._output import console, say
from ._race import race
from ._sweep import show, sweep
from ._train import train
from ._verdicts import show_verdicts

app = App(
    name="lazyrich",
    help="Is this network lazy or rich, will it generalise late, and what makes it generalise "
    "sooner?",
    version=__version__,
    suppress_keyboard_interrupt=False,  # main says how to go on
)

app.command(train)
app.command(sweep)
app.command(show)
app.command(diagnose)
app.command(explore)
app.command(race)

Out = Annotated[LocalPath, Parameter(help="Folder for pictures, datasets and the claims file.")]
AsJson = Annotated[bool, Parameter("--json", negative=(), help="Print the claims as JSON alone.")]


@app.command
def reproduce(
    figures: Annotated[list[str], Parameter(help="fig1, fig2, … or all.", negative=())],
    *,
    preset: Annotated[
        Literal["quick", "paper", "authors"],
        Parameter(
            help="quick: wide networks, minutes; paper: the authors' settings; "
            "authors: their own draw, one run."
        ),
    ] = "quick",
    seeds: Annotated[
        WholeNumber | None,
        Parameter(help="How many seeds; a verdict needs 3. Default: the preset's."),
    ] = None,
    out: Out = Path("reproduction"),
    store: Annotated[
        str | None,
        Parameter(help="Folder or URL that keeps the runs. Default: the folder store in OUT."),
    ] = None,
    executor: Annotated[
        str | None,
        Parameter(
            help="serial, threads:N, processes:N, or dask:ADDRESS. Default: threads:2, on a GPU "
            "serial."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        Parameter(
            "--set",
            negative=(),
            help="Change a setting of every run: --set alpha=4 --set learning_rate=1.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute figures of the paper, draw them, and judge their claims."""
    with loading():
        from lazyrich import paper, sweeps  # loads jax, xarray and matplotlib
        from lazyrich._base import read_changes
    if store is not None:
        sweeps.require_lasting(store)
    require_devices()
    how_to_go_on(lambda: "stopped; run the same command to go on.")
    read_changes(change or [])  # which refuses what cannot be read; the results name it as typed
    typed = {
        name.strip(): value for name, _, value in (text.partition("=") for text in change or [])
    }
    made = paper.reproduce(
        figures,
        preset=preset,
        out=out,
        store=store,
        executor=executor,
        n_seeds=seeds,
        changes=typed,
        progress=True,
    )
    results = paper.read_results(out)
    show_verdicts({found.figure: results[found.figure] for found in made}, as_json=as_json)
    if not as_json:
        for found in made:
            say(f"{found.figure}: {', '.join(str(path) for path in found.files)}")
        again, page = (
            shlex.join(["lazyrich", word, "--out", str(out)]) for word in ("claims", "report")
        )
        say(f"claims: {out / 'claims.json'} (`{again}` shows them again)")
        say(f"`{page}` makes one page of pictures, verdicts and data.")


@app.command
def claims(*, out: Out = Path("reproduction"), as_json: AsJson = False) -> None:
    """Show the claims table of figures that were reproduced earlier."""
    with loading():
        from lazyrich import paper
    show_verdicts(paper.read_results(out), as_json=as_json)


@app.command
def report(
    *,
    out: Annotated[LocalPath, Parameter(help="The folder that `lazyrich reproduce` wrote.")] = Path(
        "reproduction"
    ),
    to: Annotated[LocalPath, Parameter(help="The page, one HTML file.")] = Path("report.html"),
) -> None:
    """Write figures, verdicts, data and errata to one HTML page that works offline."""
    with loading():
        from lazyrich import explorer, paper
    page = paper.write_report(
        out, to, explorer=explorer.page_text(), explorer_links=explorer.figure_links()
    )
    say(f"report: {page} ({page.stat().st_size / 1e6:.1f} MB, open it in a browser)")


@app.command
def data(
    dataset: Annotated[Literal["mnist"], Parameter(help="Which data set.")],
    /,
    *,
    to: Annotated[
        LocalPath | None, Parameter(help="Folder to write to. Default: where image tasks look.")
    ] = None,
    source: Annotated[
        str | None,
        Parameter("--from", help="Address of a folder with the files. Default: known mirrors."),
    ] = None,
) -> None:
    """Fetch a data set, checked by hash; good files are not fetched again."""
    with loading():
        from lazyrich import tasks
    fetch = {"mnist": tasks.download_mnist}[dataset]
    folder = fetch(to, url=source, on_file=lambda name, action: say(f"{name}: {action}"))
    say(f"{dataset}: {folder}")


def run(arguments: list[str] | None) -> None:
    """Parse arguments and call the command that they name; every error is raised."""
    app.console = console()
    app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
