"""Oracle: scipy's Kendall τ without ties, and every pair counted by hand with them."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau

from lazyrich import InputError
from lazyrich.curves import concordance, rank_correlation

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("seed", range(5))
def test_without_ties_it_is_kendalls_tau(seed):
    x, y = np.random.default_rng(seed).permuted(np.tile(np.arange(9.0), (2, 1)), axis=1)
    assert concordance(x, y) == pytest.approx(kendalltau(x, y).statistic)


def known(a, b):
    """The sign of a − b where the order of two values is known, else 0."""
    if np.isnan(a) or np.isnan(b) or a == b:
        return 0
    return 1 if a > b else -1


@pytest.mark.parametrize("seed", range(30))
def test_pairs_of_unknown_order_do_not_count(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.choice([1.0, 2.0, 3.0, INF, NAN], (2, 8), p=[0.25, 0.25, 0.25, 0.15, 0.1])
    pairs = [known(x[i], x[j]) * known(y[i], y[j]) for i, j in itertools.combinations(range(8), 2)]
    counted = [pair for pair in pairs if pair]
    wanted = sum(counted) / len(counted) if len(counted) >= 3 else NAN
    np.testing.assert_allclose(concordance(x, y), wanted)


def test_half_of_the_values_censored_in_perfect_order():
    """Thirteen values of α of which the last six never generalised: ρ gave .95 at most."""
    alphas = 2.0 ** np.arange(13)
    delays = np.r_[np.arange(1.0, 8.0), [INF] * 6]
    assert rank_correlation(alphas, delays) < 0.97
    assert concordance(alphas, delays) == 1.0
    assert concordance(alphas, -alphas) == -1.0


@pytest.mark.parametrize("y", [[1.0, 2.0], [1.0, 1.0, 1.0, 1.0], [INF] * 5, [NAN, 1.0, 2.0], []])
def test_fewer_than_three_pairs_say_nothing(y):
    assert np.isnan(concordance(np.arange(len(y)), y))


def test_two_lists_of_one_length_are_wanted():
    with pytest.raises(InputError, match="two lists of one length"):
        concordance([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="two lists of one length"):
        concordance([[1.0, 2.0]], [[1.0, 2.0]])
