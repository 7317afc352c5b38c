"""Figure 6: the output scale α and the delay, on images and on a one-layer transformer."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.measures import GrokkingDelay, rank_correlation
from lazyrich.plots import (
    COLORS,
    dial_colors,
    draw_dial,
    draw_losses,
    legend_below,
    new_figure,
    step_axis,
)
from lazyrich.sweeps import grid
from lazyrich.tasks import ImageTask
from lazyrich.training import (
    Experiment,
    KernelMovement,
    ParameterChange,
    Twin,
    WeightNorm,
    starting_point,
)

from .._recipe import Panel, Panels, Recipe
from .._runs import Run, along

IMAGE_DECAY = 0.03
_DIGITS = starting_point("digits").changed(
    {
        "task.n_train": 300,
        "learning_rate": 3e-3,
        "weight_decay": IMAGE_DECAY,
        "n_steps": 12_000,
        "n_saves": 120,
        "probes": (WeightNorm(), ParameterChange(), KernelMovement(n_points=50), Twin()),
    }
)
IMAGES = {
    "quick": _DIGITS,
    # The authors' numbers of images, widths and batch; smaller images, and Omnigrok's
    # start, which needs tens of thousands of steps where theirs needs 250 000.
    "paper": _DIGITS.changed(
        {
            "task": ImageTask(source="mnist", n_train=1000, n_test=2000, size=14),
            "net.widths": (200, 200, 200),
            "batch_size": 200,
            "n_steps": 15_000,
        }
    ),
}
IMAGE_ALPHAS = {"quick": (1e-4, 1e-3, 1e-2, 0.1), "paper": (1e-3, 0.01, 0.05, 0.5)}
# The centred net fits at once, where it fits at all.
N_CENTERED_STEPS = 3000

_TRANSFORMER = starting_point("transformer").changed(
    {
        # Mirrored pairs stay on one side, or a net that knows a + b = b + a starts high.
        "task.unordered": True,
        "warmup_steps": 10,
        "stop.solved_accuracy": 0.96,
        "n_saves": 120,
    }
)
TRANSFORMERS = {
    "quick": _TRANSFORMER.changed({"modulus": 31, "fraction": 0.85, "d_mlp": 128}),
    "paper": _TRANSFORMER.changed({"modulus": 43, "d_model": 128, "d_mlp": 512}),
}
TRANSFORMER_ALPHAS = (0.15, 0.3, 0.7, 1.4)
DECAY = {"quick": 2.0, "paper": 1.0}
# All rules have the rate 2e-3 at α = .5, so that none is slow throughout.
BASE_RATES = {"inverse_square": 5e-4, "inverse": 1e-3, "fixed": 2e-3}
RULES = {  # panel: rule, matched decay, title
    "rate over alpha squared": ("inverse_square", False, r"rate $\propto 1/\alpha^2$"),
    "rate over alpha": ("inverse", False, r"rate $\propto 1/\alpha$"),
    "rate fixed": ("fixed", False, "rate fixed"),
    "decay matched": ("inverse", True, r"rate $\propto 1/\alpha$, rate × decay fixed"),
}
N_STEPS = {"quick": 6000, "paper": 10_000}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Images, the centred control of them, and the transformer under four rules."""
    images = IMAGES[preset]
    centered = images.changed(
        {
            "center": True,
            "n_steps": N_CENTERED_STEPS,
            "probes": (WeightNorm(), ParameterChange(), KernelMovement(n_points=50)),
        }
    )
    alphas = IMAGE_ALPHAS[preset]
    found = {
        "images": Panel(grid(images, {"alpha": alphas, "seed": seeds}), ("alpha",)),
        "images centred": Panel(
            grid(centered, {"weight_decay": (0.0, IMAGE_DECAY), "alpha": alphas, "seed": seeds}),
            ("weight_decay", "alpha"),
        ),
    }
    for name in RULES:
        base = transformer(preset, name)
        found[name] = Panel(grid(base, {"alpha": TRANSFORMER_ALPHAS, "seed": seeds}), ("alpha",))
    return found


def transformer(preset: str, rule: str) -> Experiment:
    """The transformer at α = 1 under one of the four rules."""
    kind, is_matched, _ = RULES[rule]
    return TRANSFORMERS[preset].changed(
        {
            "learning_rate_rule": kind,
            "learning_rate": BASE_RATES[kind],
            "weight_decay": DECAY[preset],
            "matched_decay": is_matched,
            "n_steps": N_STEPS[preset],
        }
    )


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    images, centered = panels["images"], panels["images centred"]
    decays = centered.weight_decay.values
    found = {
        "alpha tunes MNIST": _trend(images, image_ratio),
        "MNIST vanishes at small alpha": along(images, "alpha", image_ratio)[:, 0].tolist(),
        "because of laziness on MNIST": _trend(images, lambda run: -kernel_at_fit(run)),
        "alpha tunes MNIST, delay in steps": _trend(
            images, lambda run: float(image_delay(run).delay)
        ),
        "leaves its twin on MNIST": _trend(images, lambda run: -twin_gap_at_fit(run)),
        "alpha tunes MNIST, centred": _trend(centered.sel(weight_decay=decays.max()), image_ratio),
        "alpha tunes MNIST, centred without decay": _trend(
            centered.sel(weight_decay=decays.min()), image_ratio
        ),
    }
    for name in RULES:
        found[f"alpha tunes the transformer, {name}"] = _trend(panels[name], transformer_delay)
    return found


def _trend(panel: xr.Dataset, function: Callable[[Run], float]) -> list[float]:
    """Rank correlation with α of a function of the runs, for each seed."""
    return [rank_correlation(panel.alpha.values, row) for row in along(panel, "alpha", function)]


def image_delay(run: Run) -> GrokkingDelay:
    """From a train accuracy of 98 % to a test accuracy of 95 % of the run's best."""
    return run.accuracy_delay(0.98, 0.95 * float(np.max(run["test_accuracy"])))


def image_ratio(run: Run) -> float:
    """Steps to the test accuracy over steps to the train accuracy."""
    return float(image_delay(run).ratio)


def kernel_at_fit(run: Run) -> float:
    """How far the kernel has moved when the train accuracy is at 98 %; NaN if it never is."""
    return run.at("kernel_distance", float(image_delay(run).train_step))


def twin_gap_at_fit(run: Run) -> float:
    """Gap between the test losses of net and twin there, as a share of the net's."""
    net, twin = (
        run.at(f"{who}test_loss", float(image_delay(run).train_step)) for who in ("", "twin_")
    )
    return abs(net - twin) / net


def transformer_delay(run: Run) -> float:
    """Steps from a train accuracy of 99 % to a test accuracy of 95 %.

    Infinite if the test accuracy did not get there; NaN if the train accuracy did not,
    because such a run did not learn and no delay is defined.
    """
    found = run.accuracy_delay(0.99, 0.95)
    return float(found.delay) if np.isfinite(found.train_step) else float("nan")


def draw(panels: Panels, caption: str) -> Figure:
    """Images above, with what α does there; the transformer's accuracies below, by rule."""
    figure, axes = new_figure(2, 4)
    _draw_accuracies(axes[0], panels["images"], "(a) images, ReLU network")
    _draw_ratios(axes[1], panels)
    _draw_laziness(axes[2], panels["images"])
    _draw_delays(axes[3], panels)
    last = max(last_step(panels[name]) for name in RULES)
    for one, (name, rule) in zip(axes[4:], RULES.items(), strict=True):
        _draw_accuracies(one, panels[name], f"(b) transformer, {rule[2]}")
        one.set_xlim(1, last)
    figure.suptitle(caption, fontsize=7.5, color="0.35")
    return figure


def _draw_accuracies(axes: Axes, panel: xr.Dataset, title: str) -> None:
    for alpha, color in dial_colors(panel.alpha.values.tolist()).items():
        one = held(panel.sel(alpha=alpha))
        draw_losses(axes, one, color=color, label=f"α = {alpha:g}", name="{}_accuracy")
    step_axis(axes, panel, title=title, ylabel="accuracy (dashed: train)")
    axes.set_ylim(-0.02, 1.02)
    legend_below(axes)


def held(panel: xr.Dataset) -> xr.Dataset:
    """Accuracies, held at their highest once a run was solved and ended."""
    accuracies = panel[["train_accuracy", "test_accuracy"]]
    return accuracies.fillna(accuracies.max("save_step").where(panel.status == "ok"))


def last_step(panel: xr.Dataset) -> float:
    """The last save point that any run reached."""
    is_seen = np.isfinite(panel.train_loss.transpose("save_step", ...).values)
    return float(panel.save_step.values[is_seen.reshape(len(is_seen), -1).any(axis=1)][-1])


def _draw_ratios(axes: Axes, panels: Panels) -> None:
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
        draw_dial(axes, panel.alpha, measured, color=COLORS[color], label=label, marker=marker)
    axes.axhline(1, color="0.7", linewidth=0.8)
    _alpha_axis(axes, "how late the images' test accuracy is", "$t$(test) / $t$(train)")


def _draw_laziness(axes: Axes, panel: xr.Dataset) -> None:
    for function, color, marker, label in [
        (kernel_at_fit, "net", "o", r"kernel distance $\|K-K_0\|/\|K_0\|$"),
        (twin_gap_at_fit, "twin", "s", "gap to the twin's test loss, relative"),
        (lambda run: run.start("train_loss"), "alignment", "v", "train loss at the start"),
    ]:
        measured = along(panel, "alpha", function)
        draw_dial(axes, panel.alpha, measured, color=COLORS[color], label=label, marker=marker)
    _alpha_axis(axes, "beyond the print: lazy on images?", "at a train accuracy of 98 %")


def _draw_delays(axes: Axes, panels: Panels) -> None:
    colors = ("net", "twin", "norm", "debiased")
    for (name, rule), color, marker in zip(RULES.items(), colors, "osv^", strict=True):
        measured = along(panels[name], "alpha", transformer_delay)
        alphas = panels[name].alpha
        draw_dial(axes, alphas, measured, color=COLORS[color], label=rule[2], marker=marker)
    _alpha_axis(axes, "how late the transformer's is", "delay in accuracy / steps")
    # Less than a decade: a log axis would label its minor ticks over each other.
    axes.set_xticks(TRANSFORMER_ALPHAS, [f"{alpha:g}" for alpha in TRANSFORMER_ALPHAS])
    axes.minorticks_off()


def _alpha_axis(axes: Axes, title: str, ylabel: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("output scale α")
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    legend_below(axes)


FIG6 = Recipe(
    name="fig6",
    statement="The output scale α alone tunes grokking, down to none, on MNIST and on a "
    "one-layer transformer.",
    n_seeds={"quick": 3, "paper": 3},
    captions={
        "quick": "(a) digits 8×8, 300 train, ReLU 3×100, weights ×8, AdamW 3e-3, decay .03, "
        "batch 100; (b) p=31, 85 % of unordered pairs, d=64, rate 2e-3 at α=.5, decay 2; "
        "reduced size; curves are held once solved",
        "paper": "(a) MNIST 14×14, 1000 train, ReLU 3×200, weights ×8, AdamW 3e-3, decay .03, "
        "batch 200; (b) p=43, 70 % of unordered pairs, d=128, rate 2e-3 at α=.5, decay 1; "
        "reduced size; curves are held once solved",
    },
    panels=panels,
    statistics=statistics,
    draw=draw,
)
