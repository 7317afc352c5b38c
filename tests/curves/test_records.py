"""Oracle: the same records sorted, as float64, with equal steps thinned to the last by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.curves import (
    GrokkingDelay,
    accuracy_delay,
    count_peaks,
    departure_step,
    fall_step,
    grokking_delay,
    ordered_share,
    peak_before,
    phase,
    rank_correlation,
    relative_spread,
    rise_step,
    value_at,
)

pytestmark = pytest.mark.usefixtures("unchecked")

STEPS = np.array([0.0, 1, 3, 10, 30, 100, 300])
TRAIN = np.array([1.0, 0.8, 0.3, 0.05, 0.02, 0.01, 0.01])
TEST = np.array([1.1, 1.2, 1.4, 1.3, 0.6, 0.2, 0.04])
# Each takes steps, a falling and a later falling curve between 0 and 1.4.
MEASURES = {
    "grokking_delay": grokking_delay,
    "fall_step": lambda t, a, b: fall_step(t, b, 0.3),
    "accuracy_delay": lambda t, a, b: accuracy_delay(t, _share(a), _share(b), test_level=0.5),
    "rise_step": lambda t, a, b: rise_step(t, _share(b), 0.5),
    "value_at": lambda t, a, b: value_at(t, b, [0, 2.0, 10, 50, 1000]),
    "peak_before": lambda t, a, b: peak_before(t, b, 50),
    "departure_step": lambda t, a, b: departure_step(t, a, b, tolerance=0.15),
}
every = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def _share(loss):
    return 1 - jnp.asarray(loss) / 2


def same(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-12)


@every
@pytest.mark.parametrize("jit", [False, True])
def test_the_order_of_records_does_not_matter(measure, jit):
    call = jax.jit(measure) if jit else measure
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(STEPS))
        same(call(STEPS[order], TRAIN[order], TEST[order]), measure(STEPS, TRAIN, TEST))


@every
@pytest.mark.parametrize("jit", [False, True])
def test_of_several_records_at_a_step_the_last_counts(measure, jit):
    # A run that was resumed at step 3 logs step 3 and 10 twice; what it logged first was wrong.
    steps = np.r_[STEPS[:4], STEPS[2:]]
    train, test = (np.r_[c[:2], 0.001, 1.3, c[2:]] for c in (TRAIN, TEST))
    call = jax.jit(measure) if jit else measure
    same(call(steps, train, test), measure(STEPS, TRAIN, TEST))


def test_where_goes_with_its_records():
    order = np.random.default_rng(0).permutation(len(STEPS))
    where = TEST < 1.35
    wanted = (1.3, 10.0)
    assert peak_before(STEPS, TEST, 1000, where=where) == wanted
    assert peak_before(STEPS[order], TEST[order], 1000, where=where[order]) == wanted
    with pytest.raises(InputError, match="True or False"):
        peak_before(STEPS, TEST, 1000, where=np.ones(7))
    with pytest.raises(InputError, match="disagree"):
        peak_before(STEPS, TEST, 1000, where=where[1:])


@every
@pytest.mark.parametrize("index", [range(100, 107), list("gfedcba"), [0] * 7])
def test_an_index_of_pandas_plays_no_part(measure, index):
    frame = pd.DataFrame({"step": STEPS, "train": TRAIN, "test": TEST}, index=index)
    same(measure(frame["step"], frame["train"], frame["test"]), measure(STEPS, TRAIN, TEST))


def test_large_steps_that_single_precision_takes_for_one_stay_apart():
    steps = 2**24 + np.array([2, 0, 1])
    with jax.enable_x64(False):
        assert value_at(steps, [7.0, 5.0, 6.0], 2**25) == 7.0
        assert peak_before(steps, [1.0, 3.0, 2.0], np.inf)[0] == 3.0


@every
@pytest.mark.parametrize(
    "steps, message",
    [
        (STEPS[:5], "disagree"),
        (STEPS[:, None], "disagree"),
        (np.where(STEPS == 3, np.nan, STEPS), "steps holds 1"),
        (np.where(STEPS == 3, np.inf, STEPS), "steps holds 1"),
        (STEPS - 1, "counted from zero"),
        (pd.date_range("2024", periods=7), "datetime"),
        (pd.to_timedelta(STEPS, unit="s"), "timedelta"),
        ([f"step {t}" for t in STEPS], "give real numbers"),
        (5, "disagree"),
    ],
)
def test_steps_that_are_none_get_one_sentence(measure, steps, message):
    with pytest.raises(InputError, match=message):
        measure(steps, TRAIN, TEST)


@every
def test_no_records_get_one_sentence_and_one_record_is_a_curve(measure):
    with pytest.raises(InputError, match="no records"):
        measure([], [], [])
    measure([0], [1.0], [1.0])


@every
def test_a_curve_without_a_finite_number_is_none(measure):
    with pytest.raises(InputError, match=r"holds no finite number|begins with nan"):
        measure(STEPS, TRAIN * np.nan, TEST * np.nan)


@pytest.mark.parametrize("first", [np.nan, np.inf, -np.inf])
def test_a_first_loss_that_is_not_finite_gives_no_share(first):
    train = np.r_[first, TRAIN[1:]]
    for measure in (grokking_delay, departure_step):
        with pytest.raises(InputError, match=r"begins with .*inf|begins with nan"):
            measure(STEPS, train, TEST)
        assert np.isnan(jax.tree.leaves(jax.jit(measure)(STEPS, train, TEST))[0])
    found = jax.jit(grokking_delay)(STEPS, train, TEST)
    assert found.is_censored
    assert np.isnan([found.train_step, found.test_step, found.delay, found.ratio]).all()
    assert phase(found) == 3


def test_losses_below_zero_have_no_share():
    with pytest.raises(InputError, match=r"train_loss goes down to -0\.5"):
        grokking_delay(STEPS, TRAIN - 0.51, TEST)
    with pytest.raises(InputError, match=r"test_loss goes down to -4\.9"):
        grokking_delay(STEPS, TRAIN, TEST - 5)
    # The rounding of a loss that ends at zero is none.
    grokking_delay(STEPS, TRAIN - 0.010000001, TEST)
    np.testing.assert_allclose(fall_step(STEPS, TEST - 5, -4.5), fall_step(STEPS, TEST, 0.5))


def test_minus_infinity_is_no_low_loss():
    assert np.isinf(fall_step(STEPS, np.r_[TRAIN[:2], [-np.inf] * 5], 0.5))


@pytest.mark.parametrize("share", [1.0, 100.0])
def test_accuracies_in_percent_are_recognised(share):
    rising, late = share * np.clip(1 - TRAIN, 0, 1), share * np.clip(1 - TEST, 0, 1)
    if share == 1:
        accuracy_delay(STEPS, rising, late)
        return
    for call in (lambda: accuracy_delay(STEPS, rising, late), lambda: rise_step(STEPS, late, 0.5)):
        with pytest.raises(InputError, match="divide percentages by 100"):
            call()
    assert np.isnan(jax.jit(rise_step)(STEPS, late, 0.5))
    assert np.isnan(jax.jit(accuracy_delay)(STEPS, rising, late).delay)
    with pytest.raises(InputError, match="goes down to -"):
        accuracy_delay(STEPS, rising / 100, -late / 100)


def test_right_or_wrong_as_integers_or_booleans():
    right, late = np.array([0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 0, 0, 0, 0, 1])
    wanted = accuracy_delay(STEPS, right.astype(float), late.astype(float))
    assert wanted.train_step > 1
    for kind in (int, bool, np.uint8):
        same(accuracy_delay(STEPS, right.astype(kind), late.astype(kind)), wanted)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_a_value_at_a_recorded_step_is_the_last_record_there(steps, seed):
    values = np.random.default_rng(seed).normal(size=len(steps))
    # One shape for all, so that nothing is compiled twice: the rest are later records.
    n_more = 12 - len(steps)
    padded = np.r_[steps, 100 + np.arange(n_more)]
    curve = np.r_[values, np.full(n_more, np.nan)]
    last = dict(zip(steps, values, strict=True))
    asked = np.resize(steps, 12)
    np.testing.assert_array_equal(value_at(padded, curve, asked), [last[t] for t in asked.tolist()])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fall_step(STEPS, TRAIN, np.nan), "level is nan"),
        (lambda: fall_step(STEPS, TRAIN, [0.5, 0.1]), "give one number"),
        (lambda: fall_step(STEPS, TRAIN, "low"), "give real numbers"),
        (lambda: rise_step(STEPS, TRAIN, 90), "shares"),
        (lambda: grokking_delay(STEPS, TRAIN, TEST, threshold=[0.1, 0.2]), "give one number"),
        (lambda: departure_step(STEPS, TRAIN, TEST, tolerance=-1), "tolerance is -1"),
        (lambda: peak_before(STEPS, TRAIN, np.nan), "last_step is nan"),
        (lambda: phase({"delay": 3}), "what grokking_delay"),
        (lambda: rank_correlation(["1", "2"], [1, 2]), "give real numbers"),
        (lambda: rank_correlation([1, 2], 3), "two lists of one length"),
        (lambda: jax.jit(rank_correlation)(jnp.ones(2), jnp.ones(2)), "outside of these"),
        (lambda: ordered_share([1.0, 2.0], 1, trend="rising"), "axis is 1"),
        (lambda: ordered_share([1.0, 2.0], 0, trend="up"), "'rising' or 'falling'"),
        (lambda: relative_spread([]), "one value or more"),
        (lambda: relative_spread([1.0, 0.0]), "above zero"),
        (lambda: relative_spread([1.0, -2.0]), "above zero"),
        (lambda: count_peaks([], prominence=0.1), "first is above zero"),
        (lambda: count_peaks([np.nan, np.inf], prominence=0.1), "first is above zero"),
        (lambda: count_peaks([-1.0, 2.0, 1.0], prominence=0.1), "first is above zero"),
        (lambda: count_peaks([[1.0, 2.0]], prominence=0.1), "one axis"),
        (lambda: count_peaks([1.0, 2.0, 1.0], prominence=0), "prominence is 0"),
    ],
)
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_spreads_of_what_is_not_finite():
    assert np.isnan(relative_spread([1.0, np.nan]))
    assert np.isnan(relative_spread([np.inf, np.inf]))
    assert np.isinf(relative_spread([1.0, np.inf]))


def test_nan_records_are_no_peak_and_part_no_curves():
    broken = np.where(STEPS == 30, np.nan, TEST)
    assert peak_before(STEPS, broken, 1000) == (1.4, 3.0)
    assert np.isinf(departure_step(STEPS, broken, TEST))
    assert np.isnan(value_at(STEPS, broken, 20))
    assert value_at(STEPS, broken, 10) == 1.3


def test_a_phase_of_plain_numbers():
    assert phase(GrokkingDelay(100, 5000, 4900, 50, False)) == 1
