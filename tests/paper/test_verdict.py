"""Oracle: the verdict rule worked out by hand, and a binomial count for the bootstrap."""

import numpy as np
import pytest

from lazyrich.paper import CLAIMS, Claim, judge

INF, NAN = float("inf"), float("nan")


def claim(low=None, high=None):
    return Claim("fig1", "name", "sentence", "where", "statistic", low=low, high=high)


@pytest.mark.parametrize(
    "low, high, values, outcome",
    [
        (1.5, None, [1.5, 2.0, 9.0], "holds"),
        (1.5, None, [1.4, 2.0, 9.0], "undecided"),
        (1.5, None, [1.0, 1.2, 1.4], "does not hold"),
        (None, 0.5, [0.1, 0.2, 0.5], "holds"),
        (None, 0.5, [0.6, 0.7, 0.9], "does not hold"),
        (0.5, 2.0, [0.5, 1.0, 2.0], "holds"),
        (0.5, 2.0, [0.1, 0.2, 0.4], "does not hold"),
        (0.5, 2.0, [2.1, 3.0, 4.0], "does not hold"),
        (0.5, 2.0, [0.4, 1.0, 2.1], "undecided"),
        (1.5, None, [2.0, INF, INF], "holds"),  # never reached orders last
        (None, 1.5, [1.0, 1.0, INF], "undecided"),
        (None, 1.5, [INF, INF, INF], "does not hold"),
        (1.5, None, [9.0, 9.0], "undecided"),  # two seeds decide nothing
        (1.5, None, [9.0, 9.0, NAN], "undecided"),  # nor does one that was not measured
        (1.5, None, [], "undecided"),
    ],
)
def test_the_rule(low, high, values, outcome):
    assert judge(claim(low, high), values).outcome == outcome


def test_three_values_give_their_range_and_median():
    verdict = judge(claim(low=0.0), [3.0, 1.0, 2.0])
    assert verdict.interval == (1.0, 3.0)
    assert verdict.median == 2.0
    assert verdict.values == (3.0, 1.0, 2.0)


def test_the_bootstrap_of_five_seeds_is_the_one_that_can_be_counted():
    """The median of a resample is ≥ the k-th of five values with a binomial probability.

    P(median ≤ smallest) = P(Bin(5, 1/5) ≥ 3) = 0.058 > 2.5 %: the interval is the range.
    """
    assert judge(claim(low=0.0), [1.0, 2.0, 3.0, 4.0, 5.0]).interval == (1.0, 5.0)
    # Of 21 values, P(Bin(21, 6/21) ≥ 11) = 0.011 and P(Bin(21, 7/21) ≥ 11) = 0.048, so the
    # 2.5 % point is the 7th value and, by symmetry, the 97.5 % point the 15th.
    assert judge(claim(low=0.0), list(np.arange(1.0, 22.0))).interval == (7.0, 15.0)


def test_the_table_is_sound():
    names = [(row.figure, row.name) for row in CLAIMS]
    assert len(set(names)) == len(names)
    for row in CLAIMS:
        assert row.figure in {f"fig{k}" for k in range(1, 20)}
        assert row.low is not None or row.high is not None
        assert row.sentence
        assert row.statistic


@pytest.mark.parametrize(
    "low, high, text", [(1.5, None, "≥ 1.5"), (None, 0.5, "≤ 0.5"), (0.5, 2.0, "0.5 to 2")]
)
def test_a_threshold_reads_as_it_is(low, high, text):
    assert claim(low, high).threshold == text
