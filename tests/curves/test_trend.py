"""Oracle: SciPy's Spearman correlation; maps and curves counted by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from lazyrich._base import InputError
from lazyrich.curves import count_peaks, ordered_share, rank_correlation, relative_spread


def test_finite_values_are_correlated_as_scipy_does_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 6, 9), rng.normal(size=9)
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)


def test_censored_values_are_last_and_tied():
    inf = float("inf")
    assert rank_correlation([1, 2, 3, 4], [1.0, 2.0, inf, inf]) == pytest.approx(
        spearmanr([1, 2, 3, 4], [1.0, 2.0, 9.0, 9.0]).statistic
    )
    assert rank_correlation([1, 2, 3], [inf, 5.0, 1.0]) == -1.0


@pytest.mark.parametrize(
    "x, y", [([1], [1.0]), ([1, 2], [3.0, 3.0]), ([1, 2], [np.nan, 1.0]), ([], [])]
)
def test_what_has_no_order_has_no_correlation(x, y):
    assert np.isnan(rank_correlation(x, y))


def test_lists_of_two_lengths_get_one_sentence():
    with pytest.raises(InputError, match="two lists of one length"):
        rank_correlation([1, 2], [1.0])


def test_neighbours_are_counted_by_hand():
    inf, nan = float("inf"), float("nan")
    cells = [[1.0, 2.0, 2.0, inf, inf], [5.0, 4.0, nan, 6.0, 7.0]]
    # First row: rises, stays, rises, unknown. Second: falls, two without a pair, rises.
    assert ordered_share(cells, 1, trend="rising") == pytest.approx(3 / 5)
    assert ordered_share(cells, 1, trend="falling") == pytest.approx(1 / 5)
    # Down the columns: 1→5, 2→4, no pair, inf→6, inf→7.
    assert ordered_share(cells, 0, trend="rising") == pytest.approx(2 / 4)
    assert np.isnan(ordered_share([[inf, inf]], 1, trend="rising"))


def test_spread_and_peaks():
    assert relative_spread([3.0, 2.0, 2.5]) == pytest.approx(0.5)
    t = np.linspace(0, 6 * np.pi, 500)
    assert count_peaks(1 + 0.5 * np.sin(t), prominence=0.1) == 3
    assert count_peaks(1 + 0.5 * np.sin(t), prominence=1.1) == 0
    assert count_peaks([*np.linspace(1, 0, 9), np.nan], prominence=0.01) == 0
