"""Figure 12: weight decay removes the transformer's delay; does laziness bring it back?"""

from collections.abc import Sequence

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
from lazyrich.sweeps import grid
from lazyrich.training import AdamW, WeightNorm
from lazyrich.training import preset as training_preset

from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import Run, each_run, log_slope
from .._seed_values import caption_above
from .._value import missing
from ._fig6 import held, last_step, transformer_delay
from ._fig6_experiments import transformer

N_STEPS = {"quick": 3000, "paper": 10_000}
# The authors' 6e-6/α² would need 10⁵ steps and more at these α.
RATE = 5e-4


# §13 on the time to generalise: modular addition with squares and AdamW, all of whose runs lie
# below the rate × decay from which more decay no longer helps. That of (b) is past it.
MODULAR = training_preset("modular").changed(
    {
        "fraction": 0.6,
        "optimizer": AdamW(learning_rate=0.01, weight_decay=0.3, learning_rate_rule="fixed"),
        "n_steps": 10_000,
        "n_evals": 160,
        "metrics": (WeightNorm(),),
        "stop.solved_accuracy": 0.99,
    }
)
_N_TRANSFORMER_SEEDS = 3
DECAY = "decay"
ONE_RATE = 0.01
DECAYS = (
    *((ONE_RATE, decay) for decay in (0.1, 0.18, 0.32, 0.56, 1.0)),
    (0.005, 0.2),
    (0.005, 0.64),
    (0.02, 0.16),
    (0.02, 0.5),
)
"""Learning rates and weight decays, no two of the latter equal: a decay names its run."""


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The three printed pairs of α and weight decay, and two controls of the third."""
    base = transformer(preset, "rate over alpha squared").changed(
        {"learning_rate": RATE, "n_steps": N_STEPS[preset]}
    )
    power = 0.5**-2
    runs = {
        "a": {"alpha": 0.5, "weight_decay": 1.0},
        "b": {"alpha": 0.5, "weight_decay": 5.0},
        "c": {"alpha": 1.4, "weight_decay": 5.0},
        # A decay that grows with α² from 5 at α = .5: each step shrinks the weights as in (b).
        "c decay matched": {"alpha": 1.4, "weight_decay": 5.0 * power, "matched_decay": True},
        # Nothing but α differs from (b).
        "c rate fixed": {
            "alpha": 1.4,
            "weight_decay": 5.0,
            "learning_rate_rule": "fixed",
            "learning_rate": RATE * power,
        },
    }
    found = {
        name: Panel(grid(base.changed(changes), {"seed": seeds[:_N_TRANSFORMER_SEEDS]}))
        for name, changes in runs.items()
    }
    pairs = grid(MODULAR, {("learning_rate", "weight_decay"): DECAYS, "seed": seeds})
    return found | {DECAY: Panel(pairs, ("weight_decay",))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim; NaN where a network never learned its training pairs."""
    delays = {
        name: each_run(panel, transformer_delay) for name, panel in panels.items() if name != DECAY
    }
    lags = {
        (rate, decay): each_run(panels[DECAY], accuracy_lag, weight_decay=decay)
        for rate, decay in DECAYS
    }
    return {
        "decay removes the delay": _ratios(delays["b"], delays["a"]),
        "larger alpha restores the delay": _ratios(delays["c"], delays["b"]),
        "larger alpha restores the delay, decay matched": _ratios(
            delays["c decay matched"], delays["b"]
        ),
        "larger alpha restores the delay, rate fixed": _ratios(delays["c rate fixed"], delays["b"]),
        "delay is inversely proportional to decay": [
            _slope(row) for row in zip(*lags.values(), strict=True)
        ],
        "ten times less decay, ten times the delay": _ratios(
            lags[ONE_RATE, 0.1], lags[ONE_RATE, 1.0]
        ),
    }


def accuracy_lag(run: Run) -> float:
    """Steps from a train accuracy of 99 % to a test accuracy of 95 %."""
    return run.accuracy_delay(0.99, 0.95).delay


def _slope(lags: Sequence[float]) -> float:
    """Slope of log lag over log 1/(rate × decay); NaN if one of them is none or never."""
    return log_slope([1 / (rate * decay) for rate, decay in DECAYS], lags)


def _ratios(delays: Sequence[float], to: Sequence[float]) -> list[float]:
    return [_ratio(one, other) for one, other in zip(delays, to, strict=True)]


def _ratio(delay: float, to: float) -> float:
    if np.isnan(to):
        return to
    if not 0 < to < np.inf:
        return missing("there is no delay to compare with")
    return delay / to


def plot(panels: Panels, caption: str) -> Figure:
    """The printed three; in the fourth the controls of the third, not in the paper."""
    figure, axes = new_figure(2, 3)
    axes, rest = [*axes[:2], *axes[3:5]], [axes[2], axes[5]]
    transformers = {name: panel for name, panel in panels.items() if name != DECAY}
    last = max(last_step(panel) for panel in transformers.values())
    titles = ["(a) α = 0.5, weight decay 1", "(b) α = 0.5, weight decay 5"]
    titles += [r"(c) α = 1.4, weight decay 5, rate $\propto 1/\alpha^2$"]
    for one, name, title in zip(axes, "abc", titles, strict=False):
        _plot_accuracies(one, panels, {name: ("net", "accuracy")}, title)
    controls = {
        "b": ("alignment", "α = 0.5, (b)"),
        "c rate fixed": ("net", "α = 1.4, rate of (b)"),
        "c decay matched": ("norm", r"α = 1.4, rate $\propto 1/\alpha^2$, decay $\propto\alpha^2$"),
    }
    title = "not in the paper: rate × decay of (b)"
    _plot_accuracies(axes[3], panels, controls, title)
    for one in axes:
        one.set_xlim(1, last)
    _plot_lags(rest[0], panels[DECAY])
    rest[1].remove()
    caption_above(figure, caption)
    return figure


def _plot_lags(axes: Axes, panel: xr.Dataset) -> None:
    """The time to generalise against one over rate × decay, with lines of slope one."""
    for rate, color in sweep_colors([0.005, ONE_RATE, 0.02]).items():
        decays = [decay for one, decay in DECAYS if one == rate]
        across = [1 / (rate * decay) for decay in decays]
        lags = [each_run(panel, accuracy_lag, weight_decay=decay) for decay in decays]
        measured = np.array(lags, float).T
        plot_sweep(axes, across, measured, color=color, label=f"rate {rate:g}")
    for size in (0.3, 1.0, 3.0):
        axes.axline((100, 100 * size), (1000, 1000 * size), color="0.85", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="1/(rate × decay), steps", ylabel="delay, steps")
    axes.set_title("§13: modular addition with AdamW (lines: slope 1)")
    legend_below(axes)


def _plot_accuracies(
    axes: Axes, panels: Panels, shown: dict[str, tuple[str, str]], title: str
) -> None:
    for name, (color, label) in shown.items():
        one: xr.Dataset = held(panels[name])
        plot_losses(axes, one, color=COLORS[color], label=label, name="{}_accuracy")
    step_axis(axes, panels["a"], title=title, ylabel="accuracy (dashed: train)")
    axes.set_ylim(-0.02, 1.02)
    if len(shown) > 1:
        legend_below(axes)


FIG12 = FigureSpec(
    name="fig12",
    statement="With stronger weight decay the transformer's delay vanishes; a larger α "
    "restores it.",
    n_seeds={"quick": 3, "paper": 3},
    captions={
        "quick": "p=31, 85 % of unordered pairs, d=64, AdamW, rate 5e-4/α²; reduced size; "
        "curves are held once solved",
        "paper": "p=113, 40 % of pairs, d=128, centred, AdamW, rate 5e-4/α²\n"
        "(the authors' 6e-6/α² takes 80 times as long: rate × decay of (b) is past the point from "
        "which more decay\nno longer helps, which decides (b)); held once solved; 3 seeds of (a–c)",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
