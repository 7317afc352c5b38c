"""``lazyrich race``: which method generalises sooner at equal tuning budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lazyrich._base import InputError, Json

from ._arguments import LocalPath
from ._environment import loading, require_devices
from ._interrupt import how_to_go_on
from ._output import say, say_columns, say_json

if TYPE_CHECKING:
    from lazyrich.race import Edition


def race(
    *,
    arm: Annotated[
        list[str] | None, Parameter(negative=(), help="An arm, such as muon. Default: all.")
    ] = None,
    task: Annotated[
        list[str] | None, Parameter(negative=(), help="A task, such as parity. Default: all.")
    ] = None,
    toml: Annotated[
        LocalPath | None,
        Parameter(help="Rules, tasks, arms and spaces of your own. Default: the package's."),
    ] = None,
    out: Annotated[LocalPath, Parameter(help="Folder for the published trials.")] = Path("race"),
    store: Annotated[
        str | None,
        Parameter(help="Folder or URL of the store of trials. Default: the folder store in OUT."),
    ] = None,
    executor: Annotated[
        str, Parameter(help="serial, threads:N, processes:N, or dask:ADDRESS.")
    ] = "serial",
    smoke: Annotated[
        bool,
        Parameter(
            negative=(), help="All arms on one tiny task, about a minute: a test that they run."
        ),
    ] = False,
    full: Annotated[
        bool, Parameter(negative=(), help="Tasks of the papers' sizes: minutes on a GPU.")
    ] = False,
    delay_law: Annotated[
        bool,
        Parameter(
            negative=(), help="Instead, train AdamW at many rates and decays: the delay law."
        ),
    ] = False,
    controls: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Instead, run the controls of the winning arms: equal rate × decay, equal scale.",
        ),
    ] = False,
    show: Annotated[
        bool, Parameter(negative=(), help="Run nothing; show what is published in OUT.")
    ] = False,
    figures: Annotated[
        bool, Parameter(negative=(), help="Also draw what is published, into OUT.")
    ] = False,
    as_json: Annotated[
        bool, Parameter("--json", negative=(), help="Print the table as JSON alone.")
    ] = False,
) -> None:
    """Compare methods said to generalise sooner; run again to resume."""
    with loading():
        from lazyrich import race as racing
        from lazyrich import sweeps
    editions = {"--smoke": smoke, "--full": full, "--toml": toml is not None}
    if len(asked := [flag for flag, is_given in editions.items() if is_given]) > 1:
        raise InputError(f"{' and '.join(asked)} are different races; give one of them.")
    _require_one_task(
        {"--show": show, "--controls": controls, "--delay-law": delay_law},
        {"--arm": arm, "--task": task, "--json": as_json, "--figures": figures, **editions},
    )
    edition = _edition(smoke=smoke, full=full, toml=toml)
    if toml is None:
        _require_tasks(edition, task or (), "".join(asked))
    edition.require_names(tuple(task or ()), tuple(arm or ()))
    if show and not out.is_dir():
        raise InputError(f"{out} is not a folder; give --out a folder that a race has written.")
    results = racing.Results(out, edition)
    if show and not results.is_recorded and not results.all_rows():
        raise InputError(f"{out} holds no race; give --out a folder that a race has written.")
    sweeps.require_executor(executor)
    if controls or delay_law or not show:
        sweeps.require_lasting(store if store is not None else str(out))
        require_devices()
        how_to_go_on(lambda: "stopped; run the same command to go on.")
    if delay_law:
        _law(edition, out, store, executor)
        return
    if controls:
        kept = str(out / "store") if store is None else store
        racing.run_controls(results, store=kept, executor=executor, progress=not as_json)
    elif not show:
        results = racing.race(
            arms=arm or (),
            tasks=task or (),
            edition=edition,
            out=out,
            store=store,
            executor=executor,
            progress=not as_json,
        )
    rows = racing.table(results, tasks=task or ())
    if as_json:
        say_json(rows)
    else:
        _print(rows, f"edition {edition.hash[:8]} in {out}")
    if figures:
        files = racing.write_figures(results)
        if not as_json:
            say(", ".join(map(str, files)))


def _edition(*, smoke: bool, full: bool, toml: Path | None) -> "Edition":
    from lazyrich import race as racing

    if smoke:
        return racing.smoke_edition()
    if full:
        return racing.full_edition()
    return racing.default_edition() if toml is None else racing.read_edition(toml)


def _require_tasks(edition: "Edition", tasks: Sequence[str], flag: str) -> None:
    """Refuse a task of the race of another size, and say which race has it."""
    from lazyrich import race as racing

    for task in tasks:
        if task in edition.task:
            continue
        if task in racing.default_edition().task:
            cure = f"leave {flag} out"
        elif task in racing.full_edition().task:
            cure = f"give --full instead of {flag}" if flag else "give --full"
        else:  # of no race, which the edition refuses with the nearest name
            continue
        raise InputError(
            f"The race {f'with {flag}' if flag else 'without --full'} has no task {task!r}, only "
            f"{', '.join(edition.task)}; take one that it has, or {cure}."
        )


def _require_one_task(instead: dict[str, bool], others: dict[str, object]) -> None:
    """Refuse flags of which one would be passed over without a word."""
    given = [flag for flag, is_given in instead.items() if is_given]
    useless = {"--controls": ("--arm", "--task"), "--delay-law": tuple(others)}
    given += [flag for flag in useless.get("".join(given), ()) if others[flag]]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} do not go together; leave one of them out.")


def _print(rows: list[dict[str, Json]], title: str) -> None:
    if not rows:
        say(f"{title}: no arm has runs with fresh seeds yet")
        return
    left_out = 0
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        names = [name for name in rows[0] if name not in ("arm", "settings", "task")]
        columns = [
            (
                name.replace("_", " "),
                ["" if row[name] is None else str(row[name]) for row in of_task],
            )
            for name in names
        ]
        arms = [("arm", [str(row["arm"]) for row in of_task])]
        left_out = max(left_out, say_columns(f"{task}, {title}", [*arms, *columns], always=0))
    if left_out:
        say(f"{left_out} more columns in a wider terminal, or with --json.")


def _law(edition: "Edition", out: Path, store: str | None, executor: str) -> None:
    with loading():
        from lazyrich import plots
        from lazyrich import race as racing
    plots.require_figure_place(out, "delay-law")
    kept = str(out / "store") if store is None else store
    rows = racing.measure_delay_law(edition=edition, out=out, store=kept, executor=executor)
    for task, of_task in rows.items():
        law = racing.fit_law(of_task)
        slope = law.slope
        say(
            f"{task}: slope {slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f}) up to rate × "
            f"decay {law.saturates_at:.2g}; {law.n_runs} runs, {law.n_censored} censored"
        )
    files = plots.write_figure(racing.draw_delay_law(rows, edition), out, "delay-law")
    say(", ".join(map(str, files)))
