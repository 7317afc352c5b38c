"""Oracle: synthetic accuracies whose crossings are known; Table 1 of Liu et al. (2022) by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich._base import InputError
from lazyrich.curves import Phase, accuracy_delay, grokking_delay, phase, rise_step

DENSE, SPARSE = np.unique(np.geomspace(1, 10_000, 2000)), np.geomspace(1, 10_000, 60)


def rising(steps, scale, top=1.0, exponent=2.0):
    """top·u/(1 + u), u = (t/scale)^exponent: reaches a at scale·(a/(top − a))^(1/exponent)."""
    u = (np.asarray(steps) / scale) ** exponent
    return jnp.asarray(top * u / (1 + u))


def named(found, **bounds):
    return Phase(int(phase(found, **bounds))).name


@given(scale=st.floats(5, 500), level=st.floats(0.1, 0.9), steps=st.sampled_from([DENSE, SPARSE]))
def test_a_rise_is_found_where_it_is_however_densely_logged(scale, level, steps):
    exact = scale * (level / (1 - level)) ** 0.5
    found = rise_step(jnp.asarray(steps), rising(steps, scale), level)
    if 1 < exact < steps[-1]:
        # Between 60 log-spaced records the curve bends by less than 2 % of a step's place.
        assert found == pytest.approx(exact, rel=0.02)


def test_a_rise_at_special_places():
    steps = jnp.array([0, 1, 10])
    assert rise_step(steps, jnp.array([0.9, 0.9, 0.9]), 0.9) == 0  # there from the start
    assert rise_step(steps, jnp.array([0.0, 1.0, 1.0]), 0.5) == 0.5  # linear from step 0
    assert rise_step(steps, jnp.array([0.0, 0.0, 1.0]), 1.0) == 10  # only at the very top
    assert jnp.isinf(rise_step(steps, jnp.array([0.1, 0.2, 0.3]), 0.5))  # never
    assert jnp.isinf(rise_step(steps, jnp.array([0.1, jnp.nan, jnp.nan]), 0.5))  # diverged


def test_each_accuracy_has_its_own_level():
    found = accuracy_delay(
        jnp.asarray(DENSE),
        rising(DENSE, 10.0),
        rising(DENSE, 200.0),
        train_level=0.8,
        test_level=0.5,
    )
    assert found.train_step == pytest.approx(20.0, rel=1e-3)
    assert found.test_step == pytest.approx(200.0, rel=1e-3)
    assert found.delay == pytest.approx(180.0, rel=1e-3)
    assert found.ratio == pytest.approx(10.0, rel=1e-3)


@settings(max_examples=30)
@given(scales=st.tuples(st.floats(2, 5000), st.floats(1, 10)), top=st.floats(0.5, 1))
def test_a_later_test_curve_never_has_a_shorter_delay_nor_a_sooner_phase(scales, top):
    sooner, factor = scales
    train = rising(SPARSE, 2.0)
    found = [
        accuracy_delay(jnp.asarray(SPARSE), train, rising(SPARSE, sooner * f, t))
        for f, t in ((1.0, 1.0), (factor, 1.0), (factor, top))
    ]
    delays = [float(one.delay) for one in found]
    # Interpolation between records rounds in the last digits of the steps.
    assert delays[0] <= delays[1] + 1e-9 * 10_000
    assert delays[1] <= delays[2] + 1e-9 * 10_000
    phases = [int(phase(one, max_delay=100.0)) for one in found]
    if delays == sorted(delays):
        assert phases == sorted(phases)


@settings(max_examples=30)
@given(factor=st.floats(0.01, 1000), scale=st.floats(20, 2000))
def test_other_units_of_step_change_no_ratio_and_no_phase(factor, scale):
    train, test = rising(SPARSE, 5.0), rising(SPARSE, scale)
    one = accuracy_delay(jnp.asarray(SPARSE), train, test)
    other = accuracy_delay(jnp.asarray(SPARSE * factor), train, test)
    assert other.ratio == pytest.approx(float(one.ratio), rel=1e-9)
    if jnp.isfinite(one.delay):
        assert other.delay == pytest.approx(float(one.delay) * factor, rel=1e-9)
    assert named(one, max_ratio=7.0, max_delay=jnp.inf) == named(
        other, max_ratio=7.0, max_delay=jnp.inf
    )


@settings(max_examples=30)
@given(factor=st.floats(1e-6, 1e6))
def test_other_units_of_label_change_no_delay(factor):
    train, test = 1 - rising(SPARSE, 5.0), 1 - rising(SPARSE, 300.0)
    one, other = (grokking_delay(jnp.asarray(SPARSE), f * train, f * test) for f in (1.0, factor))
    assert other.delay == pytest.approx(float(one.delay), rel=1e-9)


@pytest.mark.parametrize("thinning", [2, 5, 40])
def test_thinned_records_give_the_same_phase_and_nearly_the_same_delay(thinning):
    train, test = rising(DENSE, 5.0), rising(DENSE, 700.0)
    full = accuracy_delay(jnp.asarray(DENSE), train, test)
    kept = slice(None, None, thinning)
    thin = accuracy_delay(jnp.asarray(DENSE[kept]), train[kept], test[kept])
    # Every 40th of 2000 log-spaced records still places a crossing to 2 %.
    assert thin.delay == pytest.approx(float(full.delay), rel=0.02)
    assert named(thin, max_delay=1000.0) == named(full, max_delay=1000.0) == "grokking"


@pytest.mark.parametrize(
    "train, test, wanted",
    [
        (rising(SPARSE, 10.0), rising(SPARSE, 100.0), "comprehension"),
        (rising(SPARSE, 100.0), rising(SPARSE, 10.0), "comprehension"),  # test is first
        (rising(SPARSE, 10.0), rising(SPARSE, 2000.0), "grokking"),
        (rising(SPARSE, 10.0), rising(SPARSE, 10.0, top=0.6), "memorisation"),
        (rising(SPARSE, 10.0, top=0.6), rising(SPARSE, 10.0, top=0.3), "confusion"),
        (rising(SPARSE, 10.0, top=0.6), rising(SPARSE, 10.0), "confusion"),  # the open corner
    ],
)
def test_the_table_of_phases(train, test, wanted):
    found = accuracy_delay(jnp.asarray(SPARSE), train, test)
    assert named(found) == wanted


def test_bounds_of_the_phases():
    found = accuracy_delay(jnp.asarray(DENSE), rising(DENSE, 10.0), rising(DENSE, 200.0))
    # Both rise to 0.9 at three times their scale: 30 and 600.
    assert named(found, max_delay=571.0) == "comprehension"
    assert named(found, max_delay=569.0) == "grokking"
    assert named(found, max_delay=jnp.inf, max_ratio=20.1) == "comprehension"
    assert named(found, max_delay=jnp.inf, max_ratio=19.9) == "grokking"
    assert named(found, last_step=599.0) == "memorisation"
    assert named(found, last_step=29.0) == "confusion"


def test_a_run_that_is_right_from_the_start_is_not_late():
    steps, right = jnp.array([0, 1, 10]), jnp.ones(3)
    found = accuracy_delay(steps, right, right)
    assert (found.delay, found.ratio) == (0, 1)
    assert named(found, max_ratio=2.0) == "comprehension"
    late = accuracy_delay(steps, right, jnp.array([0.0, 0.0, 1.0]))
    assert jnp.isinf(late.ratio)
    assert not late.is_censored
    assert named(late) == "comprehension"
    assert named(late, max_ratio=2.0) == "grokking"


def test_vmap_and_jit_are_the_loop():
    scales = [20.0, 700.0, 1e9]
    tests = jnp.stack([rising(SPARSE, scale) for scale in scales])
    train = rising(SPARSE, 10.0)

    def one(test, level):
        return phase(
            accuracy_delay(jnp.asarray(SPARSE), train, test, test_level=level), max_delay=500.0
        )

    levels = jnp.full(3, 0.9)
    batched = jax.jit(jax.vmap(one))(tests, levels)
    assert batched.tolist() == [int(one(test, 0.9)) for test in tests] == [0, 1, 2]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: rise_step(s, s / 3, 95.0), "shares"),
        (lambda s: accuracy_delay(s, s / 3, s / 3, test_level=0.0), "test_level is 0"),
        (lambda s: phase(accuracy_delay(s, s / 3, s / 3), max_delay=-1.0), "max_delay is -1"),
    ],
)
def test_useless_levels_get_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.arange(3.0))
