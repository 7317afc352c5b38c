"""What Figures 6 and 12 train: networks on images, and the one-layer transformer."""

from collections.abc import Sequence

from lazyrich.models import MLPNet
from lazyrich.sweeps import grid
from lazyrich.tasks import ImageTask
from lazyrich.training import (
    Experiment,
    KernelMovement,
    ParameterChange,
    WeightNorm,
)
from lazyrich.training import (
    preset as training_preset,
)

from .._figure_spec import Panel

IMAGE_DECAY = {"quick": 0.03, "paper": 0.01}
_IMAGE_METRICS = (WeightNorm(), ParameterChange(), KernelMovement(n_points=50))
_DIGITS = training_preset("digits").changed(
    {
        "task.n_train": 300,
        "learning_rate": 3e-3,
        "weight_decay": IMAGE_DECAY["quick"],
        "n_steps": 8000,
        "n_evals": 120,
        "metrics": _IMAGE_METRICS,
    }
)
IMAGES = {
    "quick": _DIGITS,
    # The authors' own network. Its weights are He's, N(0, 2/n), times 150, *and* each layer
    # is divided by √n, the last by n: about Omnigrok's start of eight times the usual weights.
    "paper": _DIGITS.changed(
        {
            "task": ImageTask(source="mnist", n_train=1000, n_test=2000, subset="random"),
            "net": MLPNet(
                widths=(200, 200, 200),
                parameterisation="mean_field",
                initial="kaiming",
                use_bias=False,
            ),
            "weight_scale": 150.0,
            "learning_rate": 1e-3,
            "weight_decay": IMAGE_DECAY["paper"],
            "batch_size": 200,
            "n_steps": 250_000,
            "n_evals": 160,
            "metrics": _IMAGE_METRICS,
        }
    ),
}
IMAGE_ALPHAS = {"quick": (1e-4, 1e-3, 1e-2, 0.1), "paper": (1e-3, 0.01, 0.05, 0.5)}
# The linearized and the centred net are asked about the fit, which comes long before the end.
N_LINEARIZED_STEPS = {"quick": 1500, "paper": 20_000}
N_CENTERED_STEPS = {"quick": 1500, "paper": 12_000}

_TRANSFORMER = training_preset("transformer").changed(
    {"warmup_steps": 10, "stop.solved_accuracy": 0.96, "n_evals": 120}
)
# Nanda et al.'s sizes.
_NANDA = {"modulus": 113, "d_model": 128, "d_mlp": 512}
TRANSFORMERS = {
    # Mirrored pairs stay on one side, or a net that knows a + b = b + a starts high.
    "quick": _TRANSFORMER.changed(
        {
            "unordered": True,
            "modulus": 31,
            "fraction": 0.85,
            "d_mlp": 128,
            # The levels of every statistic: what comes after is not looked at.
            "stop.solved_accuracy": 0.95,
            "stop.solved_train_accuracy": 0.99,
        }
    ),
    # The authors train on 40 % of the ordered pairs and subtract the initial logits.
    "paper": _TRANSFORMER.changed({**_NANDA, "fraction": 0.4, "center": True}),
}
# The authors go from .05 to .5 at 6e-6/α²; steps grow as α², to 2·10⁵ of them.
TRANSFORMER_ALPHAS = {"quick": (0.15, 0.3, 0.7), "paper": (0.03, 0.05, 0.07, 0.1)}
DECAY = {"quick": 2.0, "paper": 1.0}
# One rate at one α whatever the rule (2e-3 at .5, 2.4e-3 at .05), so that none is slow
# throughout; that of the authors is 6e-6/α².
BASE_RATES = {
    "quick": {"inverse_square": 5e-4, "inverse": 1e-3, "fixed": 2e-3},
    "paper": {"inverse_square": 6e-6, "inverse": 1.2e-4, "fixed": 2.4e-3},
}
# At α = 1. Rate × decay is so 2e-3 in "quick", half of what the other rules have at α = .5,
# and 2.4e-3 in "paper", what they have at α = .05.
MATCHED_DECAY = {"quick": 2.0, "paper": 20.0}
RULES = {  # panel: rule, matched decay, title
    "rate over alpha squared": ("inverse_square", False, r"rate $\propto 1/\alpha^2$"),
    "rate over alpha": ("inverse", False, r"rate $\propto 1/\alpha$"),
    "rate fixed": ("fixed", False, "rate fixed"),
    "decay matched": ("inverse", True, r"rate $\propto 1/\alpha$, rate × decay fixed"),
}
N_STEPS = {"quick": 4000, "paper": 20_000}


def image_panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """Images; their start with a linearized network; the centred control with decay and without."""
    images = IMAGES[preset]
    linearized = images.changed({"n_steps": N_LINEARIZED_STEPS[preset], "linearized": True})
    centered = images.changed(
        {"center": True, "n_steps": N_CENTERED_STEPS[preset], "metrics": _IMAGE_METRICS}
    )
    alphas, decays = IMAGE_ALPHAS[preset], (0.0, IMAGE_DECAY[preset])
    controls = grid(centered, {"weight_decay": decays, "alpha": alphas, "seed": seeds})
    return {
        "images": Panel(grid(images, {"alpha": alphas, "seed": seeds}), ("alpha",)),
        "images linearized": Panel(grid(linearized, {"alpha": alphas, "seed": seeds}), ("alpha",)),
        "images centred": Panel(controls, ("weight_decay", "alpha")),
    }


def transformer_panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """The transformer under the four rules."""
    alphas = TRANSFORMER_ALPHAS[preset]
    return {
        name: Panel(grid(transformer(preset, name), {"alpha": alphas, "seed": seeds}), ("alpha",))
        for name in RULES
    }


def transformer(preset: str, rule: str) -> Experiment:
    """The transformer at α = 1 under one of the four rules."""
    kind, is_matched, _ = RULES[rule]
    return TRANSFORMERS[preset].changed(
        {
            "learning_rate_rule": kind,
            "learning_rate": BASE_RATES[preset][kind],
            "weight_decay": (MATCHED_DECAY if is_matched else DECAY)[preset],
            "matched_decay": is_matched,
            "n_steps": N_STEPS[preset],
        }
    )


def published_panels(seeds: Sequence[int]) -> dict[str, Panel]:
    """The two runs that Figure 6 starts from, with their own settings, to hold against them."""
    omnigrok = _DIGITS.changed(
        {
            "task": ImageTask(source="mnist", n_train=1000, n_test=10_000),
            "net.widths": (200, 200),
            "alpha": 1.0,
            "learning_rate": 1e-3,
            "weight_decay": 0.01,
            "batch_size": 200,
            "n_steps": 100_000,
            "n_evals": 160,
            "metrics": (WeightNorm(), ParameterChange()),
        }
    )
    nanda = _TRANSFORMER.changed(
        {**_NANDA, "fraction": 0.3, "n_steps": 40_000, "stop.solved_accuracy": 0.999}
    )
    return {
        "Omnigrok": Panel(grid(omnigrok, {"seed": seeds})),
        "Nanda": Panel(grid(nanda, {"seed": seeds})),
    }
