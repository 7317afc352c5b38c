"""Figure 9: too few, intermediate and many points; and the edges that theory predicts."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.curves import fall_step
from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_curve,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_axis,
    sweep_colors,
)
from lazyrich.sweeps import grid
from lazyrich.theory import (
    eigenspace_sizes,
    goldilocks_range,
    initial_eigenvalues,
    learning_curve,
    target_power,
)
from lazyrich.training import CommitteeExperiment, PrintedDraw

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, each_run, least_of, log_slope, rows_along
from .._seed_values import caption_above, shared_number, steps_label, with_all_claims
from .._value import NO_CONTRAST, missing
from .._verdict import Claim

AUTHORS = CommitteeExperiment(
    dim=40,
    width=100,
    n_train=120,
    epsilon=0.5,
    learning_rate=0.5,
    n_steps=50_000,
    n_test=10_000,
    n_evals=160,
)
_KEYS = PrintedDraw(input_key=10, test_key=11, target_keys=(12,))
PRESETS = {
    "authors": AUTHORS.changed({"printed": _KEYS, "n_test": 1000, "precision": "float64"}),
    "paper": AUTHORS,
    # At the paper's 50, 120 and 500 points this net fails, groks and generalises at once.
    "quick": CommitteeExperiment(
        dim=25,
        width=500,
        n_train=120,
        epsilon=0.06,
        learning_rate=2.0,
        dynamics="flow",
        n_steps=20_000,
        n_test=2000,
    ),
}
PRINTED = (50, 120, 500)
SIZES = {
    "paper": (50, 90, 120, 200, 350, 500, 800, 1200, 2000),
    "quick": (50, 120, 200, 300, 500, 1000),
}
# §5: sizes at which regression with the initial kernel comes to generalise, as shares of D².
DIMS = {"paper": (10, 16, 25, 40), "quick": (10, 25)}
# Around the size at which the error halves; each is a shape of its own to compile for.
SHARES = {"paper": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "quick": (0.2, 0.3, 0.4)}
TERMS = ("variance_term", "misalignment_term", "linear_term")
GENERALISES = 0.1  # share of the initial loss; the threshold of every delay too
TOGETHER = 1.2  # t_te/t_tr, as in the claim on plenty of data
_FEWEST = 2  # sizes between which an edge can lie


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The three printed sizes, and a range of sizes around them by gradient flow."""
    base, axes = PRESETS[preset], ("n_train",)
    found = {"runs": Panel(grid(base, {"n_train": PRINTED, "seed": seeds}), axes)}
    if preset in SIZES:
        flow = base.changed({"dynamics": "flow"})
        found["range"] = Panel(grid(flow, {"n_train": SIZES[preset], "seed": seeds}), axes)
        for dim in DIMS[preset]:
            sizes = [round(share * dim**2) for share in SHARES[preset]]
            found[_kernel_panel(dim)] = Panel(_kernel_runs(dim, sizes, seeds), axes)
    return found


def _kernel_panel(dim: int) -> str:
    return f"kernel, D {dim}"


def _kernel_runs(dim: int, sizes: Sequence[int], seeds: Sequence[int]) -> list[CommitteeExperiment]:
    """Regression with the initial kernel; the one step of training is not looked at."""
    base = CommitteeExperiment(dim=dim, width=500, n_train=1, epsilon=0.1, n_steps=1)
    return grid(base, {"n_train": sizes, "seed": seeds})


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    few, right, many = PRINTED
    claims, runs = claims_of("fig9"), panels["runs"]

    def final(claim: str, size: int) -> list[float]:
        return each_run(runs, lambda run: _final(run, claims[claim]), n_train=size)

    gaps = rows_along(runs, "n_train", _gap)
    shares = [each_run(runs, _linear_share, n_train=size) for size in (few, many)]
    found: dict[str, Sequence[float]] = {
        "no generalisation with too little data": final(
            "no generalisation with too little data", few
        ),
        "late generalisation with intermediate data": each_run(runs, _ratio, n_train=right),
        "generalisation with intermediate data": final(
            "generalisation with intermediate data", right
        ),
        "no delay with plenty of data": each_run(runs, _ratio, n_train=many),
        "linear power dominates the failure": shares[0],
        "failure has more linear power": [a - b for a, b in zip(*shares, strict=True)],
        "terms sum to the loss": [-least_of([-gap for gap in row]) for row in gaps],
        "worse than random with too little data": final(
            "worse than random with too little data", few
        ),
    }
    if "range" in panels:
        edges = _measured(panels["range"])
        lower, upper = _predicted(panels["range"])
        found |= {
            "generalises from the predicted size": [edge / lower for edge in edges["lower"]],
            "kernel regression generalises from the predicted size": [
                edge / upper for edge in edges["kernel"]
            ],
            "delay ends at the predicted size": [edge / upper for edge in edges["upper"]],
        }
    if _kernel_panel(DIMS["quick"][0]) in panels:
        found["kernel regression needs D squared points"] = _dimension_slopes(panels)
    return with_all_claims("fig9", panels, {name: list(found[name]) for name in found})


def _ratio(run: Run) -> float:
    return run.delay().ratio


def _final(run: Run, claim: Claim) -> float:
    return run.settled("test_loss", claim, over=run.start("test_loss"))


def _end(run: Run) -> float:
    return run.relative("test_loss")


def _kernel(run: Run) -> float:
    return run.start("kernel_regression_loss") / run.start("test_loss")


def _linear_share(run: Run) -> float:
    return run.end("linear_term") / sum(run.end(name) for name in TERMS)


def _gap(run: Run) -> float:
    """Largest gap between the test loss and the sum of its terms, in standard errors."""
    total = sum(run[name] for name in TERMS)
    return float(np.max(np.abs(run["test_loss"] - total) / run["test_loss_error"]))


def _dimension_slopes(panels: Panels) -> list[float]:
    """Slope over log D of the log of the size at which regression with K₀ halves its error."""
    dims = [dim for dim in DIMS["paper"] if _kernel_panel(dim) in panels]
    halved = [
        [_edge(panels[_kernel_panel(dim)], row, 0.5) for row in _kernel_errors(panels, dim)]
        for dim in dims
    ]
    return [log_slope(dims, row) for row in zip(*halved, strict=True)]


def _kernel_errors(panels: Panels, dim: int) -> list[tuple[float, ...]]:
    return rows_along(panels[_kernel_panel(dim)], "n_train", _kernel, untrained=True)


# A loss that still falls settles on which side of the level it ends once it is below.
_LOW = Claim("fig9", "generalises", "", "", "final L_te/L_te(0)", high=GENERALISES)


def _measured(dataset: xr.Dataset) -> dict[str, list[float]]:
    """By seed, the P from which the net and the kernel generalise, and the net at once."""
    asked: dict[str, tuple[Callable[[Run], float], float]] = {
        "lower": (lambda run: _final(run, _LOW), GENERALISES),
        "kernel": (_kernel, GENERALISES),
        "upper": (_ratio, TOGETHER),
    }
    return {
        edge: [_edge(dataset, row, level) for row in rows_along(dataset, "n_train", measure)]
        for edge, (measure, level) in asked.items()
    }


def _edge(dataset: xr.Dataset, row: Sequence[float], level: float) -> float:
    """The P at which a row falls to a level; a row of nothing but never and NaN has none."""
    lost = [value for value in row if np.isnan(value)]
    if not np.isfinite(row).any():
        return lost[0] if lost else float("inf")
    if len(row) < _FEWEST:
        return missing(NO_CONTRAST)
    sizes = jnp.asarray(dataset.n_train.values, float)
    return float(fall_step(sizes, jnp.asarray(row, float), level))


def _spectrum(dataset: xr.Dataset) -> dict[str, jnp.ndarray]:
    """The initial kernel's spectrum and the target's power in it, of whatever direction."""
    dim, epsilon = int(shared_number(dataset, "dim")), shared_number(dataset, "epsilon")
    return {
        "eigenvalues": jnp.stack(initial_eigenvalues(dim, epsilon=epsilon)),
        "target_power": jnp.stack(target_power(jnp.eye(dim)[0])),
        "multiplicities": jnp.asarray(eigenspace_sizes(dim), float),
    }


def _predicted(dataset: xr.Dataset) -> tuple[float, float]:
    """Both edges of the range of sizes at which late generalisation can be seen."""
    dim = int(shared_number(dataset, "dim"))
    edges = goldilocks_range(**_spectrum(dataset), dim=dim, threshold=GENERALISES)
    return float(edges.lower), float(edges.upper)


def plot(panels: Panels, caption: str) -> Figure:
    """Above the losses, below their terms; on the right both against P."""
    dataset = panels["runs"]
    kernels = {dim: _kernel_panel(dim) for dim in DIMS["paper"] if _kernel_panel(dim) in panels}
    n = 3 + ("range" in panels) + bool(kernels)
    figure, axes = new_figure(2, n)
    titles = dict(zip(PRINTED, ("too few points", "intermediate", "plenty"), strict=True))
    for column, size in enumerate(dataset.n_train.values):
        one, title = dataset.sel(n_train=size), titles.get(int(size), "as set")
        above, below = axes[column], axes[n + column]
        _plot_losses(above, one, f"({'abc'[column]}) {title}: P = {size}")
        _plot_terms(below, one, f"({'def'[column]}) its terms: P = {size}")
    if "range" in panels:
        _plot_final(axes[3], panels["range"])
        _plot_ratio(axes[n + 3], panels["range"])
    if kernels:
        _plot_kernels(axes[n - 1], axes[-1], {dim: panels[name] for dim, name in kernels.items()})
    for one in axes:
        if one.has_data():
            legend_below(one)
        else:
            one.remove()
    caption_above(figure, caption)
    return figure


def _relative(dataset: xr.Dataset) -> xr.Dataset:
    """Each seed by its own start: seeds differ in the size of their target."""
    names = ["train_loss", "test_loss", *TERMS]
    found = dataset[names] / dataset.test_loss.isel(step=0)
    found["total"] = sum(found[name] for name in TERMS)
    return found


def _plot_losses(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    relative = _relative(dataset)
    plot_losses(axes, relative, color=COLORS["net"], label="test (dashed: train)")
    ylabel = "mean squared error / initial test loss"
    step_axis(axes, dataset, title=title, ylabel=ylabel, xlabel=steps_label(dataset))
    axes.set_ylim(bottom=0)


def _plot_terms(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    relative = _relative(dataset)
    for name, color, label, dashed in [
        ("test_loss", "net", "test loss", False),
        ("total", "sum", "sum (Eq. 6)", True),
        ("linear_term", "linear", "linear", False),
        ("misalignment_term", "misalignment", "misalignment", False),
        ("variance_term", "variance", "variance", False),
    ]:
        plot_curve(axes, relative, name, color=COLORS[color], label=label, dashed=dashed)
    ylabel = "mean squared error / initial test loss"
    step_axis(axes, dataset, title=title, ylabel=ylabel, xlabel=steps_label(dataset))
    axes.set_ylim(bottom=0)


def _plot_final(axes: Axes, dataset: xr.Dataset) -> None:
    sizes = dataset.n_train.values
    smooth = np.geomspace(sizes[0], sizes[-1], 300)
    spectrum = _spectrum(dataset)
    curve = np.array(learning_curve(**spectrum, n_train=jnp.asarray(smooth)).test_error)
    curve /= float(spectrum["target_power"].sum())
    axes.plot(
        smooth,
        np.where(curve > 0, curve, np.nan),
        ":",
        color=COLORS["norm"],
        label="$K_0$, predicted",
    )
    for measure, color, label in (
        (_kernel, "norm", "regression with $K_0$"),
        (_end, "net", "network, at the end"),
    ):
        plot_sweep(
            axes, sizes, along(dataset, "n_train", measure), color=COLORS[color], label=label
        )
    axes.axhline(GENERALISES, color="0.7", linewidth=0.8)
    _plot_predicted(axes, dataset)
    title = "not in the paper: test loss against P"
    ylabel = "test loss / initial test loss"
    sweep_axis(axes, title=title, xlabel="P, training points", ylabel=ylabel)
    # Past its rank the kernel's error is rounding, far below everything else.
    axes.set_ylim(1e-6, 10)


def _plot_ratio(axes: Axes, dataset: xr.Dataset) -> None:
    ratios = along(dataset, "n_train", _ratio)
    plot_sweep(axes, dataset.n_train.values, ratios, color=COLORS["net"], label="network")
    axes.axhline(TOGETHER, color="0.7", linewidth=0.8)
    edges = {name: np.median(values) for name, values in _measured(dataset).items()}
    for name, label in (("lower", "generalises"), ("upper", "no delay")):
        if np.isfinite(edges[name]):
            text = f"{label} from P = {edges[name]:.0f}"
            axes.axvline(edges[name], color="0.3", linewidth=0.9, linestyle="--", label=text)
    _plot_predicted(axes, dataset)
    title = "not in the paper: delay against P"
    ylabel = r"$t_\mathrm{test}/t_\mathrm{train}$"
    sweep_axis(axes, title=title, xlabel="P, training points", ylabel=ylabel)


def _plot_kernels(above: Axes, below: Axes, panels: dict[int, xr.Dataset]) -> None:
    """Regression with K₀ over P/D², and the size at which it halves its error over D."""
    halved = []
    for (dim, panel), color in zip(
        panels.items(), sweep_colors(list(panels)).values(), strict=True
    ):
        errors = rows_along(panel, "n_train", _kernel, untrained=True)
        shares = panel.n_train.values / dim**2
        plot_sweep(above, shares, np.array(errors), color=color, label=f"D = {dim}")
        halved.append([_edge(panel, row, 0.5) for row in errors])
    above.axhline(0.5, color="0.7", linewidth=0.8)
    title, ylabel = "§5: regression with $K_0$, ε = 0.1", "$K_0$ line / initial test loss"
    sweep_axis(above, title=title, xlabel="P/D²", ylabel=ylabel)
    dims = [float(dim) for dim in panels]
    slopes = [log_slope(dims, row) for row in zip(*halved, strict=True)]
    label = f"P that halves it, slope {np.median(slopes):.3g}"
    plot_sweep(below, dims, np.array(halved).T, color=COLORS["norm"], label=label)
    below.axline((20, 0.4 * 20**2), (40, 0.4 * 40**2), color="0.7", zorder=0, label="slope 2")
    title = "§5: number of points needed against D"
    sweep_axis(below, title=title, xlabel="dimension D", ylabel="P, training points")


def _plot_predicted(axes: Axes, dataset: xr.Dataset) -> None:
    lower, upper = _predicted(dataset)
    label = f"predicted range, {lower:.0f} to {upper:.0f}"
    axes.axvspan(lower, upper, color=COLORS["variance"], alpha=0.15, linewidth=0, label=label)


FIG9 = FigureSpec(
    name="fig9",
    statement="With too little data the network never generalises, with plenty it does so without "
    "delay; in between it groks.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draws; D=40, N=100, ε=0.5, α=1, η=0.5·N/α², centred",
        "quick": "D=25, N=500, ε=0.06, α=1, gradient flow, centred",
        "paper": "D=40, N=100, ε=0.5, α=1, η=0.5·N/α², centred; on the right by gradient flow",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
