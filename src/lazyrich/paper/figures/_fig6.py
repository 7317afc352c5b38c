"""Figure 6: the output scale α and the delay, on images and on a one-layer transformer."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plots import (
    COLORS,
    legend_below,
    new_figure,
    plot_losses,
    plot_sweep,
    step_axis,
    sweep_colors,
)

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Delays, Run, along, concordances, each_run
from .._seed_values import caption_above
from ._fig6_experiments import RULES, image_panels, published_panels, transformer_panels


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Images and their controls, the transformer under four rules; published runs of `paper`."""
    found = image_panels(preset, seeds) | transformer_panels(preset, seeds)
    return found | published_panels(seeds) if preset == "paper" else found


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    images, linearized, centered = (
        panels[f"images{part}"] for part in ("", " linearized", " centred")
    )
    decays = centered.weight_decay.values
    found = {
        "delay grows with alpha on MNIST": _trend(images, image_ratio),
        "delay vanishes at small alpha on MNIST": each_run(
            images, image_ratio, alpha=images.alpha.values[0]
        ),
        "kernel change at the fit falls with alpha on MNIST": _trend(
            images, lambda run: -kernel_at_fit(run)
        ),
        "delay in steps grows with alpha on MNIST": _trend(
            images, lambda run: image_delay(run).delay
        ),
        "gap to the linearized network falls with alpha on MNIST": _trend(
            linearized, lambda run: -linearized_gap_at_fit(run)
        ),
        "delay grows with alpha on MNIST, centred": _trend(
            centered.sel(weight_decay=decays.max()), image_ratio
        ),
        "delay grows with alpha on MNIST, centred without decay": _trend(
            centered.sel(weight_decay=decays.min()), image_ratio
        ),
    }
    for name in RULES:
        found[f"delay grows with alpha, transformer, {name}"] = _trend(
            panels[name], transformer_delay
        )
    return found


def _trend(panel: xr.Dataset, function: Callable[[Run], float]) -> list[float]:
    """Concordance with α of a function of the runs, for each seed."""
    return concordances(panel, "alpha", function)


def image_delay(run: Run) -> Delays:
    """From a train accuracy of 98 % to a test accuracy of 95 % of the run's best."""
    best = max(float(np.max(run["test_accuracy"])), 1e-6)  # none is right: never generalises
    return run.accuracy_delay(0.98, 0.95 * best)


def image_ratio(run: Run) -> float:
    """Steps to the test accuracy over steps to the train accuracy."""
    return image_delay(run).ratio


def kernel_at_fit(run: Run) -> float:
    """How far the kernel has moved when the train accuracy is at 98 %; NaN if it never is."""
    return run.at("kernel_distance", image_delay(run).train_step)


def linearized_gap_at_fit(run: Run) -> float:
    """Gap between the test losses of net and linearized net there, as a share of the net's."""
    net, linearized = (
        run.at(f"{who}test_loss", image_delay(run).train_step) for who in ("", "linearized_")
    )
    return abs(net - linearized) / net


def transformer_delay(run: Run) -> float:
    """Steps from a train accuracy of 99 % to a test accuracy of 95 %.

    Infinite if the test accuracy did not get there; NaN if the train accuracy did not,
    because such a run did not learn and no delay is defined.
    """
    return run.accuracy_delay(0.99, 0.95).delay


def plot(panels: Panels, caption: str) -> Figure:
    """Images above, with what α does there; the transformer by rule; published runs below."""
    has_published = "Nanda" in panels
    figure, axes = new_figure(3 if has_published else 2, 4)
    _plot_accuracies(axes[0], panels["images"], "(a) images, ReLU network")
    _plot_ratios(axes[1], panels)
    _plot_laziness(axes[2], panels)
    _plot_delays(axes[3], panels)
    last = max(last_step(panels[name]) for name in RULES)
    for one, (name, rule) in zip(axes[4:], RULES.items(), strict=False):
        _plot_accuracies(one, panels[name], f"(b) transformer, {rule[2]}")
        one.set_xlim(1, last)
    if has_published:
        _plot_published(axes[8:], panels)
    caption_above(figure, caption)
    return figure


def _plot_published(axes: Sequence[Axes], panels: Panels) -> None:
    """Accuracies and losses of the networks that the two parts of the figure start from."""
    said = {
        "Omnigrok": "Omnigrok's MNIST (784-200-200-10, α = 1)",
        "Nanda": "Nanda et al. (p = 113, 30 %, α = 1)",
    }
    for place, (name, title) in enumerate(said.items()):
        accuracies, losses = axes[2 * place : 2 * place + 2]
        color = COLORS["net"]
        plot_losses(accuracies, held(panels[name]), color=color, label="", name="{}_accuracy")
        step_axis(accuracies, panels[name], title=title, ylabel="accuracy (dashed: train)")
        accuracies.set_ylim(-0.02, 1.02)
        plot_losses(losses, panels[name], color=color, label="")
        step_axis(losses, panels[name], title=title, ylabel="loss (dashed: train)")
        losses.set_yscale("log")


def _plot_accuracies(axes: Axes, panel: xr.Dataset, title: str) -> None:
    for alpha, color in sweep_colors(panel.alpha.values.tolist()).items():
        one = held(panel.sel(alpha=alpha))
        plot_losses(axes, one, color=color, label=f"α = {alpha:g}", name="{}_accuracy")
    step_axis(axes, panel, title=title, ylabel="accuracy (dashed: train)")
    axes.set_ylim(-0.02, 1.02)
    legend_below(axes)


def held(panel: xr.Dataset) -> xr.Dataset:
    """Accuracies, held at their highest once a run was solved and ended."""
    accuracies = panel[["train_accuracy", "test_accuracy"]]
    return accuracies.fillna(accuracies.max("step").where(panel.status == "ok"))


def last_step(panel: xr.Dataset) -> float:
    """The last evaluation step that any run reached."""
    is_seen = np.isfinite(panel.train_loss.transpose("step", ...).values)
    return float(panel.step.values[is_seen.reshape(len(is_seen), -1).any(axis=1)][-1])


def _plot_ratios(axes: Axes, panels: Panels) -> None:
    centered = panels["images centred"]
    decays = centered.weight_decay.values
    for panel, color, marker, label in [
        (panels["images"], "net", "o", r"$\alpha f(\theta)$"),
        (
            centered.sel(weight_decay=decays.max()),
            "norm",
            "s",
            r"$\alpha[f(\theta)-f(\theta_0)]$",
        ),
        (centered.sel(weight_decay=decays.min()), "debiased", "v", "the same without decay"),
    ]:
        measured = along(panel, "alpha", image_ratio)
        plot_sweep(axes, panel.alpha, measured, color=COLORS[color], label=label, marker=marker)
    axes.axhline(1, color="0.7", linewidth=0.8)
    _alpha_axis(axes, "delay in accuracy, images", "$t$(test) / $t$(train)")


def _plot_laziness(axes: Axes, panels: Panels) -> None:
    for name, function, color, marker, label in [
        ("images", kernel_at_fit, "net", "o", r"kernel distance $\|K-K_0\|/\|K_0\|$"),
        (
            "images linearized",
            linearized_gap_at_fit,
            "linearized",
            "s",
            "gap to the linearized test loss, relative",
        ),
        ("images", lambda run: run.start("train_loss"), "alignment", "v", "initial train loss"),
    ]:
        measured = along(panels[name], "alpha", function)
        plot_sweep(
            axes, panels[name].alpha, measured, color=COLORS[color], label=label, marker=marker
        )
    _alpha_axis(axes, "not in the paper: kernel change, images", "at a train accuracy of 98 %")


def _plot_delays(axes: Axes, panels: Panels) -> None:
    colors = ("net", "linearized", "norm", "debiased")
    for (name, rule), color, marker in zip(RULES.items(), colors, "osv^", strict=True):
        measured = along(panels[name], "alpha", transformer_delay)
        alphas = panels[name].alpha
        plot_sweep(axes, alphas, measured, color=COLORS[color], label=rule[2], marker=marker)
    _alpha_axis(axes, "delay in accuracy, transformer", "delay in accuracy / steps")
    # Less than a decade: a log axis would label its minor ticks over each other.
    ticks = panels[next(iter(RULES))].alpha.values
    axes.set_xticks(ticks, [f"{alpha:g}" for alpha in ticks])
    axes.minorticks_off()


def _alpha_axis(axes: Axes, title: str, ylabel: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("output scale α")
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    legend_below(axes)


FIG6 = FigureSpec(
    name="fig6",
    statement="The output scale α alone controls grokking, down to no delay, on MNIST and on a "
    "one-layer transformer.",
    n_seeds={"quick": 3, "paper": 3},
    captions={
        "quick": "(a) digits 8×8, 300 train, ReLU 3×100, weights ×8, AdamW 3e-3, decay .03, "
        "batch 100 (linearized and centred: 1500 steps of 8000);\n"
        "(b) p=31, 85 % of unordered pairs, d=64, rate 2e-3 at α=.5, decay 2; "
        "reduced size; curves are held once solved",
        "paper": "(a) MNIST 28×28, 1000 train, ReLU 3×200, He's weights ×150 in mean-field form, "
        "AdamW 1e-3, decay .01, batch 200 (linearized: first 20 000 steps; centred: 12 000);\n"
        "(b) p=113, 40 % of pairs, d=128, centred, decay 1, rate 6e-6/α² or 2.4e-3 at α=.05 by "
        "the other rules, α up to .1 of the authors' .5; curves are held once solved",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
