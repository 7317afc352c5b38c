"""The command line: parses, calls one function, prints."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lazyrich import __version__
from lazyrich._ground import InputError

from ._arguments import WholeNumber
from ._sweep import show, sweep
from ._train import train

app = App(
    name="lazyrich",
    help="Is this network lazy or rich, will it generalise late, and what makes it sooner?",
    version=__version__,
    suppress_keyboard_interrupt=False,  # main says how to go on
)

app.command(train)
app.command(sweep)
app.command(show)

Out = Annotated[Path, Parameter(help="Folder for pictures, datasets and the claims file.")]
AsJson = Annotated[bool, Parameter("--json", negative=(), help="Print the claims as JSON alone.")]


@app.command
def reproduce(
    figures: Annotated[list[str], Parameter(help="fig1, fig2, … or all.", negative=())],
    *,
    preset: Annotated[
        Literal["quick", "paper"],
        Parameter(help="The authors' settings, or the same shown in seconds."),
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
    executor: Annotated[str, Parameter(help="serial, processes:N, or dask:ADDRESS.")] = "serial",
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
    from lazyrich import paper  # loads jax, xarray and matplotlib
    from lazyrich._ground import read_changes

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
    verdicts = paper.read_verdicts(out)
    verdicts = {found.figure: verdicts[found.figure] for found in made}
    _show_verdicts(verdicts, as_json=as_json)
    if not as_json:
        for found in made:
            print(f"{found.figure}: {', '.join(str(path) for path in found.files)}")
        print(f"claims: {out / 'claims.json'} (`lazyrich claims --out {out}` shows them again)")


@app.command
def claims(*, out: Out = Path("reproduction"), as_json: AsJson = False) -> None:
    """Show the claims table of figures that were reproduced earlier."""
    from lazyrich import paper

    _show_verdicts(paper.read_verdicts(out), as_json=as_json)


@app.command
def report(
    *,
    out: Annotated[Path, Parameter(help="The folder that `lazyrich reproduce` wrote.")] = Path(
        "reproduction"
    ),
    to: Annotated[Path, Parameter(help="The page, one HTML file.")] = Path("report.html"),
) -> None:
    """Put figures, verdicts, data and errata on one page that opens without a network."""
    from lazyrich import paper

    page = paper.write_report(out, to)
    print(f"report: {page} ({page.stat().st_size / 1e6:.1f} MB, open it in a browser)")


@app.command
def data(
    dataset: Annotated[Literal["mnist"], Parameter(help="Which data set.")],
    /,
    *,
    to: Annotated[
        Path | None, Parameter(help="Folder to write to. Default: where image tasks look.")
    ] = None,
    source: Annotated[
        str | None,
        Parameter("--from", help="Address of a folder with the files. Default: known mirrors."),
    ] = None,
) -> None:
    """Fetch a data set, checked by hash; good files are not fetched again."""
    from lazyrich import tasks

    fetch = {"mnist": tasks.download_mnist}[dataset]
    folder = fetch(to, url=source, on_file=lambda name, action: print(f"{name}: {action}"))
    print(f"{dataset}: {folder}")


def _show_verdicts(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures, indent=1, ensure_ascii=False))
        return
    console = Console()
    for name, figure in figures.items():
        seeds = f"{len(figure['seeds'])} seed{'s' if len(figure['seeds']) > 1 else ''}"
        table = Table(title=f"{name}: preset {figure['preset']}, {seeds}", title_justify="left")
        table.add_column("claim and its statistic", overflow="fold")
        table.add_column("measured", overflow="fold")
        table.add_column("holds if", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        for row in figure["claims"]:
            colour = {"holds": "green", "does not hold": "red"}.get(row["verdict"], "yellow")
            low, high = map(_short, row["interval"])
            table.add_row(
                f"{row['name']}\n[dim]{escape(row['statistic'])}[/dim]",
                f"{_short(row['median'])} [dim]{low} to {high}[/dim]",
                row["threshold"],
                f"[{colour}]{row['verdict']}[/{colour}]",
            )
        console.print(table)
        for note in figure["notes"]:
            console.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True)
    if figures:
        console.print(
            "[dim]measured: median over seeds and its interval (the range of three seeds, "
            "95 % bootstrap of more); inf: never reached[/dim]"
        )


def _short(value: float | str) -> str:
    return f"{float(value):.3g}"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; leaves with exit code 2 and one sentence on bad input."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except (InputError, cyclopts.CycloptsError) as error:
        sentence = " ".join(str(error).split())
        print(f"lazyrich: {sentence}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        how = str(stop) or "stopped; finished runs are kept, run the same command to go on."
        print(f"lazyrich: {how}", file=sys.stderr)
        # Seeds still running in threads would hold the process until they are done.
        os._exit(130)
