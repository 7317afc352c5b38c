"""The delay law: steps from the fit to generalisation, against rate × decay."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import log_ndtr

from lazyrich._base import Config, InputError, Json

from ._edition import Edition
from ._results import AnyPath, Results
from ._rows import Planned, Row
from ._run import AnyExecutor, complete
from ._statistics import Interval

_ARM = "adamw"
CLAIM = (-1.25, -0.75)
"""The claim, fixed beforehand: the interval of the slope lies in here, or at least meets −1."""


class LawGrid(Config):
    """Rates and decays at which AdamW is trained on a task of the race.

    Attributes:
        task: name of the task.
        rates: learning rates.
        decays: weight decays.
        n_seeds: seeds of each pair.
        max_steps: T_max, at which the delay is censored.

    Example:
        >>> LawGrid(task="teacher", rates=(1e-3,), decays=(0.1, 1.0)).n_seeds
        4
    """

    task: str
    rates: tuple[float, ...] = Field(min_length=1)
    decays: tuple[float, ...] = Field(min_length=2)
    n_seeds: int = Field(4, ge=2)
    max_steps: int = Field(8000, ge=100)


GRIDS = (
    LawGrid(
        task="teacher",
        rates=(5e-4, 1e-3, 2e-3),
        decays=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
    ),
    LawGrid(task="addition", rates=(5e-3, 1e-2), decays=(0.15, 0.3, 0.6, 1.2, 2.4)),
)
"""The two tasks on which the law is measured."""


class DelayLaw(NamedTuple):
    """The slope of log delay against log(rate × decay), and where it ends.

    Attributes:
        slope: −1 means that the delay is inversely proportional to rate × decay; 95 %
            bootstrap interval over seeds.
        intercept: log delay at rate × decay = 1, of the fitted line.
        saturates_at: the product with the smallest median delay; beyond it more decay
            does not help.
        n_runs: runs up to there.
        n_censored: those of them that had not generalised at T_max.

    Example:
        >>> DelayLaw(Interval(-1.0, -1.1, -0.9), 0.0, 1e-3, 20, 2).slope.value
        -1.0
    """

    slope: Interval
    intercept: float
    saturates_at: float
    n_runs: int
    n_censored: int


def censored_line(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], is_exact: Bool[np.ndarray, " n"]
) -> tuple[float, float]:
    """Slope and intercept of y = a + b x + σ·noise where some y are only lower bounds.

    Maximum likelihood with Gaussian noise: exact values count by their density, censored
    ones by the chance to lie above. Dropping the latter would flatten the line.

    Args:
        x: abscissae.
        y: values, or lower bounds.
        is_exact: whether a value is no lower bound.

    Returns:
        b and a.

    Raises:
        InputError: if fewer than three values are exact.

    Example:
        >>> x = np.linspace(0, 1, 20)
        >>> b, a = censored_line(x, 3 - 2 * x, np.ones(20, bool))
        >>> round(b, 3), round(a, 3)
        (-2.0, 3.0)

    References:
        Tobin (1958).
    """
    if is_exact.sum() < 3:
        raise InputError(
            f"{int(is_exact.sum())} delays are known and a line needs at least 3; train longer."
        )
    centre = x.mean()
    start = np.polyfit(x[is_exact] - centre, y[is_exact], 1)
    spread = max(float(np.std(y[is_exact] - np.polyval(start, x[is_exact] - centre))), 0.01)

    from_centre = x - centre

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        slope, level, log_scale = theta
        log_scale = min(max(log_scale, -7.0), 7.0)
        z = (y - level - slope * from_centre) * math.exp(-log_scale)
        log_tail = log_ndtr(-z)
        exact = 0.5 * np.square(z) + log_scale
        value = np.where(is_exact, exact, -log_tail).sum() + 1e-6 * theta[2] ** 2
        # Of the normal distribution, the density over the chance to lie above.
        hazard = np.exp(-0.5 * np.square(z) - log_tail) / math.sqrt(2 * math.pi)
        of_z = np.where(is_exact, z, hazard)
        by_scale = is_exact.sum() - (of_z * z).sum() if log_scale == theta[2] else 0.0
        by_line = -math.exp(-log_scale) * np.array([of_z @ from_centre, of_z.sum()])
        return float(value), np.array([*by_line, by_scale + 2e-6 * theta[2]])

    found = minimize(loss, [*start, math.log(spread)], jac=True, method="L-BFGS-B")
    slope, level, _ = found.x
    return float(slope), float(level - slope * centre)


def fit_law(rows: Sequence[Row], *, seed: int = 0, n_resamples: int = 200) -> DelayLaw:
    """The delay law of one task.

    Only products up to the one with the smallest median delay count for the line: beyond
    it the labels are hardly fitted. A run that never fits has no delay and is left out.

    Args:
        rows: published trials of AdamW at several rates and decays.
        seed: of the bootstrap over seeds.
        n_resamples: number of bootstrap samples.

    Returns:
        Slope with interval, and where the law ends.

    Raises:
        InputError: if there are too few runs that generalise.

    Example:
        >>> rows = [
        ...     {"seed": s, "rate_times_decay": p, "fit_time": 10, "time": 10 + 1 / p,
        ...      "max_steps": 9000}
        ...     for p in (1e-3, 2e-3, 4e-3) for s in range(3)
        ... ]
        >>> round(fit_law(rows, n_resamples=5).slope.value, 2)
        -1.0

    References:
        Loshchilov and Hutter (2019); arXiv:2603.13331, arXiv:2605.18845.
    """
    fitted = [row for row in rows if row["fit_time"] is not None]
    products = np.array([row["rate_times_decay"] for row in fitted])
    is_exact = np.array([row["time"] is not None for row in fitted], bool)
    delays = np.array([delay_of(row) for row in fitted])
    best = _saturation(products, np.where(is_exact, delays, math.inf))
    inside = products <= best * (1 + 1e-9)
    x, y, exact = np.log(products[inside]), np.log(delays[inside]), is_exact[inside]
    seeds = np.array([row["seed"] for row in fitted])[inside]
    slope, intercept = censored_line(x, y, exact)
    rng, slopes = np.random.default_rng(seed), []
    names = np.unique(seeds)
    for _ in range(n_resamples):
        places = np.concatenate(
            [np.flatnonzero(seeds == one) for one in rng.choice(names, len(names))]
        )
        slopes.append(censored_line(x[places], y[places], exact[places])[0])
    low, high = np.percentile(slopes, [2.5, 97.5])
    interval = Interval(slope, float(low), float(high))
    return DelayLaw(interval, intercept, best, int(inside.sum()), int((~exact).sum()))


def delay_of(row: Row) -> float:
    """Steps from the fit to the target, or to T_max; at least the step between evaluations."""
    end = row["max_steps"] if row["time"] is None else row["time"]
    fit = row["fit_time"]
    assert fit is not None  # else there is no delay
    return float(max(end - fit, 10))


def _saturation(products: np.ndarray, delays: np.ndarray) -> float:
    rounded = np.array([float(f"{product:.3g}") for product in products])
    cells = np.unique(rounded)
    medians = np.array([np.median(delays[rounded == cell]) for cell in cells])
    if not np.isfinite(medians).any():
        raise InputError("No product of rate and decay has a known delay; train longer.")
    return float(cells[np.argmin(medians)])


def measure_delay_law(
    *,
    edition: Edition,
    out: AnyPath,
    store: AnyPath,
    executor: AnyExecutor = None,
    grids: Sequence[LawGrid] = GRIDS,
) -> dict[str, list[Row]]:
    """Train AdamW at every rate and decay of the grids, and publish the trials.

    Args:
        edition: whose tasks they are.
        out: folder of the published results; the file is ``delay-law/adamw.json``.
        store: folder or URL of trials on their way.
        executor: where to compute, as for ``lazyrich.sweeps.sweep``.
        grids: rates and decays by task.

    Returns:
        Rows by task.

    Raises:
        InputError: if the folder holds results of another edition, or this edition has not the
            tasks or no arm adamw.

    Example:
        >>> import tempfile
        >>> from lazyrich.race import smoke_edition
        >>> with tempfile.TemporaryDirectory() as out:
        ...     measure_delay_law(edition=smoke_edition(), out=out, store=out, grids=[])
        {}
    """
    edition.require_names(tuple(grid.task for grid in grids), (_ARM,))
    results = Results(out, edition)
    planned = [one for grid in grids for one in _planned(edition, grid)]
    complete(
        results,
        ("delay-law", _ARM),
        planned,
        store=store,
        executor=executor,
        progress="delay law",
    )
    rows = results.rows("delay-law", _ARM)
    return {grid.task: [row for row in rows if row["task"] == grid.task] for grid in grids}


def _planned(edition: Edition, grid: LawGrid) -> list[Planned]:
    tree = edition.trial(grid.task, _ARM, {}, seed=0)
    found = []
    for study, rate in enumerate(grid.rates):
        for index, decay in enumerate(grid.decays):
            settings: dict[str, Json] = {
                "optimizer.learning_rate": rate,
                "optimizer.weight_decay": decay,
            }
            for seed in range(grid.n_seeds):
                trial = tree.changed(
                    {f"experiment.{name}": value for name, value in settings.items()}
                    | {
                        "experiment.seed": 2000 + seed,
                        "experiment.n_steps": grid.max_steps + edition.rules.hold,
                    }
                )
                found.append(Planned(grid.task, _ARM, "delay law", study, index, settings, trial))
    return found
