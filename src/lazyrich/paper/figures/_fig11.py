"""Figure 11: the three terms of the test loss when the readouts are trained too."""

from collections.abc import Sequence

from lazyrich.models import CommitteeNet
from lazyrich.sweeps import grid
from lazyrich.tasks import PolynomialTask
from lazyrich.training import (
    Experiment,
    GradientDescent,
    KernelRegression,
    PrintedDraw,
    Scaling,
    Terms,
    TestLossError,
    WeightNorm,
)

from .._claims import claims_of
from .._figure_spec import FigureSpec, Panel, Panels
from .._run_statistics import by_claim
from ._fig4 import linear_share_of_rise, plot, terms_gap

METRICS = (WeightNorm(), Terms(), TestLossError(), KernelRegression())
# More test points than the authors', so that Eq. 22 is held against a sharp measurement.
AUTHORS = Experiment(
    task=PolynomialTask(dim=40, n_train=120, n_test=10_000),
    net=CommitteeNet(width=2, epsilon=0.25, readouts="normal"),
    optimizer=GradientDescent(learning_rate=0.1),
    scaling=Scaling(center=False),
    n_steps=100_000,
    n_evals=160,
    metrics=METRICS,
)
PRESETS = {
    "authors": AUTHORS.changed(
        {"printed": PrintedDraw(), "task.n_test": 1000, "precision": "float64"}
    ),
    "paper": AUTHORS,
    "quick": Experiment(
        task=PolynomialTask(dim=50, n_train=300, n_test=10_000),
        net=CommitteeNet(width=200, epsilon=0.06, readouts="normal"),
        optimizer=GradientDescent(learning_rate=200.0),
        scaling=Scaling(alpha=4.0),
        n_steps=8000,
        n_evals=60,
        metrics=METRICS,
    ),
}


def panels(preset: str, seeds: Sequence[int]) -> dict[str, Panel]:
    """One run a seed."""
    return {"runs": Panel(grid(PRESETS[preset], {"seed": seeds}))}


def statistics(panels: Panels) -> dict[str, list[float]]:
    """The statistic of each claim."""
    claims = claims_of("fig11")
    return by_claim(
        panels["runs"],
        {
            "three terms sum to the loss": terms_gap,
            "train loss falls first": lambda run: run.delay().ratio,
            "linear power explains the rise": linear_share_of_rise,
            "alignment improves": lambda run: run.settled(
                "misalignment_term",
                claims["alignment improves"],
                over=run.start("misalignment_term"),
            ),
            "linear power rises and vanishes": lambda run: run.settled(
                "linear_term",
                claims["linear power rises and vanishes"],
                over=float(run["linear_term"].max()),
            ),
        },
    )


FIG11 = FigureSpec(
    name="fig11",
    statement="With trained readouts, too, the rise of the test loss is power in linear modes.",
    n_seeds={"quick": 6, "paper": 24, "authors": 1},
    captions={
        "authors": "the authors' own draw; D=40, P=120, N=2, ε=0.25, α=1, η=0.05·N/α², "
        "trained readouts, not centred",
        "quick": "D=50, P=300, N=200, ε=0.06, α=4, η=N/α², trained readouts, centred",
        "paper": "D=40, P=120, N=2, ε=0.25, α=1, η=0.05·N/α², trained readouts, not centred",
    },
    panels=panels,
    statistics=statistics,
    plot=plot,
)
