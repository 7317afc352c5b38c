"""Oracle: data made from a known power law, with censoring, and least squares without it."""

import numpy as np
import pytest

from lazyrich._base import InputError
from lazyrich.race import (
    LawGrid,
    censored_line,
    fit_law,
    measure_delay_law,
    pilot,
    smoke_edition,
)


def rows(slope, *, limit, noise=0.1, floor=None, seed=0):
    """Delays C·p^slope with noise, censored at a limit; a product too large is slow again."""
    rng = np.random.default_rng(seed)
    made = []
    for product in np.geomspace(1e-4, 1e-2, 9):
        for k in range(4):
            delay = 50 * (product / 1e-2) ** slope * np.exp(noise * rng.normal())
            if floor is not None and product > floor:
                delay = 4000.0
            made.append(
                {
                    "seed": k,
                    "rate_times_decay": product,
                    "fit_time": 20,
                    "time": 20 + delay if 20 + delay <= limit else None,
                    "max_steps": limit,
                }
            )
    return made


def test_without_censoring_it_is_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = 2 - 0.7 * x + 0.2 * rng.normal(size=30)
    found = censored_line(x, y, np.ones(30, bool))
    np.testing.assert_allclose(found, np.polyfit(x, y, 1), atol=1e-3)


@pytest.mark.parametrize("slope", [-1.0, -0.6])
def test_the_slope_comes_back_though_a_third_is_censored(slope):
    limit = 20 + int(50 * 0.04**slope)
    made = rows(slope, limit=limit)
    assert np.mean([row["time"] is None for row in made]) > 0.25
    law = fit_law(made, n_resamples=20)
    assert abs(law.slope.value - slope) < 0.08
    assert law.slope.low <= law.slope.value <= law.slope.high
    assert law.n_censored > 8
    # What drops the censored runs is flatter.
    known = [row for row in made if row["time"] is not None]
    x = np.log([row["rate_times_decay"] for row in known])
    y = np.log([row["time"] - 20 for row in known])
    assert abs(np.polyfit(x, y, 1)[0] - slope) < 0.3


def test_products_beyond_the_smallest_delay_do_not_bend_the_line():
    law = fit_law(rows(-1.0, limit=9000, floor=3e-3), n_resamples=5)
    assert 1.7e-3 < law.saturates_at < 1.9e-3
    assert abs(law.slope.value + 1) < 0.1


@pytest.mark.slow
def test_the_command_measures_publishes_and_goes_on(tmp_path):
    grid = LawGrid(task="addition_mlp", rates=(1e-2,), decays=(0.1, 1.0), n_seeds=2, max_steps=100)
    edition, store = smoke_edition(), tmp_path / "store"
    one = measure_delay_law(edition=edition, out=tmp_path, store=store, grids=[grid])
    again = measure_delay_law(edition=edition, out=tmp_path, store=tmp_path / "no", grids=[grid])
    assert one == again
    assert {row["rate_times_decay"] for row in one["addition_mlp"]} == {1e-3, 1e-2}
    found = pilot("addition_mlp", edition=edition, max_steps=20, store=store)
    assert len(found.best_times) == 1


def test_too_few_delays_are_refused():
    with pytest.raises(InputError, match="No product"):
        fit_law(rows(-1.0, limit=21))
    with pytest.raises(InputError, match="needs at least 3"):
        censored_line(np.arange(4.0), np.arange(4.0), np.array([True, False, False, True]))
