"""Figure 7: output scale α, weight scale σ and label scale combine into one laziness."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import relative_spread
from lazyrich.models import MLPNet
from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_axis,
    sweep_colors,
)
from lazyrich.sweeps import grid
from lazyrich.tasks import PolynomialTask
from lazyrich.training import CommitteeExperiment, Experiment, GradientDescent

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import (
    Run,
    along,
    concordance_of,
    log_slope,
    measured,
    rows_along,
    run_at,
    table,
)
from .._seed_values import caption_above, shared_setting, steps_label, widths_of, with_all_claims
from .._value import NO_CONTRAST, missing
from ._fig3 import PRINTED_ALPHA, PRINTED_ALPHAS

# Labels are (β·x)², twice those of the other figures.
_QUICK = CommitteeExperiment(
    dim=30,
    width=100,
    n_train=250,
    epsilon=0.25,
    learning_rate=0.5,
    label_scale=2.0,
    n_steps=3_000_000,
    dynamics="flow",
    linearized=False,
)
BASES = {
    "quick": _QUICK,
    "paper": _QUICK.changed({"dim": 100, "width": 500, "n_train": 450}),
}
# The authors' own draw, step by step: over α the runs of Figure 3(a), over σ at α = 1 and the
# rate 0.5·N/σ².
_SIGMAS = (0.125, 0.25, 0.5, 2.0)
_PRINTED_SIGMA = PRINTED_ALPHA.changed({"n_steps": 50_000})
SCALES = {
    "quick": {
        "alpha": [2.0**k for k in (-1, 1, 3, 5)],
        "weight_scale": [0.5, 1.0, 2.0],
    },
    # Wider scales, as in the paper, take hours to come to rest: the smaller σ, the longer.
    "paper": {
        "alpha": [2.0**k for k in (-3, -1, 1, 3, 5)],
        ("weight_scale", "n_steps"): [(0.5, 3_000_000), (1.0, 500_000), (2.0, 200_000)],
    },
}
# Step by step, where equal things are equal to rounding.
N_DESCENT_STEPS = {"quick": 4_000, "paper": 5_000}
OUTPUT_SCALES = (0.3, 1.0, 3.0)
WEIGHT_SCALES = (0.3, 0.7, 2.0)


# §4.1: the third way of being lazy is width, in the parameterisation that has a limit.
WIDTHS = {"quick": (64, 256, 1024, 4096), "paper": (64, 128, 256, 512, 1024, 2048, 4096)}
NTK = Experiment(
    task=PolynomialTask(dim=10, n_train=100, n_test=200),
    net=MLPNet(activation="tanh", parameterisation="ntk", initial="normal"),
    optimizer=GradientDescent(learning_rate=0.2),
    n_steps=1000,
    n_evals=40,
    metrics=(),
    linearized=True,
)


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Over α and σ to convergence; and pairs of runs that should be the same one."""
    if preset == "authors":
        return {"map": Panel(_printed(seeds), ("alpha", "weight_scale"))}
    base, of_seed = BASES[preset], {"seed": seeds}
    stepped = base.changed({"dynamics": "descent", "n_steps": N_DESCENT_STEPS[preset]})
    # (σ, α, ε) ≡ (1, ασ, εσ) at η/σ²: with rates in units of N/α² that is the same number.
    units = [(sigma, base.epsilon * sigma) for sigma in WEIGHT_SCALES]
    # An α-scaled net at η/α² fits y as an unscaled one at η fits y/α.
    labels = [base.label_scale / alpha for alpha in OUTPUT_SCALES]
    widths = [(width,) for width in WIDTHS[preset]]
    return {
        "width": Panel(grid(NTK, {"net.widths": widths} | of_seed), ("widths",)),
        "map": Panel(grid(base, {**SCALES[preset], **of_seed}), ("alpha", "weight_scale")),
        "weights": Panel(
            grid(stepped, {"weight_scale": WEIGHT_SCALES} | of_seed), ("weight_scale",)
        ),
        "units": Panel(grid(stepped, {("alpha", "epsilon"): units} | of_seed), ("alpha",)),
        "outputs": Panel(grid(stepped, {"alpha": OUTPUT_SCALES} | of_seed), ("alpha",)),
        "labels": Panel(grid(stepped, {"label_scale": labels} | of_seed), ("label_scale",)),
    }


def _printed(seeds: Sequence[int]) -> list[CommitteeExperiment]:
    rates = [(sigma, 0.5 / sigma**2) for sigma in _SIGMAS]
    over_alpha = grid(PRINTED_ALPHA, {"alpha": PRINTED_ALPHAS, "seed": seeds})
    over_sigma = grid(_PRINTED_SIGMA, {("weight_scale", "learning_rate"): rates, "seed": seeds})
    return [*over_alpha, *over_sigma]


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    functions = [_of_map] + ([_of_pairs] if "weights" in panels else [])
    seeds = panels["map"].seed.values.tolist()
    rows = [
        {name: value for one in functions for name, value in one(panels, seed).items()}
        for seed in seeds
    ]
    found = {name: [row[name] for row in rows] for name in rows[0]}
    if "width" in panels:
        found["width reduces the gap to the linearized network"] = _slopes(panels["width"])
    return with_all_claims("fig7", panels, found)


def _slopes(panel: xr.Dataset) -> list[float]:
    """Slope over log width of the log of the largest gap between the test losses."""
    widths = widths_of(panel)
    gaps = rows_along(panel, "widths", _linearized_gap, untrained=True)
    return [log_slope(widths, row) for row in gaps]


def _linearized_gap(run: Run) -> float:
    return float(
        np.abs(run["test_loss"] - run["linearized_test_loss"]).max() / run.start("test_loss")
    )


def _of_map(panels: Panels, seed: int) -> dict[str, float]:
    change, loss = (cells_of(panels["map"], seed, function) for function in (_change, _final))
    return {
        "data collapse of the change": _largest_spread(change),
        "data collapse of the final loss": _largest_spread(loss),
        "change falls": _trend(change),
        "final loss grows": _trend(loss),
    }


def _of_pairs(panels: Panels, seed: int) -> dict[str, float]:
    return {
        "exact equivalence": _largest_gap(
            _pairs(panels["weights"], "weight_scale", seed),
            _pairs(panels["units"], "alpha", seed),
        ),
        # The larger α, the smaller the labels that stand for it.
        "label scale acts as a third scale": _largest_gap(
            _pairs(panels["outputs"], "alpha", seed),
            _pairs(panels["labels"], "label_scale", seed)[::-1],
        ),
    }


def cells_of(
    panel: xr.Dataset, seed: int, function: Callable[[Run], float]
) -> dict[float, list[float]]:
    """A function of a seed's runs, gathered by σ²α."""
    cells = defaultdict(list)
    for alpha in panel.alpha.values:
        for sigma in panel.weight_scale.values:
            run = run_at(panel, alpha=alpha, weight_scale=sigma, seed=seed)
            if run.status == "missing":  # no cell of this figure
                continue
            # Products that differ by rounding are one cell.
            place = float(f"{alpha * sigma**2:.9g}")
            cells[place].append(measured(function, run))
    return dict(sorted(cells.items()))


def _change(run: Run) -> float:
    return run.end("parameter_change")


def _final(run: Run) -> float:
    # Losses far below their start are compared with each other: all of them must be at rest.
    return run.converged("test_loss", floor=0.0) / run.start("test_loss")


def _end(run: Run) -> float:
    return run.relative("test_loss")


def _largest_spread(cells: dict[float, list[float]]) -> float:
    shared = [values for values in cells.values() if len(values) > 1]
    lost = [value for values in shared for value in values if np.isnan(value)]
    if lost or not shared:
        return lost[0] if lost else missing(NO_CONTRAST)
    return float(np.max([relative_spread(values) for values in shared]))


def _trend(cells: dict[float, list[float]]) -> float:
    places = [place for place, values in cells.items() for _ in values]
    return concordance_of(places, [value for values in cells.values() for value in values])


def _pairs(panel: xr.Dataset, axis: str, seed: int) -> list[Run]:
    return [run_at(panel, seed=seed, **{axis: value}) for value in sorted(panel[axis].values)]


def _largest_gap(ours: list[Run], theirs: list[Run]) -> float:
    """Largest relative gap between test losses, record by record; NaN if a run ended early."""
    faults = [run.fault for run in (*ours, *theirs) if run.fault]
    if faults or len(ours) != len(theirs):
        return missing(faults[0] if faults else NO_CONTRAST)
    curves = [
        [run["test_loss"] / run.start("test_loss") for run in runs] for runs in (ours, theirs)
    ]
    return float(max(np.max(np.abs(a / b - 1)) for a, b in zip(*curves, strict=True)))


def plot(panels: Panels, caption: str) -> Figure:
    """Losses along each scale; the collapse over σ²α; runs that are the same run."""
    panel = panels["map"]
    n = 3 + ("weights" in panels) + ("width" in panels)
    figure, axes = new_figure(2, n)
    above, below = axes[:n], axes[n:]
    if "width" in panels:
        _plot_widths(above[-1], panels["width"])
        below[-1].remove()
    # The α at which most σ were run, the middle one of these.
    n_there = (panel.status != "missing").isel(seed=0).sum("weight_scale")
    widest = panel.alpha.values[(n_there == n_there.max()).values]
    middle = float(widest[len(widest) // 2])
    _plot_losses(above[0], panel, "α = {0:g}", [(a, 1.0) for a in panel.alpha.values])
    above[0].set_title("(a) output scale α, σ = 1")
    _plot_losses(above[1], panel, "σ = {1:g}", [(middle, s) for s in panel.weight_scale.values])
    above[1].set_title(f"(b) weight scale σ, α = {middle:g}")
    equal = [(middle / s**2, s) for s in panel.weight_scale.values]
    _plot_losses(above[2], panel, "σ = {1:g}, α = {0:g}", equal)
    above[2].set_title(f"(c) σ²α = {middle:g}")
    _plot_collapse(below[0], panel, _change, r"relative change $\|w-w_0\|/\|w_0\|$")
    below[0].set_title("(d–f) relative change of the weights")
    _plot_collapse(below[1], panel, _end, "final / initial test loss")
    below[1].set_title("(d–f) final test loss")
    _plot_spreads(below[2], panel)
    if "weights" in panels:
        _plot_both_pairs(above[3], below[3], panels)
    caption_above(figure, caption)
    return figure


def _plot_widths(axes: Axes, panel: xr.Dataset) -> None:
    gaps = along(panel, "widths", _linearized_gap, untrained=True)
    label = "largest gap of the test losses"
    plot_sweep(axes, widths_of(panel), gaps, color=COLORS["linearized"], label=label)
    slope = np.median([log_slope(widths_of(panel), tuple(row)) for row in gaps])
    title = f"§4.1: width linearises (slope {slope:.2g})"
    sweep_axis(axes, title=title, xlabel="width N, ntk form", ylabel="gap / initial test loss")
    legend_below(axes)


def _plot_both_pairs(above: Axes, below: Axes, panels: Panels) -> None:
    _plot_pairs(
        above,
        _Rows(panels["weights"], "weight_scale", "σ = {:g}, α = 1"),
        _Rows(panels["units"].sortby("alpha"), "alpha", "σ = 1, α and ε times σ"),
        "exact: σ is α and ε at once",
    )
    labels = panels["labels"].sortby("label_scale", ascending=False)
    _plot_pairs(
        below,
        _Rows(panels["outputs"], "alpha", "α = {:.3g}, labels y"),
        _Rows(labels, "label_scale", "α = 1, labels y/α"),
        "exact: label scale acts as a third scale",
    )


def _relative(panel: xr.Dataset) -> xr.Dataset:
    losses = panel[["train_loss", "test_loss"]]
    return losses / losses.isel(step=0)


def _plot_losses(
    axes: Axes, panel: xr.Dataset, label: str, places: Sequence[tuple[float, float]]
) -> None:
    relative = _relative(panel)
    there = [(a, s) for a, s in places if _is_there(panel, a, s)]
    # The authors' rate is η/σ²: that many more of our steps, where the rate is one for all σ,
    # are one of theirs.
    is_one_rate = shared_setting(panel, "learning_rate") is not None
    for (alpha, sigma), color in sweep_colors(there).items():
        one = relative.sel(alpha=alpha, weight_scale=sigma)
        factor = sigma**2 if is_one_rate else 1.0
        theirs = one.assign_coords(step=one.step * factor)
        plot_losses(axes, theirs, color=color, label=label.format(alpha, sigma))
    ylabel = "mean squared error / its start"
    xlabel = rf"{steps_label(panel)}, $\eta=0.5\,N/(\alpha\sigma)^2$"
    step_axis(axes, panel, title="", ylabel=ylabel, xlabel=xlabel)
    axes.set_ylim(0, 1.3)
    legend_below(axes)


def _is_there(panel: xr.Dataset, alpha: float, sigma: float) -> bool:
    if alpha not in panel.alpha.values or sigma not in panel.weight_scale.values:
        return False
    return bool((panel.status.sel(alpha=alpha, weight_scale=sigma) != "missing").any())


def _plot_collapse(
    axes: Axes, panel: xr.Dataset, function: Callable[[Run], float], label: str
) -> None:
    """Against σ²α, and dotted against α, where the lines of different σ lie apart."""
    values = table(panel, ("alpha", "weight_scale"), function)
    alphas, sigmas = panel.alpha.values, panel.weight_scale.values
    colors = sweep_colors(list(sigmas))
    for k, (sigma, marker) in enumerate(zip(sigmas, "osD^v", strict=False)):
        measured = values[:, :, k]
        plot_sweep(
            axes,
            sigma**2 * alphas,
            measured,
            color=colors[sigma],
            label=f"σ = {sigma:g}",
            marker=marker,
        )
        axes.plot(alphas, np.median(measured, axis=0), ":", color=colors[sigma], linewidth=1)
    axes.plot([], [], ":", color="0.4", label="against α instead")
    axes.set(xscale="log", yscale="log", xlabel="σ²α", ylabel=label)
    legend_below(axes)


def _plot_spreads(axes: Axes, panel: xr.Dataset) -> None:
    """How far apart the runs of a cell are, cell by cell."""
    for function, color, label in (
        (_change, COLORS["net"], "relative change"),
        (_end, COLORS["norm"], "final test loss"),
    ):
        cells = [cells_of(panel, seed, function) for seed in panel.seed.values.tolist()]
        shared = [place for place, values in cells[0].items() if len(values) > 1]
        # A spread of zero has no place on a log axis.
        spreads = [[relative_spread(one[place]) or np.nan for place in shared] for one in cells]
        plot_sweep(axes, shared, spreads, color=color, label=label)
    axes.set(xscale="log", yscale="log", xlabel="σ²α", ylabel="max/min − 1 within equal σ²α")
    axes.set_title("quality of the collapse")
    legend_below(axes)


class _Rows(NamedTuple):
    """Runs along one setting, and what the legend calls them."""

    panel: xr.Dataset
    swept: str
    label: str

    def losses(self) -> xr.DataArray:
        """Test losses over their start, one row a value."""
        return _relative(self.panel).transpose(self.swept, ...).test_loss


def _plot_pairs(axes: Axes, wide: _Rows, dashed: _Rows, title: str) -> None:
    """Two rows of runs, each over the other: wide and pale, dashed and black."""
    colors = sweep_colors(list(wide.panel[wide.swept].values))
    pairs = zip(wide.losses(), dashed.losses(), colors.items(), strict=True)
    for k, (one, same, (value, color)) in enumerate(pairs):
        steps = one.step.values
        text = wide.label.format(value)
        axes.plot(steps, one.median("seed"), color=color, linewidth=4, alpha=0.5, label=text)
        again = dashed.label if k == 0 else "_"
        axes.plot(steps, same.median("seed"), "--", color="black", linewidth=0.9, label=again)
    step_axis(axes, wide.panel, title=title, ylabel="test loss / its start")
    axes.set_yscale("log")
    legend_below(axes)


FIG7 = FigureSpec(
    name="fig7",
    statement="Weight scale acts through σ²α, as output scale does; label scale is a third scale.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw, step by step; D=100, P=450, N=500, ε=0.25, y=(β·x)², "
        "centred, η=0.5·N/(ασ)²",
        "quick": "D=30, P=250, N=100, ε=0.25, y=(β·x)², centred; gradient flow in steps of "
        "0.5·N/α², pairs by 4000 such steps",
        "paper": "D=100, P=450, N=500, ε=0.25, y=(β·x)², centred; gradient flow in steps of "
        "0.5·N/α², pairs by 5000 such steps",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
