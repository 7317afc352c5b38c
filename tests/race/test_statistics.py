"""Oracle: the same quantities by counting everything, by their definitions, and by SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lazyrich._base import InputError
from lazyrich.race import (
    expected_best,
    holm,
    kaplan_meier,
    restricted_mean,
    restricted_mean_interval,
    share_near_best,
    sign_flip_test,
    speed_up,
    wilson,
)

some_times = st.lists(
    st.one_of(st.integers(1, 99).map(float), st.just(math.inf)), min_size=1, max_size=6
)


def product_limit(times, is_reached, step):
    """The share still without the target after a step, factor by factor."""
    share = 1.0
    for t in sorted({time for time, reached in zip(times, is_reached, strict=True) if reached}):
        if t <= step:
            at_risk = sum(time >= t for time in times)
            events = sum(
                time == t and reached for time, reached in zip(times, is_reached, strict=True)
            )
            share *= 1 - events / at_risk
    return share


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=8))
def test_survival_is_the_product_limit(pairs):
    times = np.array([float(time) for time, _ in pairs])
    is_reached = np.array([reached for _, reached in pairs])
    found = kaplan_meier(times, is_reached)
    wanted = [product_limit(times, is_reached, step) for step in found.steps]
    np.testing.assert_allclose(found.shares, wanted, atol=1e-12)
    assert (np.diff(found.steps) > 0).all()


@given(some_times)
def test_a_miss_counts_as_the_limit_and_is_never_dropped(times):
    limit = 100.0
    found = restricted_mean(np.array(times), limit)
    np.testing.assert_allclose(found, np.mean([min(time, limit) for time in times]))
    assert restricted_mean(np.array([*times, math.inf]), limit) >= found - 1e-9


@given(some_times, st.integers(1, 6))
def test_the_expected_best_is_the_mean_over_all_subsets(times, k):
    found = expected_best(np.array(times), 100.0)
    assert len(found) == len(times)
    if k <= len(times):
        subsets = itertools.combinations([min(time, 100.0) for time in times], k)
        np.testing.assert_allclose(found[k - 1], np.mean([min(one) for one in subsets]))


@pytest.mark.parametrize("reached, n", [(0, 10), (3, 10), (10, 10), (29, 30)])
def test_wilson_is_that_of_scipy(reached, n):
    wanted = binomtest(reached, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(reached, n)[1:], wanted, atol=1e-12)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    rejected, n = set(), len(p_values)
    for rank, place in enumerate(sorted(range(n), key=lambda k: p_values[k])):
        if p_values[place] * (n - rank) > level:
            break
        rejected.add(place)
    found = {k for k, p in enumerate(holm(p_values)) if p <= level}
    assert found == rejected


def test_flips_of_signs_by_hand():
    # Means of ±1 ± 2 ± 3: |6|, |4|, |2|, |0| twice each; the data have 4.
    assert sign_flip_test(np.array([-1.0, 2.0, 3.0])) == pytest.approx(4 / 8)
    assert sign_flip_test(np.zeros(4)) == 1.0
    with pytest.raises(InputError, match="more than 20"):
        sign_flip_test(np.ones(21))


def test_p_values_are_uniform_at_most_where_there_is_no_difference():
    rng = np.random.default_rng(0)
    values = [sign_flip_test(rng.normal(size=8)) for _ in range(400)]
    assert np.mean(np.array(values) <= 0.1) < 0.1 + 3 * math.sqrt(0.09 / 400)


def test_the_interval_of_a_speed_up_covers_the_truth():
    rng, covered, n = np.random.default_rng(1), 0, 60
    for k in range(n):
        shared = rng.normal(size=10) * 0.3
        base, arm = (
            np.exp(np.log(mean) + shared + rng.normal(size=(3, 10)) * 0.2) for mean in (400, 200)
        )
        found = speed_up(base, arm, 1e9, seed=k, n_resamples=400)
        covered += found.low <= 2 <= found.high
    assert covered / n > 0.8  # three studies make a bootstrap a little too narrow
    assert found.low < found.value < found.high


def test_pairs_make_the_interval_narrow_and_misses_make_the_mean_the_limit():
    rng = np.random.default_rng(2)
    base = np.exp(rng.normal(size=(1, 10))) * 100
    found = speed_up(base, base / 2, 1e9)
    np.testing.assert_allclose(found, 2.0)
    missed = np.full((3, 10), math.inf)
    assert tuple(restricted_mean_interval(missed, 50.0)) == (50.0, 50.0, 50.0)
    assert speed_up(missed, missed, 50.0).value == 1.0
    with pytest.raises(InputError, match="pairs need the same seeds"):
        speed_up(base, base[:, :4], 1e9)


def test_the_share_near_the_best():
    assert share_near_best(np.array([math.inf, math.inf])) == 0
    assert share_near_best(np.array([10.0, 20.0, 21.0, math.inf])) == 0.5
    with pytest.raises(InputError, match="no times"):
        kaplan_meier(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(InputError, match="at least one"):
        wilson(0, 0)
