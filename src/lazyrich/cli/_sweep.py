"""``lazyrich sweep`` and ``lazyrich show``: many experiments, each computed once."""

import math
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lazyrich._base import InputError, Json

from ._arguments import LocalPath, WholeNumber
from ._environment import loading, require_devices
from ._interrupt import how_to_go_on
from ._output import json_value, say, say_columns, say_json
from ._train import _read

if TYPE_CHECKING:
    import xarray as xr

    from lazyrich.sweeps import Outcome

_MOST_ROWS = 60
_LONG = 16
_RESULTS = ("status", "last_step", "train_loss", "test_loss", "wall_seconds", "key")

Where = Annotated[
    list[str] | None,
    Parameter(
        "--where",
        negative=(),
        help="Only experiments that meet this, such as alpha=1, epsilon<=0.1 or status=failed.",
    ),
]


def sweep(
    base: Annotated[
        str,
        Parameter(
            help="What every experiment starts from: a JSON file, or polynomial, modular, "
            "teacher, digits, transformer, parity, committee."
        ),
    ],
    /,
    *,
    over: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="An axis: alpha=0.1,1,10, seed=0:8 (0 to 7), alpha=log:0.1:10:5 (5 values).",
        ),
    ] = None,
    together: Annotated[
        list[str] | None,
        Parameter(
            "--zip",
            negative=(),
            help="Axes that change together: --zip alpha=1,2 --zip n_steps=100,400.",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        Parameter("--set", negative=(), help="Change a setting of all: --set n_steps=1000."),
    ] = None,
    store: Annotated[
        str, Parameter(help="Folder, or URL such as s3://bucket/folder, that keeps them.")
    ] = "sweep",
    executor: Annotated[
        str, Parameter(help="serial, threads:N, processes:N, or dask:ADDRESS.")
    ] = "serial",
    batch_size: Annotated[
        WholeNumber | None,
        Parameter(
            help="Most experiments in one call. Default: 64; on other executors 5 s of work."
        ),
    ] = None,
    limit: Annotated[
        WholeNumber, Parameter(help="Most experiments in a grid; they are counted first.")
    ] = 1_000_000,
    retry_failed: Annotated[
        bool, Parameter(negative=(), help="Compute those again that failed before.")
    ] = False,
    dry: Annotated[
        bool,
        Parameter(
            negative=(), help="Print how many experiments would be computed, and compute nothing."
        ),
    ] = False,
    tidy: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Afterwards set aside all damaged files of the store, and merge its packs.",
        ),
    ] = False,
) -> None:
    """Compute a grid of experiments, each once; run again to resume or to extend it."""
    with loading():
        from lazyrich import sweeps
        from lazyrich._base import read_changes
    if limit < 1:
        raise InputError(f"--limit is {limit}; it must be at least 1.")
    changes = read_changes(change or [])
    start = _read(base).changed(changes)
    axes = sweeps.axes_from_text(over or [], together or [], limit=limit)
    _require_apart(changes, axes)
    experiments = sweeps.grid(start, axes, limit=limit)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; it must be at least 1.")
    if dry:
        n_stored = sweeps.count_stored(experiments, store)
        say(f"{len(experiments)} experiments, {n_stored} of them are in {store}")
        return
    sweeps.require_lasting(store)
    require_devices()
    how_to_go_on(lambda: "stopped; run the same command to go on.")
    submission = sweeps.Submission(batch_size, retry_failed)
    dataset = sweeps.sweep(experiments, store=store, executor=executor, submission=submission)
    sizes = ", ".join(f"{name} {n}" for name, n in dataset.status.sizes.items())
    say(f"{len(experiments)} experiments{f' ({sizes})' if sizes else ''} in {store}")
    if tidy:
        kept = sweeps.Store(store)
        kept.tidy()
        say(f"{store} is tidy; set aside as damaged: {len(kept.set_aside)}")
    again = shlex.join(["lazyrich", "show", store])
    say(f"`{again}` lists them, lazyrich.sweeps.open_dataset({store!r}) opens them")


def show(
    store: Annotated[str, Parameter(help="Folder or URL of a sweep's store.")],
    /,
    *,
    where: Where = None,
    csv: Annotated[LocalPath | None, Parameter(help="Write every record as CSV.")] = None,
    parquet: Annotated[LocalPath | None, Parameter(help="Write every record as Parquet.")] = None,
    plot: Annotated[
        LocalPath | None, Parameter(help="Draw the losses: FILE.png, and the same as PDF.")
    ] = None,
    every: Annotated[
        bool, Parameter("--all", negative=(), help=f"List more than {_MOST_ROWS}.")
    ] = False,
    as_json: Annotated[
        bool,
        Parameter("--json", negative=(), help="Print the list as JSON alone; nan, inf as text."),
    ] = False,
) -> None:
    """List the experiments of a store, export them, plot them."""
    with loading():
        from lazyrich import sweeps
    if plot is not None and plot.suffix not in ("", ".pdf", ".png"):
        raise InputError(
            f"--plot is {plot}, and a picture is written as PNG and as PDF; give a name that ends "
            "in .png or .pdf, or in neither."
        )
    outcomes = sweeps.find(store, where or [])
    settings = sweeps.differing(outcomes, within_kinds=True)
    rows = [_row(outcome, settings, i) for i, outcome in enumerate(outcomes)]
    if as_json:
        say_json(rows)
    else:
        _print_rows(rows, store, len(rows) if every else _MOST_ROWS)
    for path, ending in ((csv, ".csv"), (parquet, ".parquet")):
        if path is not None:
            named = path if path.suffix == ending else Path(f"{path}{ending}")
            n_rows = sweeps.export(outcomes, named)
            if not as_json:
                say(f"{named}: {n_rows} rows")
    if plot is not None:
        _plot(sweeps.to_dataset(outcomes), plot, store, is_quiet=as_json)


def _row(outcome: "Outcome", settings: dict[str, list[object]], i: int) -> dict[str, Json]:
    row: dict[str, Json] = {name: json_value(values[i]) for name, values in settings.items()}
    row["status"] = outcome.status
    row["last_step"] = int(outcome.steps[-1]) if len(outcome.steps) else None
    for name in ("train_loss", "test_loss"):
        record = outcome.records.get(name)
        there = record is not None and len(record.values)
        row[name] = json_value(float(record.values[-1])) if there else None
    row["wall_seconds"] = outcome.wall_seconds if math.isfinite(outcome.wall_seconds) else None
    row["key"] = outcome.key
    if outcome.error:
        row["error"] = outcome.error.splitlines()[0]
    return row


def _print_rows(rows: list[dict[str, Json]], store: str, most: int) -> None:
    settings = {name for row in rows for name in row} - {*_RESULTS, "error"}
    n_rows = {name: sum(row.get(name) is not None for row in rows) for name in settings}
    cells = {
        name: [_cell(name, row.get(name)) for row in rows[:most]]
        for name in dict.fromkeys(name for row in rows for name in row if name != "error")
    }
    # The kind first, then what most experiments have and is short, in the order of the fields.
    is_long = {name: max(map(len, cells[name])) > _LONG for name in cells}
    order = [name for name in cells if name in settings]
    order.sort(key=lambda name: (name != "experiment", -n_rows[name], is_long[name]))
    columns = [(name.replace("_", " "), cells[name]) for name in (*order, *_RESULTS)]
    n_left = say_columns(f"{len(rows)} experiments in {store}", columns, always=len(_RESULTS))
    if n_left:
        say(f"{n_left} more settings differ; --json lists them all")
    if len(rows) > most:
        say(f"and {len(rows) - most} more; --all lists them, --where picks some")
    for row in rows:
        if row.get("error"):
            say(f"{_cell('key', row['key'])} failed: {row['error']}")


def _cell(name: str, value: Json) -> str:
    if value is None:
        return ""
    if name == "key":
        return str(value)[:8]
    if name == "experiment":
        return str(value).rsplit(".", 1)[-1]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(dataset: "xr.Dataset", path: Path, store: str, *, is_quiet: bool) -> None:
    with loading():
        from lazyrich import plots
    if not {"train_loss", "test_loss"} <= set(dataset):
        raise InputError(
            "There is nothing to plot, for none of these experiments has a train and a test loss; "
            "leave --plot out, or choose others with --where."
        )
    plots.require_figure_place(path.parent, path.stem)
    figure = plots.plot_sweep_losses(dataset, title=store)
    files = plots.write_figure(figure, path.parent, path.stem)
    if not is_quiet:
        say(", ".join(str(file) for file in files))


def _require_apart(changes: Iterable[str], axes: Iterable[str | tuple[str, ...]]) -> None:
    """Refuse a setting that is an axis too, whose value would count for nothing."""
    names = [name for axis in axes for name in ((axis,) if isinstance(axis, str) else axis)]
    for path in changes:
        for name in names:
            if f".{path}".endswith(f".{name}") or f".{name}".endswith(f".{path}"):
                raise InputError(
                    f"{path} is set with --set and {name} is an axis, which gives it other values; "
                    "leave one of them out."
                )
