"""Oracle: closed forms: power laws, sums of exponentials, lines and alternating signs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.diagnosis import hankel_residual, log_slope, roughness


@given(st.floats(-3, 3), st.floats(-5, 5))
def test_the_slope_of_a_power_law_is_its_exponent(power, shift):
    steps = np.array([1, 2, 5, 10, 50, 200])
    assert log_slope(steps, power * np.log(steps) + shift) == pytest.approx(power, abs=1e-9)


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 100))
def test_roughness_ignores_lines_and_lies_between_zero_and_one(slope, shift, seed):
    noise = np.random.default_rng(seed).normal(size=16)
    line = slope * np.arange(16.0) + shift
    assert roughness(line) == 0
    assert 0 <= roughness(noise) <= 1
    assert roughness(noise + line) == pytest.approx(roughness(noise), abs=1e-6)


def test_roughness_of_the_fastest_and_a_slow_wave():
    times = np.arange(32)
    assert roughness((-1.0) ** times) > 0.9
    assert roughness(np.sin(2 * np.pi * times / 32)) < 0.1


@given(st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=3, unique=True), st.floats(0.1, 10))
def test_sums_of_exponentials_are_predicted_and_a_jump_is_not(bases, size):
    curve = size * sum(base ** np.arange(12.0) for base in bases)
    assert hankel_residual(curve) < 1e-4
    jumped = curve.copy()
    jumped[-1] += 10 * np.ptp(curve) + 1
    assert hankel_residual(jumped) > 0.5


@pytest.mark.parametrize(
    "act",
    [
        lambda: log_slope(np.array([0, 1]), np.ones(2)),
        lambda: log_slope(np.array([1]), np.ones(1)),
        lambda: roughness(np.ones(7)),
        lambda: roughness(np.full(8, np.nan)),
        lambda: hankel_residual(np.ones(8)),
        lambda: hankel_residual(np.ones(9), rank=0),
    ],
)
def test_too_few_numbers_are_refused(act):
    with pytest.raises(InputError):
        act()
