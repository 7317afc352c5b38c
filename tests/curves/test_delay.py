"""Oracle: synthetic curves whose crossings are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich._base import InputError
from lazyrich.curves import (
    accuracy_delay,
    departure_step,
    fall_step,
    grokking_delay,
    peak_before,
    value_at,
)

DENSE, SPARSE = np.unique(np.geomspace(1, 10_000, 2000)), np.geomspace(1, 10_000, 60)


def power_law(steps, scale, exponent):
    """1/(1 + (t/scale)^exponent): falls to θ at scale·(1/θ − 1)^(1/exponent)."""
    return jnp.asarray(1 / (1 + (steps / scale) ** exponent))


@given(
    scale=st.floats(5, 500),
    exponent=st.floats(1, 4),
    level=st.floats(0.2, 0.8),
    steps=st.sampled_from([DENSE, SPARSE]),
)
def test_a_fall_is_found_where_it_is_however_densely_logged(scale, exponent, level, steps):
    exact = scale * (1 / level - 1) ** (1 / exponent)
    found = fall_step(jnp.asarray(steps), power_law(steps, scale, exponent), level)
    if exact < steps[-1]:
        # Between 60 log-spaced records the curve bends by less than 2 % of a step's place.
        assert found == pytest.approx(exact, rel=0.02)


@given(low=st.floats(0.05, 0.5), factor=st.floats(1.0, 3.0))
def test_a_lower_level_is_reached_later(low, factor):
    curve = power_law(SPARSE, 30.0, 1.5)
    later, sooner = (fall_step(jnp.asarray(SPARSE), curve, v) for v in (low, low * factor))
    assert later >= sooner


def test_the_first_of_several_crossings_counts():
    steps = jnp.array([1.0, 2.0, 4.0, 8.0])
    assert fall_step(steps, jnp.array([1.0, 0.0, 1.0, 0.0]), 0.5) == pytest.approx(2**0.5)


def test_special_places():
    steps = jnp.array([0, 1, 10])
    assert fall_step(steps, jnp.array([0.1, 0.1, 0.1]), 0.5) == 0  # low from the start
    assert fall_step(steps, jnp.array([1.0, 0.0, 0.0]), 0.5) == 0.5  # linear from step 0
    assert jnp.isinf(fall_step(steps, jnp.array([1.0, 0.9, 0.8]), 0.5))  # never
    assert jnp.isinf(fall_step(steps, jnp.array([1.0, jnp.nan, jnp.nan]), 0.5))  # diverged


def test_delay_and_ratio_of_two_power_laws():
    train, test = power_law(DENSE, 10.0, 2.0), power_law(DENSE, 200.0, 2.0)
    found = grokking_delay(jnp.asarray(DENSE), train, test, threshold=0.2)
    level = 0.2 * float(train[0])
    exact = np.array([10.0, 200.0]) * np.sqrt(1 / level - 1)
    assert found.train_step == pytest.approx(exact[0], rel=1e-3)
    assert found.delay == pytest.approx(exact[1] - exact[0], rel=1e-3)
    assert found.ratio == pytest.approx(20, rel=1e-3)
    assert not found.is_censored


def test_a_test_loss_that_never_falls_is_censored_not_zero():
    found = grokking_delay(jnp.asarray(SPARSE), power_law(SPARSE, 10.0, 2.0), jnp.ones(len(SPARSE)))
    assert found.is_censored
    assert jnp.isinf(found.delay)
    assert jnp.isinf(found.ratio)
    assert jnp.isfinite(found.train_step)


def test_vmap_is_the_loop():
    scales = jnp.array([50.0, 300.0, 1e9])
    tests = jnp.stack([power_law(SPARSE, s, 2.0) for s in scales])
    train = power_law(SPARSE, 10.0, 2.0)

    def delay(test):
        return grokking_delay(jnp.asarray(SPARSE), train, test).delay

    np.testing.assert_array_equal(jax.jit(jax.vmap(delay))(tests), [delay(t) for t in tests])


def test_curves_of_numpy_are_those_of_jax_without_a_warning(recwarn):
    curves = [np.asarray(power_law(SPARSE, scale, 2.0), np.float64) for scale in (10.0, 300.0)]
    train, test = curves
    for measure in (
        grokking_delay,
        lambda steps, a, b: accuracy_delay(steps, 1 - a, 1 - b),
        lambda steps, a, b: value_at(steps, a, 7.0),
        lambda steps, a, b: peak_before(steps, b, 100.0),
        departure_step,
    ):
        given = measure(SPARSE, train, test)
        wanted = measure(jnp.asarray(SPARSE), jnp.asarray(train), jnp.asarray(test))
        jax.tree.map(np.testing.assert_array_equal, given, wanted)
    assert not recwarn.list


def test_a_curve_leaves_its_linearized_at_the_stated_gap():
    steps = jnp.arange(1, 200)
    linearized = jnp.ones(199)
    left = departure_step(steps, 1 - 1e-3 * steps, linearized, tolerance=0.05)
    assert left == 50  # 1e-3·t > 0.05·(1 − 1e-3) first at t = 50
    assert jnp.isinf(departure_step(steps, linearized, linearized))


def test_peak_and_value():
    steps = jnp.array([0, 1, 10, 100])
    curve = jnp.array([1.0, 2.0, 5.0, 9.0])
    assert peak_before(steps, curve, 50) == (5.0, 10.0)
    assert peak_before(steps, curve, jnp.inf, where=curve < 3) == (2.0, 1.0)
    assert jnp.isneginf(peak_before(steps, curve, jnp.inf, where=curve < 0)[0])
    halfway = np.expm1((np.log1p(10) + np.log1p(100)) / 2)
    assert value_at(steps, curve, halfway) == pytest.approx(7.0)
    assert jnp.isnan(value_at(steps, curve, jnp.inf))


@pytest.mark.parametrize("threshold, message", [(0.0, "above zero"), (jnp.nan, "finite")])
def test_a_useless_threshold_gets_one_sentence(threshold, message):
    with pytest.raises(InputError, match=message):
        grokking_delay(jnp.arange(2), jnp.ones(2), jnp.ones(2), threshold=float(threshold))


def test_lengths_that_disagree_get_one_sentence(unchecked):
    with pytest.raises(InputError, match="disagree"):
        fall_step(jnp.arange(3), jnp.ones(2), 0.5)


@pytest.mark.parametrize("first", [2**24, 10**9, 2**40, 1e8 + 0.5])
@pytest.mark.parametrize("between", [1, 3, 100])
@pytest.mark.parametrize("as_given", [np.asarray, list])
def test_delays_of_late_steps_are_not_rounded_to_single_precision(first, between, as_given):
    steps = as_given([float(first + between * k) for k in range(4)])
    train, test = as_given([0.01, 0.01, 0.01, 0.01]), as_given([1.0, 1.0, 1.0, 0.0])
    with jax.enable_x64(False):
        rise = accuracy_delay(steps, [1.0] * 4, [0.0] * 3 + [1.0])
        fall = grokking_delay(steps=steps, train_loss=train, test_loss=test, threshold=1.0)
    # So far out a scale of log steps is linear: the levels are .9 and .99 of the way.
    assert rise.delay == pytest.approx(2.9 * between, rel=1e-4)
    assert fall.delay == pytest.approx(2.99 * between, rel=1e-4)
    assert fall.delay.dtype == jnp.float32
