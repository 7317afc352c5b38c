"""Figure 13: momentum; and linearized networks under AdamW, with weight decay and without."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich._base import Config
from lazyrich.curves import count_peaks
from lazyrich.models import MLPNet
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
from lazyrich.training import CommitteeExperiment, PrintedDraw, WeightNorm
from lazyrich.training import preset as training_preset

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, along, concordances, each_run, run_at
from .._seed_values import caption_above, with_all_claims
from .._value import missing
from ._fig1 import PRINTED, lazy_share
from ._fig6 import held
from ._fig12 import MODULAR, accuracy_lag

MOMENTUM = 0.95
# A local maximum counts if it stands out by a hundredth of the initial test loss: far above
# what a record's rounding makes, far below a bump that one would see.
PROMINENCE = 0.01

_METRICS = {"metrics": (WeightNorm(),), "linearized": True}
_STUDENT = training_preset("teacher").changed({**_METRICS, "n_evals": 200, "n_steps": 3000})
_TRANSFORMER = training_preset("transformer").changed(
    {**_METRICS, "n_evals": 60, "n_steps": 200, "fraction": 0.45}
)
# Student and teacher both N(0, 1) whatever the fan-in, without biases: not Figure 8's start.
AUTHORS_STUDENT = _STUDENT.changed(
    {
        "net": MLPNet(widths=(100, 100), activation="tanh", initial="unit_normal", use_bias=False),
        "task.initial": "unit_normal",
        "task.use_bias": False,
        "weight_scale": 1.0,
        "learning_rate": 3e-3,
        "weight_decay": 0.1,
        "n_steps": 20_000,
    }
)
_KEYS = PrintedDraw(target_keys=(0, 1, 2), weight_keys=(3, 4, 5))
# §14: "scaling α still tunes grokking" with AdamW. At α = 23 both have Figure 12's rate.
MODULAR_ALPHAS = (5.75, 11.5, 23.0, 46.0)
ADAMW_RULES = {
    "rate over alpha squared": {
        "learning_rate_rule": "inverse_square",
        "learning_rate": 0.01 * 23**2,
    },
    "rate over alpha": {"learning_rate_rule": "inverse", "learning_rate": 0.01 * 23},
}
# Of runs that take long.
_N_MOMENTUM_SEEDS, _N_TRANSFORMER_SEEDS = 10, 5
# Evaluation steps are dense early, where bumps follow each other within a few steps.
PRESETS: dict[str, dict[str, Config]] = {
    "authors": {
        "momentum": PRINTED,
        "student": AUTHORS_STUDENT.changed({"printed": _KEYS, "precision": "float64"}),
    },
    "paper": {
        "momentum": CommitteeExperiment(
            dim=100, width=500, n_train=550, epsilon=0.02, n_steps=100_000, n_evals=600
        ),
        "student": AUTHORS_STUDENT,
        # Nanda et al.'s sizes; 200 steps, for this is about the beginning.
        "transformer": _TRANSFORMER.changed(
            {
                "modulus": 113,
                "fraction": 0.4,
                "d_model": 128,
                "d_mlp": 512,
                "weight_decay": 2.0,
                "center": True,
                "n_evals": 40,
            }
        ),
    },
    "quick": {
        "momentum": CommitteeExperiment(
            dim=50,
            width=500,
            n_train=300,
            epsilon=0.06,
            learning_rate=20.0,
            n_steps=3000,
            n_evals=500,
        ),
        "student": _STUDENT,
        "transformer": _TRANSFORMER,
    },
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Each net with and without what sets it apart: momentum, or weight decay."""
    base, some = PRESETS[preset], seeds[:_N_MOMENTUM_SEEDS]
    found = {
        "momentum": Panel(
            grid(base["momentum"], {"momentum": (0.0, MOMENTUM), "seed": some}), ("momentum",)
        )
    }
    for name in base.keys() & {"student", "transformer"}:
        decay = base[name].model_dump()["optimizer"]["weight_decay"]
        decays = (decay,) if preset == "authors" else (0.0, decay)
        chosen = seeds[:_N_TRANSFORMER_SEEDS] if name == "transformer" else seeds
        experiments = grid(base[name], {"weight_decay": decays, "seed": chosen})
        found[name] = Panel(experiments, ("weight_decay",))
    if preset != "authors":
        for name, powers in ADAMW_RULES.items():
            runs = grid(MODULAR.changed(powers), {"alpha": MODULAR_ALPHAS, "seed": seeds})
            found[name] = Panel(runs, ("alpha",))
    return found


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    momentum, student = panels["momentum"], panels["student"]

    def with_momentum(function: Callable[[Run], float]) -> list[float]:
        return each_run(momentum, function, momentum=MOMENTUM)

    bumps = with_momentum(_bumps), each_run(momentum, _bumps, momentum=0.0)
    decay = _decay(student)
    found = {
        "grokking with momentum": with_momentum(lambda run: run.delay().ratio),
        "linearized at first with momentum": with_momentum(lazy_share),
        "features later with momentum": with_momentum(_over_linearized),
        "momentum adds local maxima": [more - less for more, less in zip(*bumps, strict=True)],
        "close to the linearized network until the loss halves": each_run(
            student, _gap_before_half, weight_decay=decay
        ),
        "departs from the linearized network once the loss has halved": each_run(
            student, _gap_after_half, weight_decay=decay
        ),
    }
    if "transformer" in panels:
        transformer = panels["transformer"]
        decay = _decay(transformer)
        leave = [
            each_run(transformer, Run.departure_step, weight_decay=value) for value in (decay, 0.0)
        ]
        found["departs early from the linearized network with decay"] = each_run(
            transformer, _linearized_behind, weight_decay=decay
        )
        found["departs earlier with decay than without"] = [
            _sooner(heavy, plain) for heavy, plain in zip(*leave, strict=True)
        ]
    for name in ADAMW_RULES.keys() & panels.keys():
        found[f"delay grows with alpha, AdamW, {name}"] = concordances(
            panels[name], "alpha", accuracy_lag
        )
    return with_all_claims("fig13", panels, found)


def _decay(panel: xr.Dataset) -> float:
    """The weight decay that the panel has beside none; NaN if it has none else."""
    return max((v for v in panel.weight_decay.values.tolist() if v > 0), default=np.nan)


def _sooner(heavy: float, plain: float) -> float:
    both = [value for value in (heavy, plain) if np.isnan(value)]
    if both or (np.isinf(heavy) and np.isinf(plain)):
        return both[0] if both else missing("neither departs from its linearized network")
    return heavy / plain


def _over_linearized(run: Run) -> float:
    return run.end("test_loss") / run.end("linearized_test_loss")


def _bumps(run: Run) -> float:
    return float(count_peaks(run["test_loss"], prominence=PROMINENCE))


def _gap(run: Run) -> np.ndarray:
    return np.abs(run["train_loss"] - run["linearized_train_loss"]) / run["train_loss"]


def _gap_before_half(run: Run) -> float:
    """Largest gap between the train losses up to the first record at half the start."""
    is_low = run["train_loss"] <= 0.5 * run.start("train_loss")
    if not is_low.any():
        return float("nan")
    return float(_gap(run)[: np.argmax(is_low) + 1].max())


def _gap_after_half(run: Run) -> float:
    """Largest gap between the train losses at records from a half to a quarter of the start."""
    share = run["train_loss"] / run.start("train_loss")
    between = (share >= 0.25) & (share <= 0.5)
    return float(_gap(run)[between].max()) if between.any() else float("nan")


def _linearized_behind(run: Run) -> float:
    """Train loss of the linearized network over the net's at a train accuracy of 99 %."""
    step = run.accuracy_delay(0.99, 0.99).train_step
    return run.at("linearized_train_loss", step) / run.at("train_loss", step)


def plot(panels: Panels, caption: str) -> Figure:
    """Above network and linearized network; below plain descent, and how far apart they are."""
    linearized_runs = [name for name in ("student", "transformer") if name in panels]
    rules = {name: panels[name] for name in ADAMW_RULES if name in panels}
    n = 1 + len(linearized_runs) + bool(rules)
    figure, axes = new_figure(2, n)
    if rules:
        _plot_rules(axes[n - 1], axes[-1], rules)
    momentum = panels["momentum"]
    for one, place, title in (
        (axes[0], -1, "(a) momentum {:g}"),
        (axes[n], 0, "not in the paper: without momentum"),
    ):
        mu = momentum.momentum.values[place]
        _plot_momentum(one, momentum.sel(momentum=mu), title.format(mu))
    top = max(one.get_ylim()[1] for one in (axes[0], axes[n]))
    for name, letter, above, below in zip(
        linearized_runs, "bc", axes[1:n], axes[n + 1 :], strict=False
    ):
        dataset = panels[name]
        decay = dataset.weight_decay.values[-1]
        _plot_linearized(
            above, dataset.sel(weight_decay=decay), f"({letter}) {name}, decay {decay:g}"
        )
        _plot_gap(below, dataset)
    for one in (axes[0], axes[n]):
        one.set_ylim(0, top)
    for one in axes:
        legend_below(one)
    caption_above(figure, caption)
    return figure


def _plot_momentum(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    # Seeds differ in the size of their target, and bumps of their median would blur: bands.
    start = dataset.test_loss.isel(step=0)
    curves = ["train_loss", "test_loss", "linearized_train_loss", "linearized_test_loss"]
    relative = dataset[curves] / start
    plot_losses(axes, relative, color=COLORS["net"], label="network (dashed: train)")
    plot_losses(
        axes,
        relative,
        color=COLORS["linearized"],
        label="linearized network",
        name="linearized_{}_loss",
    )
    step_axis(axes, dataset, title=title, ylabel="mean squared error / initial test loss")


def _plot_rules(above: Axes, below: Axes, rules: Mapping[str, xr.Dataset]) -> None:
    """How late the test accuracy is over α, by the rule of the rate; curves of the first."""
    for (name, panel), color, marker in zip(rules.items(), ("net", "norm"), "os", strict=True):
        lags = along(panel, "alpha", accuracy_lag)
        plot_sweep(above, panel.alpha.values, lags, color=COLORS[color], label=name, marker=marker)
    title = "§14: α under AdamW, modular addition"
    sweep_axis(above, title=title, xlabel="output scale α", ylabel="delay in accuracy, steps")
    name, panel = next(iter(rules.items()))
    for alpha, color in sweep_colors(panel.alpha.values.tolist()).items():
        one = held(panel.sel(alpha=alpha))
        plot_losses(below, one, color=color, label=f"α = {alpha:g}", name="{}_accuracy")
    step_axis(below, panel, title=f"the same, {name}", ylabel="accuracy (dashed: train)")
    below.set_ylim(-0.02, 1.02)


def _plot_linearized(axes: Axes, dataset: xr.Dataset, title: str) -> None:
    plot_losses(axes, dataset, color=COLORS["net"], label="network (dashed: train)")
    plot_losses(
        axes,
        dataset,
        color=COLORS["linearized"],
        label="linearized network",
        name="linearized_{}_loss",
    )
    axes.set_yscale("log")
    step_axis(axes, dataset, title=title, ylabel="loss")


def _plot_gap(axes: Axes, dataset: xr.Dataset) -> None:
    gap = abs(dataset.train_loss - dataset.linearized_train_loss) / dataset.train_loss
    gaps = xr.Dataset({"gap": gap.where(gap > 0)})
    colors: Mapping[float, str] = dict(
        zip(dataset.weight_decay.values[::-1], (COLORS["net"], COLORS["variance"]), strict=False)
    )
    for decay, color in colors.items():
        plot_curve(axes, gaps.sel(weight_decay=decay), "gap", color=color, label=f"decay {decay:g}")
    axes.axhline(0.05, color="0.7", linewidth=0.8)
    half = _half(dataset)
    if np.isfinite(half):
        axes.axvline(half, color="0.6", linewidth=0.8, label="train loss halved")
    axes.set_yscale("log")
    # Where a loss passes through its noise floor the ratio of one seed knows no bounds.
    axes.set_ylim(top=min(axes.get_ylim()[1], 1e4))
    step_axis(
        axes,
        dataset,
        title="distance from the linearized network",
        ylabel="|difference of train losses| / train loss",
    )


def _half(dataset: xr.Dataset) -> float:
    """Median step at which the net's train loss has halved, with weight decay."""
    decay = dataset.weight_decay.values[-1]
    steps = [
        run_at(dataset, seed=seed, weight_decay=decay).delay(0.5).train_step
        for seed in dataset.seed.values
    ]
    return float(np.median(steps))


FIG13 = FigureSpec(
    name="fig13",
    statement="With momentum the dynamics are the same, with more local maxima of the test "
    "loss; under AdamW the network follows its linearized network at first and "
    "departs from it, early if weight decay is strong.",
    n_seeds={"quick": 3, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draws; (a) D=100, P=550, N=500, ε=0.02, η=N/α²; "
        "(b) AdamW 3e-3, decay 0.1, student and teacher N(0,1)",
        "quick": "(a) D=50, P=300, N=500, ε=0.06, η=20·N/α²; (b) AdamW 3e-4, decay 0.05, "
        "weights doubled; (c) p=43, 45 %, d_model 64, AdamW 1e-3, decay 1",
        "paper": "(a) D=100, P=550, N=500, ε=0.02, η=N/α²; (b) AdamW 3e-3, decay 0.1, "
        "weights N(0,1); (c) p=113, 40 %, d_model 128, AdamW 1e-3, decay 2, centred, "
        "first 200 steps; (a) 10 seeds, (c) 5",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
