"""Pictures of a race: survival, speed-up, search, fit against generalisation, sensitivity."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from lazyrich._base import InputError
from lazyrich.plots import figure_style, new_figure

from ._delay_law import delay_of, fit_law
from ._edition import Edition
from ._results import Results
from ._rows import Row
from ._statistics import kaplan_meier
from ._summary import ArmSummary, summarize

Summaries = Mapping[str, Mapping[str, ArmSummary]]
Panel = Callable[[Axes, Mapping[str, ArmSummary], Edition], None]

# Okabe and Ito's colours for families, dashes for the arms of one.
_FAMILY_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
Dash = str | tuple[int, tuple[int, ...]]
_DASHES: tuple[Dash, ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (5, 1, 1, 1, 1, 1)),
)
_MARKERS = ("o", "s", "^", "D", "v")


class LineStyle(TypedDict):
    """How the line of an arm is drawn, in words of matplotlib."""

    color: str
    linestyle: Dash
    marker: NotRequired[str]


def draw_race(results: Results) -> dict[str, Figure]:
    """All pictures of the tasks that have runs with fresh seeds.

    Args:
        results: published rows.

    Returns:
        Figures by name: ``survival``, ``speed-up``, ``search``, ``fit``, ``sensitivity``.

    Raises:
        InputError: if no task has such runs.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import default_edition
        >>> draw_race(Results(tempfile.mkdtemp(), default_edition()))
        Traceback (most recent call last):
        ...
        lazyrich._base._errors.InputError: No arm has runs with fresh seeds yet; run
        `lazyrich race` first.
    """
    edition = results.edition
    found = {task: summarize(results, task) for task in edition.task}
    found = {task: arms for task, arms in found.items() if arms}
    if not found:
        raise InputError("No arm has runs with fresh seeds yet; run `lazyrich race` first.")
    panels = {
        "survival": _survival,
        "speed-up": _speed_up,
        "search": _search,
        "fit": _fit,
        "sensitivity": _sensitivity,
    }
    with figure_style():
        return {name: _figure(found, edition, panel) for name, panel in panels.items()}


def _figure(found: Summaries, edition: Edition, panel: Panel) -> Figure:
    """One panel for each task, two in a row, and one legend."""
    n_columns = min(2, len(found))
    n_rows = math.ceil(len(found) / n_columns)
    figure, axes = new_figure(n_rows, n_columns)
    figure.set_size_inches(5.2 * n_columns, 3.9 * n_rows + 0.8)
    handles: dict[str, Artist] = {}
    for place, (task, arms) in zip(axes, found.items(), strict=False):
        panel(place, arms, edition)
        place.set_title(edition.task[task].title, fontsize=8)
        handles |= dict(zip(*place.get_legend_handles_labels()[::-1], strict=True))
    for spare in axes[len(found) :]:
        spare.set_axis_off()
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def _style(edition: Edition, arm: str) -> LineStyle:
    families = list(dict.fromkeys(one.family for one in edition.arm.values()))
    family = edition.arm[arm].family
    beside = [name for name, one in edition.arm.items() if one.family == family]
    return {
        "color": _FAMILY_COLORS[families.index(family) % len(_FAMILY_COLORS)],
        "linestyle": _DASHES[beside.index(arm) % len(_DASHES)],
        "marker": _MARKERS[beside.index(arm) % len(_MARKERS)],
    }


def _line_style(edition: Edition, arm: str) -> LineStyle:
    style = _style(edition, arm)
    return {"color": style["color"], "linestyle": style["linestyle"]}


def _plain_ticks(
    axis: Axis, *, base: float = 10.0, subs: Sequence[float] = (1.0, 2.0, 5.0)
) -> None:
    """Numbers in full on a logarithmic axis, few enough to read."""
    axis.set_major_locator(LogLocator(base=base, subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if base != 10:
        axis.set_minor_locator(NullLocator())


def _survival(axes: Axes, arms: Mapping[str, ArmSummary], edition: Edition) -> None:
    """The share of fresh runs without the target, by step."""
    for arm, one in arms.items():
        limit = float(edition.task[one.task].max_steps)
        times = one.times.ravel()
        curve = kaplan_meier(np.minimum(times, limit), times <= limit)
        steps = np.concatenate([[0.0], curve.steps, [limit]])
        shares = np.concatenate([[1.0], curve.shares, curve.shares[-1:]])
        axes.step(
            steps, shares, where="post", label=edition.arm[arm].title, **_line_style(edition, arm)
        )
    axes.set(xlabel="steps", ylabel="share of runs without the target", ylim=(-0.02, 1.02))
    axes.set_xlim(0, None)


def _speed_up(axes: Axes, arms: Mapping[str, ArmSummary], edition: Edition) -> None:
    """Restricted mean of the baseline over that of the arm, with its interval."""
    shown = {arm: one for arm, one in arms.items() if one.speed_up is not None}
    names = list(shown)[::-1]
    for place, arm in enumerate(names):
        ratio = shown[arm].speed_up
        assert ratio is not None
        color = _style(edition, arm)["color"]
        axes.plot([ratio.low, ratio.high], [place, place], color=color)
        axes.plot(ratio.value, place, "o", color=color, markersize=4)
    axes.axvline(1.0, color="0.6", linewidth=0.8)
    axes.set_yticks(range(len(names)), [edition.arm[arm].title for arm in names], fontsize=7.5)
    axes.set(xscale="log", xlabel=f"times as fast as {edition.arm[edition.rules.baseline].title}")
    _plain_ticks(axes.xaxis, base=2.0, subs=(1.0,))


def _search(axes: Axes, arms: Mapping[str, ArmSummary], edition: Edition) -> None:
    """The expected fastest of k tuning trials."""
    for arm, one in arms.items():
        if len(one.best_after):
            trials = np.arange(1, len(one.best_after) + 1)
            axes.plot(
                trials, one.best_after, label=edition.arm[arm].title, **_line_style(edition, arm)
            )
    axes.set(xlabel="trials", ylabel="expected best time, steps", yscale="log")
    _plain_ticks(axes.yaxis)


def _fit(axes: Axes, arms: Mapping[str, ArmSummary], edition: Edition) -> None:
    """When the training rows are fitted against when the target is met."""
    for arm, one in arms.items():
        style = _style(edition, arm)
        if math.isfinite(one.fit_time):
            axes.plot(
                one.fit_time,
                one.mean_time.value,
                style["marker"],
                color=style["color"],
                linestyle="none",
                label=edition.arm[arm].title,
            )
    low = min([one.fit_time for one in arms.values() if math.isfinite(one.fit_time)] or [1.0])
    high = max(float(edition.task[one.task].max_steps) for one in arms.values())
    axes.plot([low, high], [low, high], color="0.7", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="median step of the fit",
        ylabel="restricted mean step of the target",
    )
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)


def _sensitivity(axes: Axes, arms: Mapping[str, ArmSummary], edition: Edition) -> None:
    """Every tuning trial of every arm; misses stand at the right edge."""
    shown = [arm for arm, one in arms.items() if len(one.tuning_times)][::-1]
    for place, arm in enumerate(shown):
        one = arms[arm]
        limit = float(edition.task[one.task].max_steps)
        times = np.sort(one.tuning_times)
        is_miss = ~np.isfinite(times)
        jitter = np.linspace(-0.25, 0.25, len(times))
        color = _style(edition, arm)["color"]
        axes.plot(times[~is_miss], place + jitter[~is_miss], "o", color=color, markersize=3)
        axes.plot(
            np.full(is_miss.sum(), 1.15 * limit),
            place + jitter[is_miss],
            "x",
            color="0.7",
            markersize=3,
        )
    names = [f"{edition.arm[arm].title} ({arms[arm].near_best:.0%})" for arm in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.set(xscale="log", xlabel="steps to the target of each tuning trial (×: missed)")
    _plain_ticks(axes.xaxis)


def draw_delay_law(rows: Mapping[str, Sequence[Row]], edition: Edition) -> Figure:
    """Delay against rate × decay on each task, with the fitted line and where it ends.

    Args:
        rows: published trials by task.
        edition: whose tasks they are.

    Returns:
        The figure; arrows up are runs that had not generalised at T_max.

    Example:
        >>> from lazyrich.race import default_edition
        >>> rows = [
        ...     {"seed": s, "rate_times_decay": p, "fit_time": 10, "time": 10 + 1 / p,
        ...      "max_steps": 9000}
        ...     for p in (1e-3, 2e-3, 4e-3) for s in range(3)
        ... ]
        >>> len(draw_delay_law({"teacher": rows}, default_edition()).axes)
        1
    """
    with figure_style():
        figure, axes = new_figure(1, len(rows))
        figure.set_size_inches(4.6 * len(rows), 3.8)
        for place, (task, of_task) in zip(axes, rows.items(), strict=True):
            _draw_law(place, of_task)
            place.set_title(edition.task[task].title, fontsize=8)
        axes[0].set_ylabel("steps from the fit to the target")
    return figure


def _draw_law(axes: Axes, rows: Sequence[Row]) -> None:
    law = fit_law(rows)
    fitted = [row for row in rows if row["fit_time"] is not None]
    for is_reached, marker, color in ((True, "o", "#0072B2"), (False, "^", "0.6")):
        some = [row for row in fitted if (row["time"] is not None) == is_reached]
        axes.plot(
            [row["rate_times_decay"] for row in some],
            [delay_of(row) for row in some],
            marker,
            color=color,
            markersize=3.5,
            label="generalised" if is_reached else "not by T_max (lower bound)",
        )
    products = [row["rate_times_decay"] for row in fitted if row["rate_times_decay"] is not None]
    x = np.geomspace(min(products), law.saturates_at, 20)
    slope = law.slope
    axes.plot(
        x,
        np.exp(law.intercept) * x**slope.value,
        color="#D55E00",
        label=f"slope {slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f})",
    )
    axes.axvline(law.saturates_at, color="0.7", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="rate × decay")
    axes.legend(loc="best", fontsize=6.5)
