"""Figure 3: what α and ε do to grokking: losses, paths, and maps over both."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import ordered_share
from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_line,
    plot_losses,
    plot_map,
    plot_path,
    plot_sweep,
    step_axis,
    sweep_colors,
    sweep_ticks,
)
from lazyrich.sweeps import grid
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import (
    NotRecordedError,
    Run,
    all_at,
    all_delays,
    along,
    concordance_of,
    concordances,
    each_run,
    rows_along,
    run_at,
)
from .._seed_values import caption_above, plot_movement, steps_label, with_all_claims
from .._value import NO_CONTRAST, missing, not_recorded
from ._fig1 import lazy_share

# Gradient flow to convergence, at a hundredth of the cost of the steps it stands for.
_FLOW = CommitteeExperiment(
    dim=50, width=500, n_train=400, n_steps=1_000_000, dynamics="flow", has_split=True
)
_ALPHA = {"epsilon": 0.25, "learning_rate": 0.5, "label_scale": 2.0}
_AUTHORS = _FLOW.changed({"dim": 100, "n_train": 550})
_MAP = {"linearized": False, "has_split": False, "n_probe": 200}
# Of (b) neither α nor the number of steps is known: it is drawn and judged at two α.
HALF, ONE = 0.5, 1.0
_BOTH = {"alpha": [HALF, ONE]}
_EPSILON = {"n_probe": 200}
# The authors' own draw, step by step; of (e) 16 of the 14 × 14 cells, for a fifth of the
# authors' 1.1·10⁵ steps, which would take an hour.
_PRINTED = _AUTHORS.changed({"dynamics": "descent", "printed": PrintedDraw()})
PRINTED_ALPHAS = [2.0**k for k in (-5, -2, -1, 0, 1, 2, 3, 4, 5)]
PRINTED_ALPHA = _PRINTED.changed(_ALPHA | {"n_train": 450, "n_steps": 60_000})
PRESETS = {
    "authors": {
        "alpha": (PRINTED_ALPHA, {"alpha": PRINTED_ALPHAS}),
        "map": (
            _PRINTED.changed(_MAP | {"learning_rate": 20.0, "n_steps": 20_000}),
            {"alpha": [0.4, 2.0, 4.0, 5.6], "epsilon": [0.02, 0.1, 0.2, 0.28]},
        ),
    },
    # Along α twenty times as many points as inputs: enough for the delay to vanish where
    # the net is rich.
    "quick": {
        "alpha": (
            _FLOW.changed(_ALPHA | {"n_train": 1000}),
            {"alpha": [2.0**k for k in (-5, -3, -1, 1, 3, 5, 12)]},
        ),
        "epsilon": (
            _FLOW.changed(_EPSILON),
            _BOTH | {"epsilon": [0.02, 0.04, 0.08, 0.16, 0.32, 0.64]},
        ),
        "map": (
            _FLOW.changed(_MAP),
            {
                "alpha": [0.4, 0.8, 2.8, 5.6],
                "epsilon": [0.02, 0.04, 0.14, 0.28],
            },
        ),
    },
    # The authors' data and settings. They stopped (a) after 6·10⁴ steps and (e) after
    # 1.1·10⁵ steps at twenty times the rate; of (b) the settings are not known.
    "paper": {
        "alpha": (
            _AUTHORS.changed(_ALPHA | {"n_train": 450, "n_steps": 300_000}),
            {"alpha": [*PRINTED_ALPHAS, 2.0**8, 2.0**12]},
        ),
        "epsilon": (
            _AUTHORS.changed(_EPSILON | {"n_steps": 10_000_000}),
            _BOTH | {"epsilon": [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]},
        ),
        "map": (
            _AUTHORS.changed(_MAP | {"n_steps": 2_200_000}),
            {
                "alpha": [round(0.4 * k, 1) for k in range(1, 15)],
                "epsilon": [round(0.02 * k, 2) for k in range(1, 15)],
            },
        ),
    },
}
_N_MAP_SEEDS = 5
_DRAWN = 5
_LEVELS = ((0.1, COLORS["norm"], "o"), (0.5, COLORS["population"], "s"))

Rgba = tuple[float, float, float, float]


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Runs along α, along ε, and over both."""
    found = {}
    for name, (base, axes) in PRESETS[preset].items():
        chosen = seeds[:_N_MAP_SEEDS] if name == "map" else seeds
        found[name] = Panel(grid(base, {**axes, "seed": chosen}), tuple(axes))
    return found


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    found = _along_alpha(panels["alpha"]) | _over_map(panels["map"])
    if "epsilon" in panels:
        found |= _along_epsilon(panels["epsilon"])
    return with_all_claims("fig3", panels, found)


def _along_alpha(panel: xr.Dataset) -> dict[str, list[float]]:
    alphas, delays = panel.alpha.values, all_delays(panel)
    seen = np.where(np.isfinite(delays.delay), delays.delay, -np.inf).max(axis=0)
    return {
        "delay grows with alpha": _ranks(alphas, delays.delay),
        "delay grows with alpha at half": _ranks(alphas, all_delays(panel, 0.5).delay),
        "delay vanishes at small alpha": (
            [float(v) for v in delays.delay[0] / seen]
            if len(alphas) > 1
            else [missing(NO_CONTRAST)] * panel.sizes["seed"]
        ),
        "ratio vanishes at small alpha": [float(v) for v in delays.ratio[0]],
        "final loss grows with alpha": concordances(panel, "alpha", _end),
        "large alpha approaches kernel regression": each_run(
            panel,
            lambda run: run.converged("test_loss") / run.end("kernel_regression_loss"),
            alpha=alphas[-1],
        ),
    }


def _along_epsilon(panel: xr.Dataset) -> dict[str, list[float]]:
    found = {}
    for alpha, said in ((HALF, ""), (ONE, ", alpha 1")):
        for name, function in (
            ("small epsilon delays longer", lambda run: run.delay().delay),
            ("small epsilon delays longer relative to training", lambda run: run.delay().ratio),
            ("small epsilon has a lower final loss", _end),
            ("epsilon sets the lazy plateau", lazy_share),
        ):
            found[f"{name}{said}"] = concordances(panel, "epsilon", function, alpha=alpha)
    return found | {
        "epsilon increases the initial alignment": concordances(
            panel, "epsilon", _alignment, untrained=True, alpha=ONE
        ),
        "kernel change grows with difficulty": [
            concordance_of(*pairs)
            for pairs in zip(
                rows_along(panel, "epsilon", _difficulty, alpha=ONE),
                rows_along(panel, "epsilon", _kernel_moved, alpha=ONE),
                strict=True,
            )
        ],
    }


def _over_map(panel: xr.Dataset) -> dict[str, list[float]]:
    delays = all_delays(panel)
    found: dict[str, list[float]] = {
        "map ordered in alpha": _ordered(delays.delay, 0, "rising"),
        "map ordered in epsilon": _ordered(delays.delay, 1, "falling"),
    }
    try:
        moved = _ordered(all_at(panel, "kernel_distance", delays.train_step), 0, "falling")
    except NotRecordedError as error:
        moved = [not_recorded(error.args[0])] * panel.sizes["seed"]
    found["kernel change at the fit falls with alpha"] = list(moved)
    return found


def _ordered(maps: np.ndarray, axis: int, trend: Literal["rising", "falling"]) -> list[float]:
    if maps.shape[axis] == 1:
        return [missing(NO_CONTRAST)] * maps.shape[-1]
    return [ordered_share(cells, axis, trend=trend) for cells in np.moveaxis(maps, -1, 0)]


def _alignment(run: Run) -> float:
    return run.start("population_centered_alignment")


def _difficulty(run: Run) -> float:
    return run.start("difficulty")


def _kernel_moved(run: Run) -> float:
    return run.converged("kernel_distance", floor=0.0)


def _end(run: Run) -> float:
    return run.converged("test_loss") / run.start("test_loss")


def _ranks(swept: np.ndarray, values: np.ndarray) -> list[float]:
    return [concordance_of(swept, column) for column in values.T]


def _ends(panel: xr.Dataset) -> np.ndarray:
    """Final test loss as a share of its start, over values and seeds; NaN where diverged."""
    loss = panel.test_loss.transpose(*panel.status.dims, "step").values
    return loss[..., -1] / loss[..., 0]


def plot(panels: Panels, caption: str) -> Figure:
    """Losses and the map of the delay; paths and the map of the kernel; what α and ε do."""
    columns = [("alpha", "α", "(a)", "(c)", "α varied", panels["alpha"])]
    if "epsilon" in panels:
        columns += [
            ("epsilon", "ε", "(b)", "(d)", f"ε varied, α = {a:g}", panels["epsilon"].sel(alpha=a))
            for a in (HALF, ONE)
        ]
    n = len(columns) + 1
    m = n + ("epsilon" in panels)
    figure, axes = new_figure(3, m)
    for column, (swept, symbol, losses, paths, varied, panel) in enumerate(columns):
        colors = _some(panel[swept].values)
        _plot_losses(axes[column], panel, swept, symbol, colors, f"{losses} losses, {varied}")
        title = f"{paths} displacement of the parameters, {varied}"
        _plot_paths(axes[m + column], panel, swept, symbol, colors, title)
        label = {"alpha": "laziness α", "epsilon": "initial alignment ε"}[swept]
        _plot_delays(axes[2 * m + column], panel, swept, label, f"delay, {varied}")
    _plot_maps(axes[n - 1], axes[m + n - 1], panels["map"])
    _plot_ends(axes[2 * m + n - 1], panels["alpha"])
    if "epsilon" in panels:
        _plot_kernel(axes[n], axes[m + n], panels["epsilon"].sel(alpha=[ONE]))
        axes[-1].remove()
    caption_above(figure, caption)
    return figure


def _some(values: np.ndarray) -> dict[float, Rgba]:
    """Colours of the few values that are drawn as curves, ends included."""
    places = np.unique(np.linspace(0, len(values) - 1, _DRAWN).round().astype(int))
    return sweep_colors(list(values[places]))


def _plot_losses(
    axes: Axes, panel: xr.Dataset, swept: str, symbol: str, colors: dict[float, Rgba], title: str
) -> None:
    names = [f"{who}{part}_loss" for who in ("", "linearized_") for part in ("train", "test")]
    relative = panel[names] / panel[names].isel(step=0)
    for value, color in colors.items():
        one = relative.sel({swept: value})
        plot_losses(axes, one, color=color, label=f"{symbol} = {value:.4g}")
        if swept == "epsilon":
            # The early plateau is the linearised network's.
            early = one.median("seed").linearized_test_loss
            axes.plot(early.step, early, color=color, linestyle=":", linewidth=1)
    if swept == "alpha":
        plot_line(axes, _kernel_line(panel), color="black", label="regression with $K_0$")
    else:
        axes.plot([], [], ":", color="0.4", label="linearized network, test")
    ylabel, xlabel = "mean squared error / its start", steps_label(panel)
    step_axis(axes, panel, title=title, ylabel=ylabel, xlabel=xlabel)
    axes.set_ylim(0, 1.3)
    legend_below(axes)


def _plot_paths(
    axes: Axes, panel: xr.Dataset, swept: str, symbol: str, colors: dict[float, Rgba], title: str
) -> None:
    seed = panel.seed.values[0]
    for value, color in colors.items():
        run = run_at(panel, seed=seed, **{swept: value})
        delay = run.delay()
        marks = [
            [run.at(name, float(step)) for name in ("change_inside", "change_outside")]
            for step in (delay.train_step, delay.test_step)
        ]
        plot_path(
            axes,
            run["change_inside"][1:],
            run["change_outside"][1:],
            marks=marks,
            color=color,
            label=f"{symbol} = {value:.4g}",
        )
    axes.axline((1, 1), (2, 2), color="0.7", linewidth=0.8, zorder=0)
    if swept == "alpha":
        # Over decades; what lies below is rounding.
        axes.set(xscale="log", yscale="log", xlim=(1e-3, 30), ylim=(1e-6, 30))
    else:
        axes.set(xlim=(0, None), ylim=(0, None))
    axes.set(
        title=title,
        xlabel=r"within the initial tangent space, $\|\Pi(\theta-\theta_0)\|/\|\theta_0\|$",
        ylabel=r"outside of it, $\|(1-\Pi)(\theta-\theta_0)\|/\|\theta_0\|$",
    )
    axes.plot([], [], "o", color="0.3", markerfacecolor="white", label="train loss is low")
    axes.plot([], [], "o", color="0.3", label="test loss is low")
    legend_below(axes)


def _plot_maps(delay_axes: Axes, kernel_axes: Axes, panel: xr.Dataset) -> None:
    delays = all_delays(panel)
    moved = all_at(panel, "kernel_distance", delays.train_step)
    for axes, values, title, label in (
        (delay_axes, delays.delay, "(e) time to grok", r"$t_{te} - t_{tr}$, steps"),
        (
            kernel_axes,
            moved,
            "not in the paper: kernel movement",
            r"$\|K-K_0\|/\|K_0\|$ when the train loss is low",
        ),
    ):
        cells = np.quantile(values, 0.5, axis=-1, method="inverted_cdf")
        plot_map(axes, panel.epsilon.values, panel.alpha.values, cells, label=label)
        axes.set(title=title, xlabel="initial alignment ε", ylabel="laziness α")
    n = int(np.isinf(delays.delay).sum())
    text = f"hatched: test loss never low ({n} of {delays.delay.size} runs)"
    delay_axes.annotate(text, (0, -0.32), xycoords="axes fraction", fontsize=7)


def _plot_delays(axes: Axes, panel: xr.Dataset, swept: str, label: str, title: str) -> None:
    for level, color, marker in _LEVELS:
        found = all_delays(panel, level)
        name = rf"loss at {level:g} of $L_{{tr}}(0)$"
        plot_sweep(axes, panel[swept].values, found.delay.T, color=color, label=name, marker=marker)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="delay, steps")
    axes.set_title(title)
    if swept == "epsilon":
        sweep_ticks(axes.xaxis, panel.epsilon.values)
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.set(yscale="log", ylabel=r"ratio $t_{te}/t_{tr}$ at 0.1")
    ratio = np.where(np.isinf(all_delays(panel).ratio), np.nan, all_delays(panel).ratio).T
    plot_sweep(right, panel[swept].values, ratio, color="0.5", label="ratio (right)", marker="x")
    low, high = np.nanmin(ratio), np.nanmax(ratio)
    right.set_yticks([], minor=True)
    sweep_ticks(
        right.yaxis, [v for v in (1, 1.5, 2, 3, 5, 10, 30, 100) if 0.8 * low < v < 1.5 * high]
    )
    legend_below(axes, right)


def _plot_ends(axes: Axes, panel: xr.Dataset) -> None:
    plot_sweep(axes, panel.alpha.values, _ends(panel).T, color=COLORS["net"], label="test loss")
    plot_line(axes, _kernel_line(panel), color="black", label="regression with $K_0$")
    axes.set(xscale="log", yscale="log", xlabel="laziness α", ylabel="final / initial test loss")
    axes.set_title("final test loss against α")
    legend_below(axes)


def _plot_kernel(alignment: Axes, movement: Axes, panel: xr.Dataset) -> None:
    """Over ε at one α: how aligned the kernel starts; how far it moves for how hard a task."""
    epsilons = panel.epsilon.values
    starts = along(panel, "epsilon", _alignment, untrained=True, alpha=ONE)
    plot_sweep(alignment, epsilons, starts, color=COLORS["alignment"], label="all seeds")
    alignment.set(xscale="log", yscale="log", xlabel="initial alignment ε")
    alignment.set_ylabel("centred alignment of $K_0$ over all inputs")
    alignment.set_title("§11: ε and the alignment, α = 1")
    sweep_ticks(alignment.xaxis, epsilons)
    plot_movement(movement, panel, "epsilon", "ε", alpha=ONE)


def _kernel_line(panel: xr.Dataset) -> xr.DataArray:
    line = panel.kernel_regression_loss / panel.test_loss
    return line.isel(step=0, alpha=-1)


FIG3 = FigureSpec(
    name="fig3",
    statement="Laziness α and misalignment (small ε) lengthen the delay; richer networks have"
    " a lower final loss.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw, step by step, N=500, D=100, centred; along α: P=450, "
        "ε=0.25, y=(β·x)², η=0.5·N/α²; map: P=550, η=20·N/α², 2·10⁴ of 1.1·10⁵ steps",
        "quick": "gradient flow, N=500, D=50, centred; along α: P=1000, ε=0.25, y=(β·x)², steps "
        "of 0.5·N/α²; along ε: P=400, steps of N/α², settings of the paper unknown; map: P=400",
        "paper": "gradient flow, N=500, D=100, centred; along α: P=450, ε=0.25, y=(β·x)², steps "
        "of 0.5·N/α²; along ε: P=550, steps of N/α², settings of the paper unknown; map: P=550, "
        "5 seeds",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
