"""Oracle: the verdict rule worked out by hand; coverages and intervals by counting and by scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from lazyrich.paper import CLAIMS, Claim, judge
from lazyrich.paper._value import (
    NO_CONTRAST,
    NO_PRINTED_RUN,
    NO_RUN,
    Value,
    missing,
    not_recorded,
    reason_of,
    tally,
)
from lazyrich.paper._verdict import clopper_pearson
from lazyrich.paper._words import absent, describe, in_a_line, reading

INF, NAN = float("inf"), float("nan")


def claim(low=None, high=None, share=None):
    return Claim("fig1", "name", "sentence", "where", "statistic", low=low, high=high, share=share)


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
        (1.5, None, [2.0, INF, INF], "undecided"),  # never reached is not late: it was "holds"
        (1.5, None, [INF, INF, INF], "does not hold"),  # and so was this
        (1.5, None, [1.0, INF, INF], "does not hold"),
        (None, 1.5, [1.0, 1.0, INF], "undecided"),
        (None, 1.5, [INF, INF, INF], "does not hold"),
        (1.5, None, [9.0, 9.0], "undecided"),  # two seeds decide nothing
        (1.5, None, [9.0, 9.0, NAN], "undecided"),  # nor does one that was not measured
        (1.5, None, [9.0] * 5 + [NAN], "undecided"),  # of six the lowest bounds the interval,
        (1.5, None, [9.0] * 9 + [NAN], "holds"),  # of ten the second lowest
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


@pytest.mark.parametrize("n, coverage", [(3, 0.75), (5, 0.9375)])
def test_up_to_five_seeds_give_their_range_and_how_often_it_holds_the_median(n, coverage):
    """All n lie on one side of the median with probability 2^(1 − n)."""
    verdict = judge(claim(low=0.0), list(np.arange(n, dtype=float)))
    assert verdict.interval == (0.0, n - 1.0)
    assert verdict.coverage == coverage  # where 95 % was written before


@pytest.mark.parametrize("n", [6, 10, 16, 24, 41])
def test_from_six_seeds_the_interval_covers_the_median_as_often_as_it_says(n):
    """Counted: the covered share of uniform draws is the binomial one, at least 95 %."""
    verdict = judge(claim(low=0.0), list(np.arange(1.0, n + 1)))
    low, high = map(int, verdict.interval)
    assert low + high == n + 1
    assert verdict.coverage >= 0.95
    np.testing.assert_allclose(
        verdict.coverage, 1 - 2 * stats.binom.cdf(low - 1, n, 0.5), rtol=1e-12
    )
    narrower = 1 - 2 * stats.binom.cdf(low, n, 0.5)
    assert narrower < 0.95
    draws = np.sort(np.random.default_rng(0).random((20_000, n)), axis=1)
    is_covered = (draws[:, low - 1] <= 0.5) & (draws[:, high - 1] >= 0.5)
    assert is_covered.mean() == pytest.approx(verdict.coverage, abs=0.006)


@pytest.mark.parametrize("n_met, n", [(0, 5), (3, 5), (5, 5), (9, 24), (24, 24)])
def test_the_share_that_meets_a_claim_has_the_exact_interval(n_met, n):
    wanted = stats.binomtest(n_met, n).proportion_ci(method="exact")
    np.testing.assert_allclose(clopper_pearson(n_met, n), wanted, rtol=1e-9)
    verdict = judge(claim(low=1.0), [2.0] * n_met + [0.0] * (n - n_met))
    assert (verdict.n_met, verdict.n_measured) == (n_met, n)
    np.testing.assert_allclose(verdict.share_interval, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    "n_met, n_unknown, share, outcome",
    [
        (24, 0, 0.5, "holds"),
        (9, 0, 0.5, "undecided"),  # the interval is 19 to 59 %
        (9, 0, 0.15, "holds"),
        (2, 0, 0.5, "does not hold"),
        (2, 12, 0.5, "undecided"),
        (5, 0, 0.5, "does not hold"),
    ],
)
def test_an_outcome_that_seeds_reach_or_do_not_is_judged_by_their_share(
    n_met, n_unknown, share, outcome
):
    values = [2.0] * n_met + [NAN] * n_unknown + [INF] * (24 - n_met - n_unknown)
    assert judge(claim(low=1.0, share=share), values).outcome == outcome


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_that_was_not_measured_never_changes_what_follows(seed):
    """Wherever such seeds are put, a decided verdict stays what it was."""
    rng = np.random.default_rng(seed)
    n, n_unknown = int(rng.integers(3, 25)), int(rng.integers(1, 4))
    known = rng.choice([0.5, 1.0, 2.0, INF], size=max(0, n - n_unknown), p=rng.dirichlet([1] * 4))
    rule = claim(low=1.0, share=None if seed % 2 else 0.4)
    outcome = judge(rule, [*known, *[NAN] * n_unknown]).outcome
    for filled in (-1e9, 1.0, 1e9, INF):
        if outcome != "undecided":
            assert judge(rule, [*known, *[filled] * n_unknown]).outcome == outcome


@pytest.mark.parametrize(
    "values, outcome",
    [([2.0], "met"), ([1.0], "not met"), ([INF], "not met"), ([NAN], "undecided")],
)
def test_a_single_draw_is_met_or_not(values, outcome):
    assert judge(claim(low=1.5), values, is_one_draw=True).outcome == outcome
    assert judge(claim(low=1.5), values).outcome == "undecided"  # as one of several seeds


RECORD = not_recorded("weight_norm")


@pytest.mark.parametrize(
    "values, of_seeds, of_one",
    [
        ([missing(NO_PRINTED_RUN)], "not computed", "no printed run"),
        ([missing(NO_RUN)], "not computed", "no printed run"),
        ([RECORD], "not computed", "not computed"),
        ([missing(NO_CONTRAST)], "not computed", "not computed"),
        ([missing("diverged")], "undecided", "undecided"),
        ([NAN], "undecided", "undecided"),
    ],
)
def test_what_was_not_asked_for_is_not_computed_and_what_went_wrong_is_undecided(
    values, of_seeds, of_one
):
    """Both were "undecided", as if seeds had disagreed."""
    assert judge(claim(low=1.5), values * 3).outcome == of_seeds
    assert judge(claim(low=1.5), values, is_one_draw=True).outcome == of_one
    assert judge(claim(low=1.5), [*values * 3, 9.0, 9.0]).outcome == "undecided"


def test_words_of_what_was_not_computed_have_no_number():
    left_out = judge(claim(low=1.5), [RECORD] * 3)
    assert describe(left_out) == ("not computed", "–", "no record of weight_norm")
    assert in_a_line(left_out) == "– not computed: no record of weight_norm"
    printed = judge(claim(low=1.5), [missing(NO_PRINTED_RUN)], is_one_draw=True)
    assert in_a_line(printed) == "– no printed run"
    assert reading({"authors": printed, "paper": left_out}) == "Not computed yet."
    both = reading({"authors": printed, "paper": judge(claim(low=1.5), [2.0] * 3)})
    assert both.startswith("At the authors' settings, as far as they are known, it holds")


def test_a_figure_without_the_authors_draw_has_no_printed_run():
    assert absent("fig2", "authors") == "no printed run"
    assert absent("fig1", "authors") == absent("fig2", "paper") == "not computed"


def test_values_that_are_ends_of_runs_that_still_move_are_said():
    found = judge(claim(high=0.5), [Value(0.1, "still falling at the end"), 0.2, 0.3])
    assert found.outcome == "holds"
    assert describe(found)[-1] == "1 of 3 seeds still falling at the end"


def test_a_verdict_says_how_many_seeds_were_not_measured_and_why():
    found = judge(
        claim(low=1.5), [2.0, INF, missing("diverged"), NAN, missing("diverged"), 3.0, 9.0]
    )
    assert (found.n_measured, found.n_never, found.n_met) == (4, 1, 3)
    assert tally(found.faults) == "2 diverged, 1 could not be measured"
    assert math.isinf(found.interval[0])  # never is the worst, whatever is asked for
    assert found.interval[1] == 9.0


def test_a_missing_value_keeps_its_reason_in_arithmetic():
    lost = missing("diverged")
    for found in (lost / 2.0, 2.0 / lost, 1 - lost, lost * 3, -lost, abs(lost), lost + 1, 2 - lost):
        assert math.isnan(found)
        assert reason_of(found) == "diverged"
    assert Value(4.0, "of 5 runs left out: 1 diverged") / 2 == 2.0
    assert np.isnan(np.array([lost, 1.0])).tolist() == [True, False]


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
